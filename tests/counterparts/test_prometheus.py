"""A real Prometheus reads our page, and promtool has no remark; both from Debian, or on the PATH."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest
from prometheus_client.parser import text_string_to_metric_families

from heliograph.store import open_reader, open_writer
from tests.api.conftest import START, Running
from tests.conftest import ROOT, free_port, optional_program
from tests.real_emoncms import ask

CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: heliograph
    params: {{values: ["1"]}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
TARGET = {
    "name": 'a "target"\\with\nsigns',
    "kind": "influxdb",
    "state": "waiting",
    "backlog": 7200,
    "oldest": START,
    "rate": 12.5,
    "sent": 31,
    "dead_letters": 2,
    "dropped": 1,
    "passed_over": 4,
    "last_success": START,
    "last_error": "401 unauthorized",
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Running]:
    """An API that knows a device, services and uploads."""
    open_writer(tmp_path).close()
    running = Running(lambda: open_reader(tmp_path))
    running.start()
    channels = {"power": {"unit": "W"}, "temp": {"unit": "°C"}, "on": {"kind": "state"}, "mode": {"kind": "text"}}
    running.tell("heliograph/roof/devices/meter/info", {"model": "M", "channels": channels, "interval": 5})
    running.tell("heliograph/roof/devices/meter/availability", b"online")
    running.state("meter", power=-395.52774, temp=1e-9, on=True, mode="eco")
    for service, facts in {"uploader": {"targets": {TARGET["name"]: TARGET}}, "storage": {}}.items():
        status = {"state": "online", "time": START, "version": "0.1.0", "started": START, "counters": {"frames": 7}}
        running.tell(f"heliograph/roof/services/{service}/status", {**status, "facts": facts})
    yield running
    running.stop()


def documented_expressions() -> list[str]:
    (block,) = re.findall(r"```promql\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    return str(block).splitlines()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """An alert for each expression that docs/api.md shows."""
    alerts = [{"alert": f"Alert{n}", "expr": expression} for n, expression in enumerate(documented_expressions())]
    made = tmp_path / "rules.yml"
    made.write_text(json.dumps({"groups": [{"name": "heliograph", "rules": alerts}]}))
    return made


@pytest.mark.parametrize("query", ["", "?values=1"])
def test_promtool_has_no_remark_about_the_page_and_the_documented_rules(site: Running, rules: Path, query: str) -> None:
    _, page = ask("GET", f"http://127.0.0.1:{site.port}/metrics{query}")
    promtool = optional_program("promtool")
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    subprocess.run([promtool, "check", "rules", "--lint-fatal", str(rules)], check=True)


def test_prometheus_has_every_sample_of_the_page(
    site: Running, rules: Path, tmp_path: Path, eventually: Callable[..., object]
) -> None:
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.format(port=site.port))
    command = [optional_program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    with subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL) as running:
        try:
            eventually(lambda: query(port, 'up{job="heliograph"} == 1'), what="a scrape")
            for expression in documented_expressions():
                assert query(port, expression.split()[0]), expression
            eventually(lambda: query(port, 'ALERTS{alertname="Alert2"}'), what="an upload that is late")
            _, page = ask("GET", f"http://127.0.0.1:{site.port}/metrics?values=1")
            scraped = query(port, '{__name__=~"heliograph_.*"}')
        finally:
            running.terminate()
    offered = {
        (
            sample.name,
            *sorted(label for label in sample.labels.items() if label[1]),
        ): sample.value  # "" is no label there
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }
    assert scraped.keys() == offered.keys()
    moving = {name for name in offered if "seconds" in str(name[0])}
    assert len(offered) > len(moving) > 0
    assert {name: scraped[name] for name in offered if name not in moving} == {
        name: value for name, value in offered.items() if name not in moving
    }


def query(port: int, expression: str) -> dict[tuple[object, ...], float]:
    """Return the samples that an expression has now, by name and labels; {} before Prometheus answers."""
    with suppress(OSError):
        _, answer = ask("GET", f"http://127.0.0.1:{port}/api/v1/query?{urlencode({'query': expression})}")
        result = json.loads(answer)["data"]["result"] if answer.startswith(b"{") else []
        return {
            (
                one["metric"].get("__name__", ""),
                *sorted(label for label in one["metric"].items() if label[0] not in ("__name__", "job", "instance")),
            ): float(one["value"][1])
            for one in result
        }
    return {}

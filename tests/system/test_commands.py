"""Every documented command, in its native form, with a node that runs and with one that has stopped."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.lists import commands
from tests.node import ROOT, Node


class Row(NamedTuple):
    """A command line, its exit status, a part of what it prints, and its standard input."""

    words: str
    status: int
    prints: str
    stdin: str = ""


RUNNING = [
    Row("version", 0, "heliograph 0."),
    Row("sample storage", 0, "[storage]"),
    Row("status", 0, ": ok   http://127.0.0.1:"),
    Row("doctor", 0, ": nothing found"),
    Row("check", 0, "this is what `heliograph start` made for the simulated site"),
    Row("logs --service storage --service api -n 2", 0, "connected to the broker"),
    Row("logs --level warning --since 1d", 0, ""),
    Row("try modbus_poller --seconds 1", 1, "stop the node that has it"),
    Row("scan --models", 0, "epever_tracer"),
    Row("scan --no-serial 127.0.0.1:9", 1, "no device"),
    Row("key garden", 0, 'garden = "scrypt:'),
    Row("forget {node}/grid", 0, "devices/grid/info"),
    Row("secrets data/secrets --user plug", 0, "made passwords for plug"),
    Row("secrets data/secrets --tls hub.local 192.168.1.10 --for shed", 0, "collected what shed needs"),
    Row("store info", 0, "/tracer/pv_voltage"),
    Row("store info --json", 0, '"files"'),
    Row("store info --points", 0, "/tracer/pv_voltage"),
    Row("store check", 0, "all files are sound"),
    Row("store check --quick", 0, "sound"),
    Row("store check --values", 0, "values can be read"),
    Row("store backup usb --incremental", 0, "is a whole backup"),
    Row("store check --backup usb", 0, "are sound"),
    Row("store export {node}/tracer/pv_voltage --tz Europe/Berlin -o january.csv", 0, ""),
    Row("store export {node}/*/power --bucket 1d --function mean --function max --tz Europe/Berlin", 0, ".mean,"),
    Row("store export --format line -o everything.gz", 0, ""),
    Row("store export --format jsonl -o export.jsonl.gz", 0, ""),
    Row("store import csv january.csv", 1, "Ctrl-C in `heliograph start`"),
    Row("store rename node {node} gamma --dry-run", 0, "nothing was changed"),
    Row("uploads list", 0, "no targets: "),
    Row("uploads put cloud", 0, "cloud is saved", '{"kind": "file", "from": "beginning"}'),
    Row("uploads list", 0, "cloud (file, added at runtime)"),
    Row("uploads test cloud", 0, ""),
    Row("uploads pause cloud", 0, "cloud is paused"),
    Row("uploads resume cloud", 0, "cloud continues"),
    Row("uploads dead-letters list cloud", 0, ""),
    Row("uploads dead-letters edit cloud 17 pi/meter/voltage=230.5", 1, "cloud has no dead letter 17"),
    Row("uploads dead-letters retry cloud 17", 0, "dead letters to retry: 0"),
    Row("uploads dead-letters drop cloud 17", 0, "dead letters deleted: 0"),
    Row("uploads delete cloud --yes", 0, "cloud is deleted"),
]

STOPPED = [
    Row("status", 2, "the node does not run: heliograph start"),
    Row("doctor", 0, "the node does not run: heliograph start"),
    Row("check", 0, "all good"),
    Row("logs -n 5", 0, "stopping"),
    Row("uploads list", 1, "the node does not run: heliograph start"),
    Row("forget roof/meter", 1, "the node does not run: heliograph start"),
    Row("store info", 0, "/tracer/pv_voltage"),
    Row("store check", 0, "all files are sound"),
    Row("store export {node}/tracer/pv_voltage -o tracer.csv", 0, ""),
    Row("store import csv tracer.csv --dry-run", 0, ""),
    Row("store import csv old.csv --node roof --device meter --tz Europe/Berlin --counter energy", 0, ""),
    Row("store import jsonl export.jsonl.gz --dry-run", 0, ""),
    Row("store import line everything.gz --dry-run", 0, ""),
    Row("store import phpfina phpfina --node house --device emoncms", 1, "no feed"),
    Row("store import phptimeseries phptimeseries --node house --device emoncms", 1, "no feed"),
    Row("store import tracer tracer --node roof --device tracer --tz America/New_York", 1, "no "),
    Row("store import emoncms nowhere --node house --key 0", 2, "write http://… or https://…"),
    Row("store meter-replaced roof/meter/energy --at 2026-03-04T11:30 --tz Europe/Berlin", 0, ""),
    Row("store rename channel roof/meter/power_kw roof/meter/power", 0, ""),
    Row("store rescale roof/meter/power --to W --dry-run", 0, "nothing was changed"),
    Row("store delete roof/meter/power --from 2026-03-04 --to 2026-03-05 --dry-run", 0, ""),
    Row("store salvage", 0, ""),
    Row("store copy --to postgresql://heliograph@127.0.0.1:9/heliograph", 1, "Error: the PostgreSQL database"),
    Row("store restore usb", 1, ""),
]


def run(folder: Path, row: Row, node: str) -> str:
    """What is wrong with what a command does, "" if it does what its row says."""
    words = row.words.replace("{node}", node).split()
    done = subprocess.run(
        [ROOT / "scripts/heliograph", *words],
        cwd=folder,
        input=row.stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    output = done.stdout + done.stderr
    is_right = done.returncode == row.status and row.prints in output and "Traceback" not in output
    return "" if is_right else f"{row.words}: {done.returncode}: {output}"


def test_every_command_is_here() -> None:
    rows = [row.words for row in (*RUNNING, *STOPPED)]
    assert [name for name in commands() if not any(f"{row} ".startswith(f"{name} ") for row in rows)] == ["start"]


def wrong(folder: Path, rows: list[Row], node: str) -> list[str]:
    """What is wrong with the commands of these rows; those of the store are run beside the others, each in their order."""
    groups = [[row for row in rows if row.words.startswith("store ") is of_store] for of_store in (True, False)]
    with ThreadPoolExecutor(len(groups)) as pool:
        return [
            text
            for texts in pool.map(lambda group: [run(folder, row, node) for row in group], groups)
            for text in texts
            if text
        ]


@pytest.mark.timeout(400)
def test_every_command_does_what_its_page_says(node: Node, eventually: Callable[..., Any]) -> None:
    (node.folder / "old.csv").write_text(
        "time,power_kw (kW),energy (kWh)\n2026-03-04 10:00,1.5,7\n2026-03-04 12:00,1.5,9\n"
    )
    for name in ("phpfina", "phptimeseries", "tracer"):
        (node.folder / name).mkdir()
    node.start()
    name = eventually(lambda: node.ask("/api/v1/devices"), 120)[0]["node"]
    for series in ("tracer/pv_voltage", "grid/power"):
        eventually(lambda series=series: node.stored(f"{name}/{series}"), 90)
    assert wrong(node.folder, RUNNING, name) == []
    assert node.stop() == 0
    assert wrong(node.folder, STOPPED, name) == []

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from heliograph.messages import Availability, Channel, Info, Status
from services.api import metrics
from services.api.live import DeviceState, LiveState, Newest
from tests.api.conftest import START, TRACER, Running

NOW = START + 40_000
LINE = re.compile(r'[a-z_]+(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})? \S+')
TARGETS = {
    "influx": {
        "name": "influx",
        "kind": "influxdb",
        "state": "waiting",
        "backlog": 7200,
        "oldest": NOW - 3600,
        "rate": 12.5,
        "sent": 31,
        "dead_letters": 2,
        "dropped": 1,
        "skipped": 4,
        "last_success": NOW - 60,
        "last_error": "401 unauthorized",
    }
}


def samples(text: str) -> dict[str, float]:
    """Every sample by how it is written without its quotes, as Prometheus' own parser reads it."""
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sample.labels.items())
            key = f"{sample.name.removeprefix('heliograph_')}{{{labels}}}"
            assert key not in samples
            samples[key] = sample.value
    return samples


def shown(live: LiveState, *, bus: bool = True, values: bool = False) -> dict[str, float]:
    return samples(metrics.metrics_page(live, "roof", bus, NOW, values=values).text().decode())


def status(live: LiveState, service: str, **facts: Any) -> None:
    known = {"state": "online", "time": NOW - 5, "version": "0.1.0", "started": NOW - 100}
    live.update(f"heliograph/roof/services/{service}/status", json.dumps({**known, **facts}).encode())


def uploader(live: LiveState, targets: object) -> dict[str, float]:
    status(live, "uploader", facts={"targets": targets})
    return shown(live)


@pytest.fixture
def live() -> LiveState:
    return LiveState()


def test_no_age_is_negative_whatever_the_clocks_say(live: LiveState) -> None:
    status(live, "storage", time=NOW + 3600)
    status(live, "uploader", facts={"targets": {"influx": {**TARGETS["influx"], "oldest": NOW + 3600}}})
    live.devices["roof", "late"] = DeviceState("roof", "late", newest={"p": Newest(NOW + 3600, 3)})
    ages = {name: value for name, value in shown(live).items() if "_age_seconds{" in name}
    assert len(ages) == 5
    assert min(ages.values()) == 0


def test_no_name_of_a_metric_includes_its_type_or_repeats_a_unit(live: LiveState) -> None:
    status(live, "storage", counters={"readings": 8123, "frames_backlog": 1, "devices": 2})
    uploader(live, TARGETS)
    live.devices["roof", "tracer"] = DeviceState("roof", "tracer", TRACER, newest={"pv_power": Newest(NOW, 3)})
    for family in text_string_to_metric_families(
        metrics.metrics_page(live, "roof", True, NOW, values=True).text().decode()
    ):
        words = family.name.split("_")
        assert not {"counter", "gauge", "histogram", "summary", "metric"} & set(words), (
            family.name
        )  # as promtool has it
        assert "total" not in words[:-1], family.name


def test_a_service_is_shown_with_its_counters(live: LiveState) -> None:
    status(live, "storage", counters={"readings": 8123, "set_aside": 2})
    samples = shown(live)
    assert samples["service_up{node=roof,service=storage}"] == 1
    assert samples["service_info{node=roof,service=storage,version=0.1.0}"] == 1
    assert samples["service_start_time_seconds{node=roof,service=storage}"] == NOW - 100
    assert samples["service_status_age_seconds{node=roof,service=storage}"] == 5
    assert samples["service_clock_synchronised{node=roof,service=storage}"] == 1
    assert samples["service_events_total{name=readings,node=roof,service=storage}"] == 8123
    assert samples["service_events_total{name=set_aside,node=roof,service=storage}"] == 2
    assert samples["metrics_dropped_samples{node=roof}"] == 0


def test_an_offline_service_is_down_and_says_nothing_else(live: LiveState) -> None:
    status(live, "storage", state="offline", counters={"readings": 1})
    samples = shown(live, bus=False)
    assert {key: value for key, value in samples.items() if "storage" in key} == {
        "service_up{node=roof,service=storage}": 0
    }
    assert samples["bus_up{node=roof}"] == 0


def test_an_unset_clock_is_shown(live: LiveState) -> None:
    status(live, "storage", clock="unsynced")
    assert shown(live)["service_clock_synchronised{node=roof,service=storage}"] == 0


def test_what_goes_down_as_well_is_no_counter(live: LiveState) -> None:
    status(live, "api", counters={"frames_backlog": 3, "outbox_bytes": 4096, "devices_http": 2})
    samples = shown(live)
    assert samples["outbox_backlog_frames{node=roof,service=api}"] == 3
    assert samples["outbox_bytes{node=roof,service=api}"] == 4096
    assert samples["service_number{name=devices_http,node=roof,service=api}"] == 2
    assert not [key for key in samples if key.startswith("service_events")]


def test_a_device_is_shown_with_its_availability_and_the_age_of_its_newest_reading(live: LiveState) -> None:
    live.devices["roof", "tracer"] = DeviceState(
        "roof", "tracer", TRACER, "asleep", newest={"pv_power": Newest(NOW - 30, 1), "load": Newest(NOW - 90, 1)}
    )
    live.devices["roof", "silent"] = DeviceState("roof", "silent")
    samples = shown(live)
    assert samples["device_reading_age_seconds{device=tracer,node=roof}"] == 30
    assert samples["device_interval_seconds{device=tracer,node=roof}"] == 60
    states = {
        state: samples[f"device_availability{{device=tracer,node=roof,state={state}}}"]
        for state in metrics.AVAILABILITIES
    }
    assert states == {"online": 0, "offline": 0, "asleep": 1, "unknown": 0}
    assert samples["device_availability{device=silent,node=roof,state=unknown}"] == 1
    assert "device_reading_age_seconds{device=silent,node=roof}" not in samples


def test_an_upload_is_shown_as_its_target_stands(live: LiveState) -> None:
    samples = uploader(live, TARGETS)
    wanted = {
        "upload_info{kind=influxdb,node=roof,target=influx}": 1,
        "upload_backlog_rows{node=roof,target=influx}": 7200,
        "upload_oldest_age_seconds{node=roof,target=influx}": 3600,
        "upload_rows_per_second{node=roof,target=influx}": 12.5,
        "upload_sent_rows_total{node=roof,target=influx}": 31,
        "upload_dead_letters{node=roof,target=influx}": 2,
        "upload_dropped_dead_letters_total{node=roof,target=influx}": 1,
        "upload_skipped_rows_total{node=roof,target=influx}": 4,
        "upload_last_success_age_seconds{node=roof,target=influx}": 60,
        **{
            f"upload_state{{node=roof,state={state},target=influx}}": float(state == "waiting")
            for state in metrics.UPLOAD_STATES
        },
    }
    assert {key: value for key, value in samples.items() if key.startswith("upload")} == wanted


def test_the_words_of_a_target_are_on_no_label(live: LiveState) -> None:
    status(live, "uploader", facts={"targets": TARGETS})
    assert b"unauthorized" not in metrics.metrics_page(live, "roof", True, NOW).text()


def test_facts_called_targets_of_another_service_are_no_uploads(live: LiveState) -> None:
    status(live, "storage", facts={"targets": TARGETS})
    assert not [key for key in shown(live) if key.startswith("upload")]


def test_values_are_shown_if_they_are_asked_for(live: LiveState) -> None:
    info = Info("m", {"power": Channel("W"), "open": Channel("", "state"), "mode": Channel("", "text")})
    newest = {"power": Newest(NOW, 812.5), "open": Newest(NOW, True), "mode": Newest(NOW, "boost")}
    live.devices["roof", "meter"] = DeviceState("roof", "meter", info, newest=newest)
    assert not [key for key in shown(live) if key.startswith("channel")]
    samples = {key: value for key, value in shown(live, values=True).items() if key.startswith("channel")}
    assert samples == {
        "channel_value{channel=power,device=meter,node=roof,unit=W}": 812.5,
        "channel_value{channel=open,device=meter,node=roof,unit=}": 1,
    }


def test_there_are_at_most_so_many_samples_and_the_others_are_counted(
    live: LiveState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MOST_NAMES", 3)
    monkeypatch.setattr(metrics, "MOST_SAMPLES", 5)
    status(live, "a", counters={f"n{number}": number for number in range(10)})
    status(live, "b", counters={f"n{number}": number for number in range(3)})
    samples = shown(live)
    assert len([key for key in samples if key.startswith("service_events")]) == 5
    assert samples["metrics_dropped_samples{node=roof}"] == 7 + 1


def test_labels_that_become_alike_are_one_sample(live: LiveState) -> None:
    samples = uploader(live, {"a" * 200: {"sent": 1}, "a" * 201: {"sent": 2}})
    assert [value for key, value in samples.items() if key.startswith("upload_sent")] == [1]
    assert samples["metrics_dropped_samples{node=roof}"] > 0


@pytest.mark.parametrize("targets", [None, [], [TARGETS["influx"]], "influx", {"influx": None}, {"influx": [1]}])
def test_malformed_targets_are_left_out(live: LiveState, targets: object) -> None:
    assert not [key for key in uploader(live, targets) if key.startswith("upload")]


def test_malformed_facts_are_left_out_and_the_others_shown(live: LiveState) -> None:
    facts = {"backlog": "many", "sent": -1, "oldest": None, "rate": [], "state": {}, "kind": 7, "dead_letters": 2}
    samples = uploader(live, {"a": facts})
    assert samples["upload_dead_letters{node=roof,target=a}"] == 2
    assert samples["upload_info{kind=,node=roof,target=a}"] == 1
    left = {key.partition("{")[0] for key, value in samples.items() if key.startswith("upload") and value}
    assert left == {"upload_dead_letters", "upload_info"}


def test_a_number_that_no_sample_can_have_is_left_out(live: LiveState) -> None:
    samples = uploader(live, {"a": {"backlog": 10**400, "sent": 5}})
    assert "upload_backlog_rows{node=roof,target=a}" not in samples
    assert samples["upload_sent_rows_total{node=roof,target=a}"] == 5


def test_what_is_in_a_label_is_escaped(live: LiveState) -> None:
    samples = uploader(live, {'a"} 1\n\\evil\x00': {"sent": 1}})
    assert samples['upload_sent_rows_total{node=roof,target=a"} 1\ufffd\\evil\ufffd}'] == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FACTS = st.dictionaries(st.sampled_from([*TARGETS["influx"], "x"]), JSON, max_size=12)


@given(
    targets=JSON | st.dictionaries(st.text(), JSON | FACTS, max_size=5),
    counters=st.dictionaries(st.text() | st.sampled_from([*metrics.OUTBOX]), st.integers(), max_size=8),
    version=st.text(),
    times=st.tuples(st.floats(), st.floats(), st.floats()),
    availability=st.sampled_from(["online", "offline", "asleep", None]),
    unit=st.text(),
    value=st.booleans() | st.integers() | st.floats() | st.text(),
)
def test_whatever_is_known_every_line_is_one_of_prometheus(
    targets: Any,
    counters: dict[str, int],
    version: str,
    times: tuple[float, float, float],
    availability: Availability | None,
    unit: str,
    value: Any,
) -> None:
    live = LiveState()
    started, reported, read = times
    live.services["roof", "uploader"] = Status(
        "online", reported, version, started, counters=counters, facts={"targets": targets}
    )
    info = Info("m", {"a": Channel(unit)}, interval=read)
    live.devices["roof", "m"] = DeviceState("roof", "m", info, availability, newest={"a": Newest(read, value)})
    text = metrics.metrics_page(live, "roof", True, NOW, values=True).text().decode()
    lines = [line for line in text.split("\n")[:-1] if not line.startswith("#")]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert len(samples(text)) == len(lines)


@pytest.fixture
def root(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=30, verify=False) as http:
        yield http


def test_the_page_is_prometheus_text_at_the_root(running: Running, root: httpx.Client) -> None:
    running.state("tracer", pv_power=812.5)
    answer = root.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert 'heliograph_device_availability{device="tracer",node="roof",state="unknown"} 1.0\n' in answer.text
    assert "# TYPE heliograph_bus_up gauge\n" in answer.text
    assert "812.5" not in answer.text
    assert "812.5" in root.get("/metrics?values=1").text


def test_values_is_yes_or_no(root: httpx.Client) -> None:
    answer = root.get("/metrics?values=perhaps")
    assert answer.status_code == 422
    assert "values" in answer.json()["detail"]


def test_a_scrape_while_the_bus_is_away_says_so(running: Running, root: httpx.Client) -> None:
    running.connected = False
    assert 'heliograph_bus_up{node="roof"} 0.0\n' in root.get("/metrics").text

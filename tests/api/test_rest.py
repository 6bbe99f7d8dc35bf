from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph.messages import encode
from heliograph.store import open_reader
from tests.api.conftest import START, TRACER, Running, tracer_row

PV = "roof/tracer/pv_power"


def get(client: httpx.Client, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: httpx.Client, path: str, query: dict[str, str], status: int = 422) -> str:
    answer = client.get(path, params=query)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    return str(answer.json()["detail"])


def test_raw_points_come_with_their_times_and_kinds(client: httpx.Client) -> None:
    content = get(client, "/series", series="roof/tracer/*", **{"from": START, "to": START + 180})
    rows = [tracer_row(minute) for minute in range(3)]
    assert content["next"] is None
    assert content["series"] == {
        f"roof/tracer/{name}": {
            "unit": channel.unit,
            "time": [row[0] for row in rows],
            "value": [row[index] for row in rows],
        }
        for index, (name, channel) in enumerate(sorted(TRACER.channels.items()), 0)
        for index in [1 + list(TRACER.channels).index(name)]
    }


@pytest.mark.parametrize("limit", [1, 7, 100, 599, 600, 601, 5000])
def test_pages_put_together_are_the_whole(client: httpx.Client, limit: int) -> None:
    query = {"series": f"{PV},roof/tracer/energy", "from": START, "to": START + 1200 if limit < 100 else START + 90000}
    whole = get(client, "/series", limit=100_000, **query)["series"]
    together: dict[str, dict[str, list[Any]]] = {}
    cursor = ""
    while True:
        page = get(client, "/series", limit=limit, next=cursor, **query)
        assert 0 < sum(len(part["time"]) for part in page["series"].values()) <= limit
        for name, part in page["series"].items():
            so_far = together.setdefault(name, {"time": [], "value": []})
            so_far["time"] += part["time"]
            so_far["value"] += part["value"]
        cursor = page["next"]
        if cursor is None:
            break
    assert {name: (part["time"], part["value"]) for name, part in together.items()} == {
        name: (part["time"], part["value"]) for name, part in whole.items()
    }


def test_times_may_be_iso_8601(client: httpx.Client) -> None:
    content = get(client, "/series", series=PV, **{"from": "2025-11-20T01:01:00+01:00", "to": "2025-11-20T00:03:00Z"})
    assert content["series"][PV]["value"] == [1, 2]


def test_buckets_hold_the_functions_asked_for(client: httpx.Client) -> None:
    query = {"from": START, "to": START + 3 * 3600, "bucket": "1h", "functions": "mean,min,max"}
    assert get(client, "/series", series=PV, **query) == {
        "bucket": "1h",
        "tz": "UTC",
        "time": [START, START + 3600, START + 7200],
        "series": {
            PV: {
                "unit": "W",
                "n": [60, 60, 60],
                "mean": [29.5, 89.5, 149.5],
                "min": [0, 60, 120],
                "max": [59, 119, 179],
            }
        },
    }


def test_an_empty_bucket_is_null(client: httpx.Client) -> None:
    query = {"from": START - 7200, "to": START + 3600, "bucket": "1h"}
    assert get(client, "/series", series=PV, **query)["series"][PV]["mean"] == [None, None, 29.5]


def test_the_increase_of_a_counter_and_the_energy_of_a_power_are_functions(client: httpx.Client) -> None:
    query = {"from": START + 3600, "to": START + 7200, "bucket": "1h", "functions": "delta,integral"}
    content = get(client, "/series", series=f"{PV},roof/tracer/energy", **query)["series"]
    assert content["roof/tracer/energy"]["delta"] == pytest.approx([6.0])
    assert content[PV]["integral"] == pytest.approx([90.0], rel=0.01)  # 60 W … 120 W for an hour


def test_days_are_those_of_the_time_zone(client: httpx.Client) -> None:
    query = {"from": START, "to": START + 36000, "bucket": "1d", "tz": "Pacific/Auckland"}
    content = get(client, "/series", series=PV, **query)
    assert content["time"] == [START - 13 * 3600]
    assert content["tz"] == "Pacific/Auckland"


def test_auto_makes_about_500_buckets(client: httpx.Client) -> None:
    content = get(client, "/series", series=PV, bucket="auto", **{"from": START, "to": START + 86400})
    assert content["bucket"] == "5m"
    assert len(content["time"]) == 288


def test_too_many_buckets_are_answered_with_one_that_fits(client: httpx.Client) -> None:
    query = {"from": "2015-01-01", "to": "2025-01-01"}
    detail = refused(client, "/series", {"series": PV, "bucket": "1s", **query})
    assert "bucket=5h" not in detail
    assert "bucket=6h or longer fits" in detail
    get(client, "/series", series=PV, bucket="6h", **query)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "series is missing"),
        ({"series": "pv_power"}, "node/device/channel"),
        ({"series": ",".join(f"a/b/c{n}" for n in range(1000))}, "at most 200"),
        ({"series": PV, "from": "NaN"}, "from="),
        ({"series": PV, "from": "1763633000", "to": "1763632000"}, "is not before"),
        ({"series": PV, "from": "1e400"}, "from="),
        ({"series": PV, "bucket": "5 minutes"}, "is not a bucket"),
        ({"series": PV, "bucket": "1h", "tz": "Mars/Phobos"}, "tz"),
        ({"series": PV, "bucket": "1h", "functions": "median"}, "n mean min max"),
        ({"series": PV, "functions": "mean"}, "need a bucket"),
        ({"series": PV, "limit": "0"}, "limit"),
        ({"series": PV, "next": "x"}, "cursor"),
    ],
)
def test_a_bad_question_is_answered_with_what_is_wrong(client: httpx.Client, query: dict[str, str], words: str) -> None:
    assert words in refused(client, "/series", query)


def test_a_series_that_is_not_stored_does_not_take_the_others_away(client: httpx.Client) -> None:
    """Case N4."""
    query = {"series": f"shed/tracer/pv_power,{PV}", "from": str(START), "to": str(START + 180)}
    content = get(client, "/series", **query)
    assert (list(content["series"]), content["unknown"]) == ([PV], ["shed/tracer/pv_power"])
    content = get(client, "/series", bucket="1m", **query)
    assert (list(content["series"]), content["unknown"]) == ([PV], ["shed/tracer/pv_power"])
    refused(client, "/export", query, 404)  # a file without a column that was asked for looks whole


def test_an_unknown_series_is_not_found_but_an_unmatched_pattern_is_empty(client: httpx.Client) -> None:
    assert "/api/v1/devices" in refused(client, "/series", {"series": "roof/tracer/nothing"}, 404)
    assert get(client, "/series", series="roof/tracer/noth*") == {"series": {}, "next": None}
    assert "roof/x/y" in refused(client, "/latest", {"series": "roof/x/y"}, 404)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    path=st.sampled_from(["/series", "/latest", "/devices", "/health", "/nodes", "/docs", "/openapi.json"]),
    query=st.dictionaries(
        st.sampled_from(["series", "from", "to", "bucket", "tz", "functions", "limit", "next", "node", "format"]),
        st.one_of(
            st.text(max_size=60),
            st.sampled_from(
                ["*/*/*", PV, "auto", "csv", "line", "1mo", "1s", "UTC", "-0.0", "1763600000", "4102444800", "delta"]
            ),
            st.floats().map(repr),
            st.from_regex(r"[0-9]{1,8}(s|m|h|d|w|mo|y)", fullmatch=True),
        ),
    ),
)
def test_no_query_is_an_internal_error(client: httpx.Client, path: str, query: dict[str, str]) -> None:
    answer = client.get(path, params=query)
    assert answer.status_code in (200, 404, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    ["series=%00", "series=%ff%fe", "from=%F0%9F%8C%9E&series=a/b/c", "series=" + "a" * 9000, "&&&===", "series[]=1"],
)
def test_no_raw_query_string_is_an_internal_error(client: httpx.Client, query: str) -> None:
    assert client.get(f"/series?{query}").status_code == 422


def test_devices_show_channels_units_and_newest_values(running: Running, client: httpx.Client) -> None:
    running.tell("heliograph/roof/devices/tracer/info", encode(TRACER))
    running.tell("heliograph/roof/devices/tracer/availability", b"online")
    running.state("tracer", pv_power=812.5, load=True, charging="boost")
    running.state("other", x=1)
    [other, tracer] = get(client, "/devices")
    assert (other["device"], other["availability"], other["model"]) == ("other", "unknown", "")
    assert {key: tracer[key] for key in ("node", "device", "model", "availability", "interval")} == {
        "node": "roof",
        "device": "tracer",
        "model": "epever_tracer",
        "availability": "online",
        "interval": 60,
    }
    assert tracer["channels"][0] == {
        "name": "pv_power",
        "label": "",
        "unit": "W",
        "kind": "gauge",
        "time": START + 36000,
        "value": 812.5,
    }
    assert [channel["value"] for channel in tracer["channels"]] == [812.5, None, True, "boost"]
    assert get(client, "/devices", node="shed") == []
    assert len(get(client, "/devices", node="roof")) == 2


@pytest.mark.parametrize(
    ("path", "query", "hint"),
    [
        ("/series", {"series": PV, "bucket": "1d", "function": "max"}, "did you mean functions?"),
        ("/series", {"series": PV, "bucket": "1d", "timezone": "Europe/Berlin"}, "did you mean tz?"),
        ("/export", {"series": PV, "start": "2025-03-28"}, "did you mean from?"),
        ("/latest", {"Series": PV}, "did you mean series?"),
        ("/devices", {"nod": "n"}, "did you mean node?"),
        ("/health", {"x": "1"}, "there are none"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(
    client: httpx.Client, path: str, query: dict[str, str], hint: str
) -> None:
    assert hint in refused(client, path, query)


def test_head_is_answered_like_get(running: Running, client: httpx.Client) -> None:
    running.state("tracer", pv_power=1)
    paths = ["health", "nodes", "devices", f"latest?series={PV}", "openapi.json", "docs", "nothing", "series"]
    day = f"series={PV}&from=2025-11-20&to=2025-11-21"
    paths += [f"series?{day}", f"series?{day}&bucket=1h", f"export?{day}"]
    paths += ["../../metrics", "../../", "../../app.js"]
    for path in paths:
        whole, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        without_date = [{**one.headers, "date": "", "content-length": ""} for one in (whole, head)]
        assert without_date[0] == without_date[1], path


def test_a_head_of_a_file_of_any_size_is_answered_at_once(client: httpx.Client) -> None:
    for _ in range(20):
        assert client.head("/export", params={"series": PV, "from": 0, "bucket": "1s"}).status_code == 200


def test_latest_matches_within_one_part(running: Running, client: httpx.Client) -> None:
    running.state("tracer", pv_power=1, load_power=2)
    running.state("meter", power=3)
    newest = {"time": START + 36000, "unit": ""}
    assert get(client, "/latest", series="roof/*/*power") == {
        "roof/meter/power": {**newest, "value": 3},
        "roof/tracer/load_power": {**newest, "value": 2},
        "roof/tracer/pv_power": {**newest, "value": 1, "unit": "W"},
    }
    assert list(get(client, "/latest", series="roof/meter/power,*/*/pv_*")) == ["roof/meter/power", PV]


def test_latest_without_series_has_every_series(running: Running, client: httpx.Client) -> None:
    running.state("tracer", pv_power=1)
    running.state("meter", power=3)
    every = get(client, "/latest")
    assert every == get(client, "/latest", series="*/*/*")
    assert {PV, "roof/meter/power"} <= every.keys()
    assert "series is missing" in refused(client, "/latest", {"series": ""})


def test_nodes_show_their_services(running: Running, client: httpx.Client) -> None:
    running.state("tracer", pv_power=1)
    running.tell("heliograph/shed/services/storage/status", {"state": "online", "version": "0.1.0", "time": 5})
    [roof, shed] = get(client, "/nodes")
    assert (roof["node"], roof["devices"], roof["services"]) == ("roof", 1, {})
    assert (shed["node"], shed["devices"]) == ("shed", 0)
    assert shed["services"]["storage"]["version"] == "0.1.0"


def device(client: httpx.Client, name: str) -> dict[str, Any]:
    devices: dict[str, dict[str, Any]] = {one["device"]: one for one in get(client, "/devices")}
    return devices[name]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"device:meter": {"state": "offline", "why": "no response"}}, "no response"),
        ({"sensor:meter": {"why": "Input/output error"}}, "Input/output error"),
        ({"counter:meter": {"why": "no such line"}}, "no such line"),
        ({"ports": {"radio": {"devices": ["meter"], "error": "Permission denied"}}}, "Permission denied"),
        ({"sockets": {"door": {"devices": ["other"], "error": "in use"}}}, ""),
        ({"devices": {"meter": {"missing_inputs": ["tracer.pv_powr"]}}}, "no value of tracer.pv_powr"),
        ({"device:meter": ["no"], "ports": 7, "sockets": {"a": 1, "b": {"devices": 5}}, "devices": {"meter": 1}}, ""),
    ],
)
def test_a_device_that_is_offline_has_the_reason_of_its_service(
    running: Running, client: httpx.Client, facts: dict[str, object], why: str
) -> None:
    running.tell("heliograph/roof/devices/meter/info", {"model": "sdm120", "channels": {}, "service": "poller"})
    running.tell("heliograph/roof/services/poller/status", {"state": "online", "facts": facts})
    running.tell("heliograph/roof/devices/meter/availability", b"online")
    assert device(client, "meter")["why"] == ""
    running.tell("heliograph/roof/devices/meter/availability", b"offline")
    assert (device(client, "meter")["availability"], device(client, "meter")["why"]) == ("offline", why)


def test_a_device_is_offline_with_its_service(running: Running, client: httpx.Client) -> None:
    running.tell("heliograph/roof/devices/meter/info", {"model": "sdm120", "channels": {}, "service": "poller"})
    running.tell("heliograph/roof/devices/meter/availability", b"online")
    for state, why in (("online", ""), ("offline", "poller is offline"), ("online", "")):
        running.tell("heliograph/roof/services/poller/status", {"state": state})
        assert (device(client, "meter")["availability"], device(client, "meter")["why"]) == (state, why)


def test_a_device_that_only_the_store_has_is_not_live(running: Running, client: httpx.Client) -> None:
    get(client, "/latest", series=PV)  # reads the store
    assert device(client, "tracer")["live"] is False
    running.state("tracer", pv_power=1)
    assert device(client, "tracer")["live"] is True


def test_health_is_good_when_bus_and_store_answer(running: Running, client: httpx.Client) -> None:
    running.tell("heliograph/roof/services/storage/status", {"state": "online", "version": "0.1.0"})
    running.tell("heliograph/shed/services/storage/status", {"state": "offline"})
    content = get(client, "/health")
    assert (content["status"], content["bus"], content["store"], content["node"]) == ("ok", True, True, "roof")
    assert {name: service["state"] for name, service in content["services"].items()} == {"storage": "online"}


def test_health_is_degraded_while_a_service_of_this_node_cannot_write(running: Running, client: httpx.Client) -> None:
    for node in ("roof", "shed"):
        status = {"state": "online", "facts": {"write_error": f"no database at {node}"}}
        running.tell(f"heliograph/{node}/services/storage/status", status)
    content = get(client, "/health")
    assert (content["status"], content["detail"], content["store"]) == (
        "degraded",
        "storage: no database at roof",
        True,
    )
    running.tell("heliograph/roof/services/storage/status", {"state": "online", "facts": {"write_error": ""}})
    assert get(client, "/health")["status"] == "ok"


def test_health_has_what_storage_reports_of_the_files_of_the_store(running: Running, client: httpx.Client) -> None:
    for node in ("roof", "shed"):
        problems = [f"catalog.db of {node} was missing", f"history-2023.db of {node} is missing"]
        running.tell(
            f"heliograph/{node}/services/storage/status", {"state": "online", "facts": {"store_problems": problems}}
        )
    content = get(client, "/health")
    assert content["status"] == "degraded"
    assert [problem["summary"] for problem in content["problems"]] == [
        "catalog.db of roof was missing",
        "history-2023.db of roof is missing",
    ]
    running.tell("heliograph/roof/services/storage/status", {"state": "online", "facts": {"store_problems": []}})
    assert get(client, "/health")["status"] == "ok"


def test_health_names_the_problems_that_a_service_of_this_node_has_itself(
    running: Running, client: httpx.Client
) -> None:
    for node in ("roof", "shed"):
        status = {"state": "online", "facts": {"problems": [f"uploader.db at {node} was damaged"]}}
        running.tell(f"heliograph/{node}/services/uploader/status", status)
    content = get(client, "/health")
    assert (content["status"], content["detail"]) == ("degraded", "uploader: uploader.db at roof was damaged")
    running.tell("heliograph/roof/services/uploader/status", {"state": "online", "facts": {"problems": "none"}})
    assert get(client, "/health")["status"] == "ok"


def test_health_names_what_storage_reports_of_the_store(running: Running, client: httpx.Client) -> None:
    facts = {"store_problems": ["7.4 of 8.0 GB are full"], "dropped": ["2022 was deleted"]}
    running.tell("heliograph/roof/services/storage/status", {"state": "online", "facts": facts})
    content = get(client, "/health")
    assert (content["status"], content["detail"]) == ("degraded", "7.4 of 8.0 GB are full")
    [problem] = content["problems"]
    assert (problem["code"], problem["service"]) == ("store_problem", "storage")
    assert content["services"]["storage"]["facts"]["dropped"] == ["2022 was deleted"]


@pytest.mark.parametrize("since", [0, -5, True, "noon", None, 10**30, 1.5])
def test_a_service_whose_readings_are_not_stored_makes_the_node_degraded(
    running: Running, client: httpx.Client, since: object
) -> None:
    for node in ("roof", "shed"):
        status = {"state": "online", "facts": {"not_stored_since": 1_763_633_000}}
        running.tell(f"heliograph/{node}/services/serial_bridge/status", status)
    content = get(client, "/health")
    assert (content["status"], content["detail"]) == (
        "degraded",
        "serial_bridge: not stored since 2025-11-20 10:03:20 UTC",
    )
    running.tell(
        "heliograph/roof/services/serial_bridge/status", {"state": "online", "facts": {"not_stored_since": since}}
    )
    assert get(client, "/health")["status"] == "ok"


def test_a_service_whose_outbox_fills_or_lost_readings_makes_the_node_degraded(
    running: Running, client: httpx.Client
) -> None:
    for node, problems in (("roof", ["the outbox is 61 % full", "the outbox was full"]), ("shed", ["another node"])):
        status = {"state": "online", "facts": {"outbox_problems": problems}}
        running.tell(f"heliograph/{node}/services/serial_bridge/status", status)
    content = get(client, "/health")
    assert (content["status"], content["detail"]) == ("degraded", "serial_bridge: the outbox is 61 % full")
    assert content["problems"][1]["summary"] == "serial_bridge: the outbox was full"
    running.tell("heliograph/roof/services/serial_bridge/status", {"state": "online", "facts": {"outbox_problems": []}})
    assert get(client, "/health")["status"] == "ok"


def test_health_is_bad_without_the_bus(running: Running, client: httpx.Client) -> None:
    running.connected = False
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "no connection to the broker"


@pytest.fixture
def storeless(tmp_path: Path) -> Iterator[tuple[Running, httpx.Client]]:
    site = Running(lambda: open_reader(tmp_path / "nothing"))
    site.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}/api/v1", verify=False) as http:
        yield site, http
    site.stop()


def test_without_a_store_the_live_values_are_there_and_the_rest_says_503(
    storeless: tuple[Running, httpx.Client],
) -> None:
    running, client = storeless
    running.state("tracer", pv_power=1)
    assert get(client, "/latest", series=PV)[PV]["value"] == 1
    assert "the store does not answer" in refused(client, "/series", {"series": PV}, 503)
    health = client.get("/health")
    assert health.status_code == 503
    assert health.json()["store"] is False


def test_a_store_that_appears_is_used(storeless: tuple[Running, httpx.Client], data: Path, tmp_path: Path) -> None:
    _, client = storeless
    assert client.get("/series", params={"series": PV}).status_code == 503
    data.rename(tmp_path / "nothing")
    assert len(get(client, "/series", series=PV, **{"from": START, "to": START + 36000})["series"][PV]["time"]) == 600


@pytest.mark.parametrize("path", ["/nothing", "/series/x", "/../../etc/passwd", "/%2e%2e/app.py"])
def test_an_unknown_path_is_a_json_error(client: httpx.Client, path: str) -> None:
    assert "/api/v1/docs" in refused(client, path, {}, 404)


def test_a_wrong_method_is_a_json_error(client: httpx.Client) -> None:
    answer = client.post("/series")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert answer.json()["detail"].startswith("POST is not for")


def test_openapi_describes_every_answer(client: httpx.Client) -> None:
    description = get(client, "/openapi.json")
    assert sorted(description["paths"]) == [
        *(f"/api/v1/{name}" for name in ("devices", "export", "health", "latest", "nodes", "series")),
        "/metrics",
    ]
    text = client.get("/openapi.json").text
    schemas = description["components"]["schemas"]
    for name in (
        "Health",
        "NodeResponse",
        "DeviceResponse",
        "LatestResponse",
        "RawResponse",
        "BucketResponse",
        "Problem",
    ):
        assert f"#/components/schemas/{name}" in text
        assert schemas[name]["properties"]
    names = [parameter["name"] for parameter in description["paths"]["/api/v1/series"]["get"]["parameters"]]
    assert names == ["series", "from", "to", "bucket", "tz", "functions", "limit", "next"]


def test_answers_are_compressed_for_those_who_can(client: httpx.Client) -> None:
    answer = client.get("/series", params={"series": PV, "from": START, "to": START + 36000})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"

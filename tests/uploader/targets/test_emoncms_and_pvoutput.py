import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from heliograph.messages import Block, Channel, Info
from heliograph.store import open_reader, open_writer
from heliograph.store.interface import Reader
from services.uploader.engine.pipeline import Pipeline
from services.uploader.engine.selection import Selection
from services.uploader.engine.source import ChannelMap
from services.uploader.engine.state import StateFile
from services.uploader.options import TargetOptions
from services.uploader.target import TargetContext
from services.uploader.targets.emoncms import target as emoncms
from services.uploader.targets.pvoutput import target as pvoutput
from tests.uploader.servers import emoncms_server, pvoutput_server

EVENING = 1_763_643_600.0  # 2025-11-20 23:00 in Brisbane
HOURS = 3
PATIENCE = 120.0


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    writer = open_writer(tmp_path)
    writer.declare("house", "inverter", Info("inverter", {"power": Channel("kW"), "energy": Channel("kWh", "counter")}))
    rows: list[list[float]] = [
        [EVENING + second, 1.2, 5 + 1.2 * second / 3600] for second in range(0, HOURS * 3600 + 20, 20)
    ]
    writer.write("house", [Block("inverter", ("power", "energy"), [list(row) for row in rows])])
    writer.commit({})
    opened = open_reader(tmp_path)
    yield opened
    opened.close()
    writer.close()


@pytest.fixture
def run(reader: Reader, tmp_path: Path) -> Iterator[Callable[[TargetOptions, Callable[[], bool]], None]]:
    state = StateFile(tmp_path / "uploader.db")

    def upload(options: TargetOptions, is_done: Callable[[], bool]) -> None:
        channels = ChannelMap(reader, Selection(options))
        context = partial(TargetContext, "house", tmp_path / "home", lambda: tuple(channels.selected().values()))
        course = Pipeline(
            options,
            reader,
            channels,
            state,
            lambda while_waiting: options.open(context(while_waiting)),
            lambda: EVENING + HOURS * 3600 + 60,
        )
        end = time.monotonic() + PATIENCE
        while not is_done():
            time.sleep(min(course.step(), 0.05))
            assert time.monotonic() < end, course.facts()
        course.close()

    yield upload
    state.close()


def test_the_engine_feeds_pvoutput_from_the_store_across_midnight(
    run: Callable[[TargetOptions, Callable[[], bool]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pvoutput, "time", lambda: EVENING + HOURS * 3600 + 60)
    server = pvoutput_server.PVOutputServer()
    server.clock = lambda: EVENING + HOURS * 3600 + 60
    options = {
        "name": "roof",
        "url": server.url,
        "key": pvoutput_server.KEY,
        "system": pvoutput_server.SYSTEM,
        "timezone": "Australia/Brisbane",
        "from": "beginning",
        "names": {"*/*/power": "generation", "*/*/energy": "generation"},
    }
    try:
        run(msgspec.convert(options, pvoutput.Options), lambda: len(server.stored) == 12 * HOURS)
    finally:
        server.close()
    assert server.violations == []
    assert {values[1] for values in server.stored.values()} == {"1200"}
    second_day = [values[0] for key, values in sorted(server.stored.items()) if key.startswith("20251121")]
    assert second_day == [str(100 * count) for count in range(1, 12 * (HOURS - 1) + 1)]
    assert len(server.batches) <= 4


def test_the_engine_feeds_emoncms_from_the_store_and_continues_where_the_server_is_when_its_own_state_is_lost(
    run: Callable[[TargetOptions, Callable[[], bool]], None],
) -> None:
    server = emoncms_server.EmoncmsServer()
    options = {"name": "emoncms", "url": server.url, "key": emoncms_server.KEY, "from": "beginning"}
    whole = HOURS * 180 + 1
    server.lose = 1

    def is_whole() -> bool:
        return len(server.stored.get(("inverter", "power"), {})) == whole

    try:
        run(msgspec.convert(options, emoncms.Options), is_whole)
        last = EVENING + HOURS * 1800
        for rows in server.stored.values():
            for moment in [moment for moment in rows if moment > last]:
                del rows[moment]
        server.accepted.clear()
        run(msgspec.convert({**options, "name": "again"}, emoncms.Options), is_whole)
    finally:
        server.close()
    assert len(server.stored["inverter", "energy"]) == whole
    assert server.stored["inverter", "energy"][int(EVENING)] == 5
    assert min(moment for moment, _, _ in server.accepted) >= last - 20

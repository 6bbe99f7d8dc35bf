"""Whatever is killed, however often: each reading is stored once, each result is right, and a target has what the store has."""

import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LocalBroker
from tests.databases import Influx
from tests.system.whole_site import WholeSite, settled

SETTLE_SECONDS = 400.0  # the calculator reads the store a last time after five minutes


@pytest.mark.timeout(3600)  # its long form
def test_no_reading_or_result_is_lost_doubled_or_wrong_while_anything_dies_at_any_moment(
    request: pytest.FixtureRequest,
    broker: LocalBroker,
    site: Callable[..., Any],
    influx: Influx,
    free_ports: Callable[[], int],
    eventually: Callable[..., Any],
) -> None:
    full = request.config.getoption("--full")
    count, per_second, alone, together, pause = (50_000, 400, 20, 150, 12.0) if full else (5_000, 500, 2, 6, 2.0)
    seed = random.randrange(1 << 32)
    sys.stderr.write(f"seed {seed}\n")
    chance = random.Random(seed)
    whole = WholeSite(site, influx, free_ports(), count, per_second)
    whole.start(eventually)
    for persistence in ("false", "true"):
        broker.set("persistence", persistence)
        kill(whole, chance, ["broker"], alone, pause)
        step = whole.steps()  # before a calculator that starts again mends what one that stays does not
        problem = settled(partial(whole.wrong_until, step), SETTLE_SECONDS)
        assert problem == "", f"the broker was killed alone, with persistence {persistence}, seed {seed}"
        kill(whole, chance, whole.VICTIMS, together, 2.0)
    while not whole.node.published():
        kill(whole, chance, whole.VICTIMS, 1, 2.0)
    last = whole.end()
    assert settled(lambda: whole.wrong(last), SETTLE_SECONDS) == "", f"seed {seed}"
    assert whole.wrong_in_order_of_arrival() == "", f"seed {seed}"
    assert whole.node.declared_lost() == 0, f"seed {seed}"
    assert settled(whole.wrong_in_target, SETTLE_SECONDS) == "", f"seed {seed}"


@pytest.fixture
def broker(broker: LocalBroker, tmp_path: Path) -> LocalBroker:
    """A broker that, once it has persistence, saves its sessions now and then, and so too early."""
    broker.set("persistence_location", f"{tmp_path}/broker/")
    broker.set("autosave_interval", "3")
    return broker


def kill(whole: WholeSite, chance: random.Random, victims: Sequence[str], kills: int, pause: float) -> None:
    """Kill one to three at a time, at random moments, and start them again in another order, at once or later."""
    while kills > 0:
        time.sleep(chance.uniform(0.2, 1.2))
        whole.follow()
        dying = chance.sample(victims, min(len(victims), chance.choice([1, 1, 2, 3])))
        sys.stderr.write(f"{time.time():.1f}: {', '.join(dying)}\n")
        for victim in dying:
            whole.kill(victim)
        time.sleep(chance.choice([0, 0, chance.uniform(0, pause)]))
        for victim in chance.sample(dying, len(dying)):
            whole.revive(victim)
        kills -= len(dying)

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

VICTIMS = ["broker", "numbered", "storage"]


@pytest.mark.timeout(1200)
def test_no_reading_is_lost_or_doubled_while_anything_dies_at_any_moment(
    request: pytest.FixtureRequest, site: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    full = request.config.getoption("--full")
    count, kills, per_second = (50_000, 200, 400) if full else (5_000, 25, 500)
    seed = random.randrange(1 << 32)
    sys.stderr.write(f"seed {seed}\n")
    chance = random.Random(seed)
    node = site(count, per_second)
    node.start("storage")
    node.start("numbered")
    killed = 0
    while killed < kills or not node.published():
        time.sleep(chance.uniform(0.2, 0.9))
        victims = chance.sample(VICTIMS, chance.choice([1, 1, 2, 3]))
        for victim in victims:
            node.kill(victim)
        for victim in chance.sample(victims, len(victims)):
            node.start(victim)
        killed += len(victims)
    eventually(node.complete, 120)
    stored = node.stored()
    assert sorted(set(stored)) == list(range(count)), f"lost, seed {seed}"
    assert len(stored) == count, f"doubled, seed {seed}"
    assert node.declared_lost() == 0, f"declared lost, seed {seed}"

"""Random and mutated bytes for a while, and how much memory is kept of them."""

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence

import pytest

FULL_SECONDS = 60.0
SHORT_SECONDS = 0.5
WARM_SECONDS = 5.0  # caches fill up in it
MOST_GROWTH = 500_000  # bytes, in a minute of tens of thousands of inputs
LONGEST = 20_000


def seconds(request: pytest.FixtureRequest) -> float:
    """Return how long to go on: a minute with --full."""
    return FULL_SECONDS if request.config.getoption("--full") else SHORT_SECONDS


def mutated(chance: random.Random, seed: bytes, pieces: Sequence[bytes] = ()) -> bytes:
    """Return a seed with some bytes more, less, flipped or doubled, and `pieces` that the parser looks for in between."""
    data = bytearray(seed)
    for _ in range(chance.randrange(6)):
        at = chance.randrange(len(data) + 1)
        what = chance.randrange(5 if pieces else 4)
        if what == 0:
            data[at:at] = chance.randbytes(chance.randrange(1, 20))
        elif what == 1:
            del data[at : at + chance.randrange(1, 20)]
        elif what == 2 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif what == 3:
            data[at:at] = data[: chance.randrange(len(data) + 1)]
        elif pieces:
            data[at:at] = chance.choice(pieces)
    return bytes(data[:LONGEST])


def grows(turn: Callable[[], object], for_seconds: float) -> int:
    """Take turns for a while to fill caches, then for so many seconds; return how many bytes more are held after these."""
    tracemalloc.start()
    try:
        _repeat(turn, min(WARM_SECONDS, for_seconds / 2))
        before = _held()
        _repeat(turn, for_seconds)
        return _held() - before
    finally:
        tracemalloc.stop()


def _repeat(turn: Callable[[], object], for_seconds: float) -> None:
    end = time.monotonic() + for_seconds
    turn()
    while time.monotonic() < end:
        turn()


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]

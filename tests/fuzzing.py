"""Random and mutated bytes for some turns or, with --full, for a minute; and how much memory is kept of them."""

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence

import pytest

FULL_SECONDS = 60.0
WARM_SECONDS = 5.0  # caches fill up in it
MOST_GROWTH = 500_000  # bytes, in a minute of tens of thousands of inputs
LONGEST = 20_000


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


def grows(turn: Callable[[], object], request: pytest.FixtureRequest, turns: int = 120) -> int:
    """Take turns to fill caches, then `turns` more; return how many bytes more are held after these.

    With --full as many turns as fit into a minute.
    """
    is_full = request.config.getoption("--full")
    tracemalloc.start()
    try:
        _repeat(turn, turns // 2, WARM_SECONDS if is_full else 0.0)
        before = _held()
        _repeat(turn, turns, FULL_SECONDS if is_full else 0.0)
        return _held() - before
    finally:
        tracemalloc.stop()


def _repeat(turn: Callable[[], object], turns: int, at_least_seconds: float) -> None:
    end = time.monotonic() + at_least_seconds
    for _ in range(turns):
        turn()
    while time.monotonic() < end:
        turn()


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]

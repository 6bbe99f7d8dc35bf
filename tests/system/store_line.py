"""Writes a line as fast as it can: the reading number n has the value n, and is n half minutes after the start.

Its progress is in a file that others map: what is being committed, and what is committed.
The arguments are the data folder, that file, and how many readings to write.
"""

import mmap
import random
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heliograph.messages import Block, Channel, Info
from heliograph.store import open_writer

START = datetime(2016, 12, 29, tzinfo=UTC).timestamp()
STEP = 30
MARKS = struct.Struct("=qq")
WORDS = 400  # readings that have the same word
REOPENED = 5000  # readings after which the writer closes the store and opens it again
INFO = Info("line", {"value": Channel(), "again": Channel("", "counter"), "word": Channel("", "text")})


class Marks:
    """How far the writer is, seen by other processes at once."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        if new:
            path.write_bytes(bytes(MARKS.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), MARKS.size)

    def trying(self) -> int:
        """Return how many readings may be in the store."""
        return int(struct.unpack_from("=q", self._map, 0)[0])

    def committed(self) -> int:
        """Return how many readings are in the store, at least."""
        return int(struct.unpack_from("=q", self._map, 8)[0])

    def set(self, index: int, count: int) -> None:
        """Note how many readings are being committed (0) or are committed (1)."""
        struct.pack_into("=q", self._map, index * 8, count)

    def close(self) -> None:
        """Close the file."""
        self._map.close()


def word(number: int) -> str:
    """Return the text that reading number n has."""
    return f"word {number // WORDS}"


def rows(first: int, last: int) -> list[Any]:
    """Return the readings from first up to and not including last."""
    return [[START + number * STEP, number, number, word(number)] for number in range(first, last)]


def write(data: Path, marks: Marks, count: int) -> None:
    """Write so many readings, with all the housekeeping that is due on the way."""
    chance = random.Random(count)
    done = 0

    def now() -> float:
        return START + done * STEP

    while done < count:
        writer = open_writer(data, lambda: False, now=now)
        writer.declare("pi1", "line", INFO)
        stop = min(done + REOPENED, count)
        while done < stop:
            upto = min(done + chance.choice([1, 5, 20, 60]), stop)
            blocks = [Block("line", ("value", "again", "word"), rows(done, upto))]
            if done // 1000 != upto // 1000:  # a device that was unknown before
                blocks.append(Block(f"new{upto // 1000}", ("value",), [[START + upto * STEP, upto]]))
            writer.write("pi1", blocks)
            marks.set(0, upto)
            writer.commit({})
            marks.set(1, upto)
            done = upto
            for _ in range(chance.choice([0, 1, 3])):
                writer.maintain()
        writer.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), Marks(Path(sys.argv[2])), int(sys.argv[3]))

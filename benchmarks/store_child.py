"""A writer or a reader in a process of its own, for its memory: `python -m benchmarks.store_child write|read FOLDER`.

The writer takes journals from its standard input, each after its length (u32, little endian), and settles at the
end. The reader answers the whole set of questions, twice. Both print their peak of resident memory in MB.
"""

import sys
import time
from pathlib import Path

from benchmarks.store_demands import peak_rss
from benchmarks.store_questions import extent, questions
from heliograph.messages import frames
from heliograph.store import open_reader, open_writer

COMMIT_READINGS = 5_000  # as storage does; its module brings what is not measured here
BLOCKED = "import runpy, sys; sys.modules['numpy'] = None; runpy.run_module('benchmarks.store_child', run_name='__main__', alter_sys=True)"


def write(folder: Path) -> None:
    """Take journals until the input ends."""
    writer = open_writer(folder)
    while head := sys.stdin.buffer.read(4):
        for frame in frames(sys.stdin.buffer.read(int.from_bytes(head, "little"))):
            writer.write("bench", frame.blocks)
        if writer.pending >= COMMIT_READINGS:
            writer.commit({})
            while writer.maintain():
                pass
    writer.commit({})
    writer.settle()
    writer.close()


def read(folder: Path) -> None:
    """Ask all questions."""
    reader = open_reader(folder)
    for question in 2 * questions(reader.series(), *extent(reader)):
        begun = time.process_time()
        question.ask(reader)
        print(f"{question.name}: {(time.process_time() - begun) * 1000:.1f} ms, {peak_rss():.1f} MB", file=sys.stderr)
    reader.close()


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
    print(f"{peak_rss():.1f}")

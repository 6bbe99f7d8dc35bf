"""A store is the same with numpy and without, to the bit, whichever wrote it and whichever reads it."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from heliograph.store import folder, history
from heliograph.store.vectors import ops

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TABLES = ("axis", "chunk", "r5m_day", "r1h_day", "r5m_month", "r1h_month", "r1h_year", "series", "word")
PROGRAM = """
import sys
from pathlib import Path
from heliograph.store import open_reader, open_writer, vectors
from tests.heliograph.meter import KINDS, NEW_YEAR, DAY, query_results, bits, readings, take

data = Path(sys.argv[1])
start = NEW_YEAR - 40 * DAY
if sys.argv[2] == "write":
    writer = open_writer(data, now=lambda: NEW_YEAR + 5 * DAY)
    writer.declare("roof", "meter", KINDS)
    take(writer, readings(start, 1, 25))
    take(writer, readings(start + DAY, 40, 1200, seed=2))
    writer.settle()
    take(writer, readings(start, 2, 3600, seed=3))
    writer.settle()
    take(writer, readings(start + 41 * DAY, 1, 300, seed=4))
    writer.close()
else:
    reader = open_reader(data)
    print(bits(query_results(reader, start, NEW_YEAR + 3 * DAY)))
    print(reader.since(0, 10**6))
    assert reader.problems() == []
    reader.close()
print(vectors.ops.__name__)
"""


def run(data: Path, what: str, *, numpy: bool) -> str:
    """What the program says, in a process with numpy or without."""
    path = [str(ROOT)] if numpy else [str(ROOT / "tests/no_numpy"), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data), what],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    output, _, used = done.stdout.rstrip("\n").rpartition("\n")
    assert used.endswith("fast_vectors" if numpy else "plain_vectors")
    return output


@pytest.mark.timeout(300)
def test_a_store_that_is_written_with_numpy_is_read_without_and_the_other_way_round(tmp_path: Path) -> None:
    stores = {numpy: tmp_path / f"numpy-{numpy}" for numpy in (True, False)}
    for numpy, data in stores.items():
        run(data, "write", numpy=numpy)
    for table in TABLES:
        tables = []
        for data in stores.values():
            for path in history.files(folder(data)).values():
                with closing(sqlite3.connect(path)) as db:
                    tables.append((path.name, db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()))
        assert tables[: len(tables) // 2] == tables[len(tables) // 2 :]
    outputs = {run(data, "read", numpy=numpy) for data in stores.values() for numpy in (True, False)}
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1_000_000


def test_the_process_that_should_be_without_numpy_is() -> None:
    folders = map(os.path.abspath, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    without = str(ROOT / "tests/no_numpy") in folders
    assert ops.__name__.endswith("plain_vectors" if without else "fast_vectors")

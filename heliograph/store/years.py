"""The years at rest, for the one process that writes them."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from heliograph.errors import StoreDamaged
from heliograph.store import history, schema
from heliograph.store.history import Year
from heliograph.store.names import Names

log = logging.getLogger(__name__)


class OpenYear(Year):
    """A year that is being written, with the names it has."""

    def __init__(self, path: Path, number: int) -> None:
        """Open it, or make it; raise OSError or StoreDamaged."""
        super().__init__(schema.create(path, history.PAGE, history.SCHEMA))
        self.path = path
        self.number = number
        with schema.refusing(path):
            self._known: dict[str, dict[int, tuple[object, ...]]] = {
                table: {row[0]: row for row in self.db.execute(f"SELECT * FROM {table}")}
                for table in ("device", "series", "word")
            }

    def learn(self, series: Iterable[int], words: Iterable[int], names: Names) -> None:
        """Write what the catalog says of these series and words, as far as it is not there."""
        for sid in series:
            one, owner = names.series[sid], names.owners[sid]
            self._note("device", (owner, "/".join(names.devices[owner])))
            self._note("series", (sid, owner, one.channel, one.unit, one.kind, one.rollover))
        for word in words:
            self._note("word", (word, names.words[word]))

    def _note(self, table: str, row: tuple[object, ...]) -> None:
        number = row[0]
        if isinstance(number, int) and self._known[table].get(number) != row:
            marks = ", ".join("?" * len(row))
            self.db.execute(f"INSERT OR REPLACE INTO {table} VALUES({marks})", row)
            self._known[table][number] = row


class Years:
    """Opens years to write them, and moves aside what cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, OpenYear] = {}

    @contextmanager
    def writing(self, number: int) -> Iterator[OpenYear]:
        """Write a year in one transaction, all of it or nothing; raise OSError if the disk refuses.

        Raises StoreDamaged if the file cannot be read, after it was moved aside: the next try starts a new one.
        """
        done = False
        try:
            year = self._opened(number)
            with schema.refusing(year.path), schema.transaction(year.db):
                yield year
                year.db.execute(
                    "INSERT INTO meta VALUES('version', 1) ON CONFLICT(key) DO UPDATE SET value = value + 1"
                )
            done = True
        except StoreDamaged as error:
            self.move_aside(number, str(error))
            raise
        finally:
            if not done:
                self.forget(number)  # what it noted as written was not

    def tidy(self) -> None:
        """Close all years but the newest that is open."""
        for number in sorted(self._open)[:-1]:
            self.forget(number)

    def forget(self, number: int) -> None:
        """Close a year, if it is open."""
        if year := self._open.pop(number, None):
            year.db.close()

    def move_aside(self, number: int, why: str) -> Path:
        """Let the file of a year out of the way, to be salvaged; return where it is now."""
        self.forget(number)
        path = history.file(self._folder, number)
        log.error("%s; the year %d starts anew, what can be read is salvaged", why, number)
        return schema.move_aside(path)

    def close(self) -> None:
        """Let go of all files."""
        for number in list(self._open):
            self.forget(number)

    def _opened(self, number: int) -> OpenYear:
        year = self._open.get(number)
        if year is None:
            year = self._open[number] = OpenYear(history.file(self._folder, number), number)
            with schema.refusing(year.path):
                year.db.execute("INSERT OR IGNORE INTO meta VALUES('year', ?)", (number,))
        return year


def newest_arrival(folder: Path) -> int:
    """Return the largest number of arrival of all years, 0 if there is none; years that cannot be read do not count."""
    newest = 0
    for path in history.files(folder).values():
        try:
            with schema.reading(path) as db:
                found = db.execute("SELECT coalesce(max(smax), 0) FROM axis").fetchone()[0]
        except (StoreDamaged, OSError) as error:
            log.error("%s", error)
            continue
        newest = max(newest, int(found))
    return newest

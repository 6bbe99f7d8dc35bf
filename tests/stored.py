"""What a store has, hot and sealed, whoever is writing it."""

from pathlib import Path

from heliograph.errors import StoreAway
from heliograph.store import open_reader
from heliograph.store.interface import Arrival


def arrivals(data: Path) -> list[Arrival]:
    """Return every reading in order of arrival; none if there is no store yet.

    What is stored twice takes two numbers of arrival, even if sealing has made one reading of it.
    """
    reader = open_reader(data)
    try:
        found = reader.since(0, 10**9)
    except StoreAway:
        return []
    finally:
        reader.close()
    assert not found or found[-1].cursor == len(found), "a reading is stored twice"
    return found

"""The renames of nodes, devices and channels, as the store keeps them: what is called what now, and what it was called before.

A name is `node`, `node/device` or `node/device/channel`; a rename of a node or device is one of everything below it.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from heliograph.errors import StoreDamaged

KEY = "renames"  # in the table meta of a store
FILE = "renames.json"  # in the folder of a service that does not read the store
Uploads = Literal["new", "old"]  # under which name uploads continue


class Rename(msgspec.Struct, frozen=True, eq=False):
    """One rename, and when it was done (s UTC; 0: that is not known), which makes it no other one."""

    old: str
    new: str
    uploads: Uploads = "new"
    at: float = 0.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rename) and (self.old, self.new, self.uploads) == (other.old, other.new, other.uploads)

    def __hash__(self) -> int:
        return hash((self.old, self.new, self.uploads))


def renamed(name: str, old: str, new: str) -> str:
    """Return a name after a rename: another one if it is the old name, or below it."""
    return new + name[len(old) :] if f"{name}/".startswith(f"{old}/") else name


class Renames:
    """All renames of a store, oldest first."""

    def __init__(self, entries: Iterable[Rename] = ()) -> None:
        self.entries: Sequence[Rename] = tuple(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def with_one(self, entry: Rename) -> "Renames":
        """Return these and a newer one."""
        return Renames((*self.entries, entry))

    def after(self, count: int) -> "Renames":
        """Return all but the oldest `count`."""
        return Renames(self.entries[count:])

    def present(self, name: str) -> str:
        """Return what is called now what once had this name."""
        for entry in self.entries:
            name = renamed(name, entry.old, entry.new)
        return name

    def present_from(self, name: str, time: float) -> str:
        """Return what is called now what had this name at a time (s UTC)."""
        for entry in self.entries:
            if entry.at > time:
                name = renamed(name, entry.old, entry.new)
        return name

    def node_at(self, node: str, time: float) -> str:
        """Return what a node was called at a time (s UTC)."""
        for entry in reversed(self.entries):
            if entry.at > time and node == entry.new:
                node = entry.old
        return node

    def rest_of(self, other: "Renames") -> "Renames":
        """Return what these have after all of other ones; nothing if they are no continuation of those."""
        count = len(other.entries)
        return self.after(count) if tuple(self.entries[:count]) == tuple(other.entries) else Renames()

    def former(self, name: str) -> list[str]:
        """Return the names that something had before, the newest first."""
        names: list[str] = []
        for entry in reversed(self.entries):
            before = renamed(name, entry.new, entry.old)
            if before != name:
                names.append(before)
                name = before
        return names

    def in_uploads(self, name: str) -> str:
        """Return the name under which uploads continue: an earlier one, as far as the renames say so."""
        for entry in reversed(self.entries):
            before = renamed(name, entry.new, entry.old)
            if before != name and entry.uploads == "new":
                break
            name = before
        return name

    def origin(self, name: str) -> tuple[str, int]:
        """Return the first name of something, and how many other things had that name before it and gave it up."""
        began = len(self.entries)
        for index in reversed(range(len(self.entries))):
            before = renamed(name, self.entries[index].new, self.entries[index].old)
            if before != name:
                name, began = before, index
        return name, sum(renamed(name, entry.old, entry.new) != name for entry in self.entries[:began])


def encode(renames: Renames) -> str:
    """Return renames as JSON."""
    return msgspec.json.encode(renames.entries).decode()


def decode(text: str | bytes | None) -> Renames:
    """Return what `encode` made JSON of, nothing for no text; raise StoreDamaged for other texts."""
    try:
        return Renames(msgspec.json.decode(text or "[]", type=tuple[Rename, ...]))
    except (msgspec.DecodeError, UnicodeError) as error:
        raise StoreDamaged(f"the renames cannot be read: {error}") from None

"""Lists in documents that follow from the code: `python -m tests.lists` writes them all, tests/test_lists.py compares.

A module tests/SERVICE/lists.py has `lists()`, which yields the lists that follow from the modules of a service.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Listing(NamedTuple):
    """The lines of a document between the line `after` and the next line that begins with `before`, or is empty if that is ""."""

    document: str
    after: str
    before: str
    lines: list[str]

    def __str__(self) -> str:
        return f"{self.document}, below {self.after!r}"

    def _ends(self, line: str) -> bool:
        return line.startswith(self.before) if self.before else not line

    def updated(self, text: str) -> str:
        """Return the text of the document with these lines in it; raise ValueError if it has no mark for them."""
        lines = text.split("\n")
        try:
            start = lines.index(self.after) + 1
            end = next(index for index in range(start, len(lines)) if self._ends(lines[index]))
        except (ValueError, StopIteration):
            raise ValueError(f"{self.document} has no line {self.after!r} with {self.before!r} after it") from None
        return "\n".join([*lines[:start], *self.lines, *lines[end:]])


def every() -> Iterator[Listing]:
    for module in sorted((ROOT / "tests").glob("*/lists.py")):
        yield from import_module(f"tests.{module.parent.name}.lists").lists()


def main() -> None:
    for listing in every():
        path = ROOT / listing.document
        before = path.read_text()
        if (after := listing.updated(before)) != before:
            path.write_text(after)


if __name__ == "__main__":
    main()

"""The right name that a misspelt one is nearest to."""

from collections.abc import Iterable
from zoneinfo import available_timezones

NEAR = 2  # slips of the keyboard; of a long name one in three characters, of a short one at most one in two: "on" is not "off"
LONGEST = 100  # characters that are looked at


def choices(written: str, known: Iterable[str]) -> str:
    """Return what follows in a sentence on an unknown name: "; did you mean baud? There are port, baud"."""
    known = list(known)
    near = hint(written, known)
    return f"{near} There are {', '.join(known)}" if near else f"; there are {', '.join(known) or 'none'}"


def hint(written: str, known: Iterable[str]) -> str:
    """Return "; did you mean baud?", or "" if no known name is near to what was written."""
    name = nearest(written, known)
    return f"; did you mean {name}?" if name else ""


def time_zones(written: str) -> str:
    """Return the same for the name of a time zone; what such names look like, if none is near."""
    return hint(written, sorted(available_timezones())) or "; use a name such as Europe/Berlin"


def nearest(written: str, known: Iterable[str]) -> str:
    """Return the known name that takes the fewest slips to become what was written; "" if all take too many."""
    written = written[:LONGEST].lower()
    ranked = ((slips(written, name.lower()), index, name) for index, name in enumerate(known))
    count, _, name = min(ranked, default=(LONGEST, 0, ""))
    most = max(min(NEAR, len(written) // 2), len(written) // 3)
    return name if count <= most and count < len(name) else ""


def slips(written: str, right: str) -> int:
    """Return how many characters were left out, added, changed, or exchanged with the next one."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, character in enumerate(written):
        before, last, row = row, before, [i + 1]
        for j, other in enumerate(right):
            least = min(before[j] + (character != other), before[j + 1] + 1, row[j] + 1)
            if i and j and (character, written[i - 1]) == (right[j - 1], other):
                least = min(least, last[j - 1] + 1)
            row.append(least)
    return row[-1]

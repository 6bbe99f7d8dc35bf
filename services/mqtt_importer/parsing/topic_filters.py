"""Topic filters (OASIS MQTT 5.0, 4.7): which topics they match, and which other filters they cover."""

from collections.abc import Iterable


def is_filter(text: str) -> bool:
    """Whether a text is a topic filter: + and # fill a level, # only the last one."""
    levels = text.split("/")
    whole = all(level in ("+", "#") or not {"+", "#", "\0"} & set(level) for level in levels)
    return bool(text) and whole and "#" not in levels[:-1] and len(text.encode("utf-8", "replace")) < 65_536


def wildcards(topic_filter: str, topic: str) -> tuple[str, ...] | None:
    """Return the text that each wildcard matches, None if the filter does not match the topic."""
    if topic.startswith("$") and topic_filter[0] in "+#":
        return None
    matched: list[str] = []
    levels = topic.split("/")
    for position, level in enumerate(topic_filter.split("/")):
        if level == "#":
            matched.append("/".join(levels[position:]))
            return tuple(matched)
        if position >= len(levels) or level not in ("+", levels[position]):
            return None
        if level == "+":
            matched.append(levels[position])
    return tuple(matched) if len(levels) == position + 1 else None


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a filter matches a topic."""
    return wildcards(topic_filter, topic) is not None


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that the narrow filter matches is matched by the wide one, too."""
    wide_levels, narrow_levels = wide.split("/"), narrow.split("/")
    for position, level in enumerate(wide_levels):
        if level == "#":
            return True
        if position >= len(narrow_levels):
            return False
        other = narrow_levels[position]
        if other == "#" or (level != "+" and level != other):
            return False
    return len(wide_levels) == len(narrow_levels)


def without_covered(filters: Iterable[str]) -> list[str]:
    """Return the filters that no other one covers: a broker sends a message once for each filter that matches."""
    distinct = sorted(set(filters))
    return [one for one in distinct if not any(other != one and covers(other, one) for other in distinct)]

"""Options of targets as they come and go as JSON: a secret is stored, never shown again, and stays if it is not given."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from heliograph.redaction import REDACTED, redactor
from services.uploader import targets
from services.uploader.options import TargetOptions, secret_names


def shown(options: TargetOptions) -> dict[str, Any]:
    """Return options as JSON has them, with "…" in place of each secret that is set."""
    return redacted(msgspec.to_builtins(options))


def redacted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, valid or not, with "…" in place of each secret that is set."""
    names = _secret_names(values)
    return {name: _covered(value) if name in names else value for name, value in values.items()}


def redactor_for(values: Mapping[str, Any]) -> Callable[[str], str]:
    """Return a function that takes the secrets of options, valid or not, out of a text."""
    return redactor(_texts(values[name] for name in _secret_names(values) if name in values))


def completed(values: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the secrets that are stored for a target of the same type where none, or "…", is given."""
    kept: dict[str, Any] = {}
    if stored.get("kind") == values.get("kind"):
        kept = {name: stored[name] for name in _secret_names(values) if name in stored}
    return {**kept, **_uncovered(values, kept)}


def _secret_names(values: Mapping[str, Any]) -> set[str]:
    kind = values.get("kind")
    return secret_names(targets.load(kind)) if isinstance(kind, str) and kind in targets.known() else set()


def _covered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _covered(text) for name, text in value.items()}
    return REDACTED if value else value


def _uncovered(values: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    uncovered: dict[str, Any] = {}
    for name, value in values.items():
        before = kept.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            uncovered[name] = _uncovered(value, before)
        elif value != REDACTED or name in kept:
            uncovered[name] = before if value == REDACTED else value
    return uncovered


def _texts(values: Iterable[object]) -> set[str]:
    texts: set[str] = set()
    for value in values:
        texts |= _texts(value.values()) if isinstance(value, dict) else {value} if isinstance(value, str) else set()
    return texts

"""Options of targets as they come and go as JSON: a secret is stored, never shown again, and stays if it is not given.

Secrets are the options of type Secret, and of a URL its user, its password and its query.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from heliograph.redaction import REDACTED, redactor
from services.uploader import targets, templates
from services.uploader.options import URL, TargetOptions, secret_names, url_secrets

ADDRESS = ("url", "host", "port", "tls")  # where a target's secrets go
HTTP_PORTS = {"http": 80, "https": 443}


def shown(options: TargetOptions) -> dict[str, Any]:
    """Return options as JSON has them, with "…" in place of each secret that is set."""
    return redacted(msgspec.to_builtins(options))


def redacted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, valid or not, with "…" in place of each secret that is set."""
    names = _secret_names(values)
    return {
        name: _covered(value) if name in names else _covered_url(value) if name == URL else value
        for name, value in values.items()
    }


def redactor_for(values: Mapping[str, Any]) -> Callable[[str], str]:
    """Return a function that takes the secrets of options, valid or not, out of a text."""
    texts = _texts(values[name] for name in _secret_names(values) if name in values)
    return redactor({*texts, *url_secrets(str(values.get(URL, "")))})


def completed(values: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the secrets that are stored for a target of the same type where none, or "…", is given.

    Raises ValueError if a secret is not given, and the one that is stored was for another server: the right to change
    an address is no right to read a secret there.
    """
    kept: dict[str, Any] = {}
    if stored.get("kind") == values.get("kind"):
        kept = {name: stored[name] for name in _secret_names(values) if name in stored}
        if URL in stored and _covered_url(stored[URL]) == values.get(URL):
            values = {**values, URL: stored[URL]}
    complete = {**kept, **_uncovered(values, kept)}
    if kept and _address(values) != _address(stored):
        for name, value in kept.items():
            if value and _keeps(value, values.get(name, REDACTED)):
                raise ValueError(f'{name}: it was given for another server; give it again, or "" for none')
    return complete


def _keeps(stored: Any, given: Any) -> bool:
    """Whether anything of a stored secret would stay."""
    if isinstance(stored, dict) and isinstance(given, dict):
        return any(_keeps(text, given.get(name, "")) for name, text in stored.items())
    return bool(given == REDACTED and stored)


def _address(values: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the server that options name: a stored secret goes there and nowhere else."""
    fields = msgspec.structs.fields(targets.load(str(values["kind"])))
    defaults = {field.encode_name: field.default for field in fields}
    address = {name: values.get(name, defaults.get(name)) for name in ADDRESS if name in defaults}
    url = address.pop(URL, None)
    try:
        parts = urlsplit(str(url))
        server = (parts.scheme, parts.hostname, parts.port or HTTP_PORTS.get(parts.scheme))
    except ValueError:
        server = (str(url), None, None)
    return (*server, *sorted(address.items())) if url else tuple(sorted(address.items()))


def _secret_names(values: Mapping[str, Any]) -> set[str]:
    kind = values.get("kind")
    return secret_names(targets.load(kind)) if isinstance(kind, str) and kind in targets.known() else set()


def _covered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _covered(text) for name, text in value.items()}
    return REDACTED if value and not (isinstance(value, str) and templates.alone(value)) else value


def _covered_url(value: Any) -> Any:
    """Return a URL without user, password and query."""
    if not isinstance(value, str):
        return value
    head, question, _ = value.partition("?")
    scheme, slashes, rest = head.partition("://")
    server, slash, path = rest.partition("/")
    user, at, host = server.rpartition("@")
    covered = f"{scheme}{slashes}{REDACTED if user else ''}{at}{host}{slash}{path}"
    return f"{covered}?{REDACTED}" if question else covered


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

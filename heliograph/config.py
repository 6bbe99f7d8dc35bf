"""Turn the node's TOML file into structs, or say exactly what is wrong."""

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from heliograph import topics
from heliograph.errors import ConfigError

C = TypeVar("C", bound="Config")


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The base of every section: the fields are the options, their types the schema.

    A `__post_init__` that raises ValueError refuses a section, in words of one line.
    """


def _hostname() -> str:
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().split(".")[0].lower()).strip("-") or "node"


class Node(Config, frozen=True):
    """The [node] section: what this machine is called, and where its services keep their state."""

    name: str = msgspec.field(default_factory=_hostname)
    data: str = "data"
    clock: Literal["auto", "trust"] = "auto"

    def __post_init__(self) -> None:
        """Refuse a name that would change the shape of the topic tree."""
        topics.name(self.name)


class Broker(Config, frozen=True):
    """The [broker] section; the user name is the name of the service."""

    host: str = "127.0.0.1"
    port: int = 1883
    password: str = ""
    ca: str = ""

    def __post_init__(self) -> None:
        """Refuse a port that no broker can have."""
        if not 0 < self.port < 65536:
            raise ValueError(f"port: {self.port} is not between 1 and 65535")


def read(path: Path) -> dict[str, Any]:
    """Return the whole file; raise ConfigError if it is not there or not TOML."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def section(kind: type[C], file: Mapping[str, Any], name: str, path: Path, service: str = "") -> C:
    """Return one section as its struct; raise ConfigError naming file, key, expected and found.

    `service` replaces "{service}" in values that name a file or a variable.
    """
    options = _resolved(file.get(name, {}), f"{path}: [{name}]", service)
    try:
        return msgspec.convert(options, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explained(f"{path}: [{name}]", str(error), options)) from None


def _resolved(value: Any, where: str, service: str) -> Any:
    """Replace "$NAME" by the environment's value and "file:PATH" by the file's content."""
    if isinstance(value, dict):
        return {key: _resolved(item, f"{where} {key}", service) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, f"{where}[{index}]", service) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", value):
        if value[1:] not in os.environ:
            raise ConfigError(f"{where}: the environment has no {value[1:]}")
        return os.environ[value[1:]]
    if value.startswith("file:"):
        path = Path(value[5:].replace("{service}", service))
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: cannot read {path}: {error}") from None
    return value


_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_TYPE = re.compile(r"Expected `(.*)`, got `(.*)`")


def _explained(where: str, message: str, options: Any) -> str:
    """Say in one line what msgspec found, with the value that it found there."""
    what, _, place = message.partition(" - at `")
    path = place.rstrip("`").removeprefix("$").removeprefix(".")
    key = f"{where} {path}" if path else where
    if match := _UNKNOWN.fullmatch(what):
        return f"{key}: no such option: {match[1]}"
    if match := _MISSING.fullmatch(what):
        return f"{key}: missing: {match[1]}"
    if match := _TYPE.fullmatch(what):
        return f"{key}: expected {match[1]}, found {_found(options, path)}"
    return f"{key}: {what[0].lower()}{what[1:]}"


def _found(options: Any, path: str) -> str:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(options, list) and part.isdigit():
            options = options[int(part)]
        elif isinstance(options, dict) and part in options:
            options = options[part]
        else:
            return "something else"
    return repr(options)[:80]

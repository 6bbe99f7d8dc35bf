"""The node's TOML file as structs; an error names file, key, what was expected and what was found."""

import codecs
import os
import re
import socket
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import GenericAlias
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import msgspec

from heliograph import mistakes, nearest, series_patterns, tls, toml_hints, topics
from heliograph.errors import ConfigError

COMMON_SECTIONS = ("node", "broker", "quality")  # that every service reads; all others are those of services
C = TypeVar("C", bound="Config")
LogLevel = Literal["error", "warning", "info", "debug"]
ServiceLogLevel = Literal["", "error", "warning", "info", "debug"]
_VARIABLE = re.compile(r"\$((?:[A-Za-z_]|\{service\})(?:[A-Za-z0-9_]|\{service\})*)")


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The base of every section: the fields are the options, their types the schema.

    A `__post_init__` that raises ValueError refuses a section, in words of one line.
    `RENAMED` maps the former name of an option to its present one, or to the section and option it moved to
    ("[node] store"): the error about the former name then says the present one. Subclasses inherit the entries.
    `RESOLVED_LATER` names options that stay as written, "$NAME" or "file:PATH": only the services that need them can
    resolve them (see `resolved`), and the others need not have the secret.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {}
    RESOLVED_LATER: ClassVar[frozenset[str]] = frozenset()

    def claims(self) -> "Iterator[Claim]":
        """Yield what no other service of the node may have, too, and what others have to have."""
        yield from ()


class Claim(NamedTuple):
    """A serial port that a service opens, a device that it publishes, or DEVICE/CHANNEL that it needs, and the key that names it.

    `channels` are all that a device can have, with spaces between them; "" if the configuration does not tell.
    """

    kind: Literal["port", "device", "input"]
    name: str
    key: str
    channels: str = ""


def check_path(path: str, key: str) -> None:
    """Raise ValueError for a path that begins with ~: only a shell knows whose home that is, and services may run as another user."""
    if path.startswith("~"):
        raise ValueError(
            f"{key}: {path!r} begins with ~, which only a shell understands; write the whole path, such as '/home/pi/data'"
        )


def _hostname() -> str:
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().split(".")[0].lower()).strip("-")[:63] or "node"


class Node(Config, frozen=True):
    """The [node] section: the name of this machine, and where its services keep their state and the store.

    `store_location.configured` resolves and checks `store`. With `producers_only` another node has the store.
    """

    RESOLVED_LATER: ClassVar[frozenset[str]] = frozenset({"store"})

    name: str = msgspec.field(default_factory=_hostname)
    data: str = "data"
    store: str = ""
    clock: Literal["auto", "file", "trust"] = "auto"
    clock_file: str = "/run/systemd/timesync/synchronized"
    producers_only: bool = False
    plain_values: list[str] = msgspec.field(default_factory=list)
    log_level: LogLevel = "info"

    def __post_init__(self) -> None:
        """Refuse a name that would change the shape of the topic tree, wrong patterns, and data that would not outlive its container."""
        if (
            not self.name and _from_environment(Node, "node").get("name") == ""
        ):  # compose.yaml: HELIOGRAPH_NODE is not set
            raise ValueError(
                "name: missing: a container has no useful host name; write [node] name into config.toml, or HELIOGRAPH_NODE=roof into .env"
            )
        topics.name(self.name, "name")
        check_path(self.data, "data")
        check_path(self.clock_file, "clock_file")
        for pattern in self.plain_values:
            try:
                series_patterns.check(pattern, ("device", "channel"))
            except ValueError as error:
                raise ValueError(f"plain_values: {error}") from None
        only = _from_environment(Node, "node").get("data", self.data)
        if self.data != only:
            raise ValueError(
                f"data: expected {str(only)!r} or nothing, found {self.data!r}: a container keeps nothing else"
            )


class ServiceOptions(Config, frozen=True, kw_only=True):
    """The base of a service's section; an empty `log_level` is that of [node]."""

    log_level: ServiceLogLevel = ""


class Broker(Config, frozen=True):
    """The [broker] section; the user name is the name of the service."""

    host: str = "127.0.0.1"
    port: int = 1883
    password: str = ""
    ca: str = ""

    def __post_init__(self) -> None:
        """Refuse an empty host, an impossible port, and a certificate that cannot be read."""
        if not self.host:
            raise ValueError("host: expected a name or an address, found ''")
        if "/" in self.host or self.host.count(":") == 1:
            raise ValueError(
                f"host: expected a name or an address alone, found {self.host!r}; the port has an option of its own"
            )
        if not 0 < self.port < 65536:
            raise ValueError(f"port: {self.port} is not between 1 and 65535")
        if self.ca:
            check_path(self.ca, "ca")
            tls.context(self.ca)


def read(path: Path) -> dict[str, Any]:
    """Return the whole file; raise ConfigError if it is not there or not TOML.

    The mark with which some editors begin a UTF-8 file is no mistake.
    """
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: not TOML: line {line} is not UTF-8: save the file as UTF-8, or leave the letter out"
        ) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}{toml_hints.hint(text, str(error))}") from None


def check_sections(file: Mapping[str, Any], names: Collection[str], path: Path) -> None:
    """Raise ConfigError if a section that none of these names is seems to be one of them, misspelt: nothing else would read it."""
    for written in file:
        if written not in names and (near := nearest.nearest(written, names)):
            raise ConfigError(f"{path}: [{written}]: no such section; did you mean {near}?")


def serial_ports(file: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield section, key and path of each serial port of this machine that a configuration names."""
    for service, content in file.items():
        yield from ((service, key, port) for key, port in _ports(content, ""))


def _ports(value: Any, key: str) -> Iterator[tuple[str, str]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        inner = f"{key}[{name}]" if isinstance(value, list) else f"{key}.{name}" if key else str(name)
        if name == "port" and isinstance(item, str) and item.startswith("/"):
            yield inner, item
        else:
            yield from _ports(item, inner)


def section(kind: type[C], file: Mapping[str, Any], name: str, path: Path, service: str = "") -> C:
    """Return one section as its struct; raise ConfigError naming file, key, expected and found.

    An option that the file leaves out is what the environment's HELIOGRAPH__SECTION__OPTION says: the text itself for
    an option that is a text, a TOML value for others.
    `service` replaces "{service}" in values that name a file or a variable.
    """
    written = file.get(name, {})
    given = _from_environment(kind, name) if isinstance(written, dict) else {}
    try:
        options: C = _converted(kind, {name: given | written} if given else file, name, path, service)
    except ConfigError as error:
        mistake = str(error)
        for option, text in given.items() if _mistake_in(kind, written, name, path, service) != mistake else ():
            if option not in written and _mistake_in(kind, {option: text} | written, name, path, service) == mistake:
                where = f"environment variable {_prefix(name)}{option.upper()}"
                raise ConfigError(where + mistake.removeprefix(str(path))) from None
        raise
    return options


def _mistake_in(kind: Any, written: Mapping[str, Any], name: str, path: Path, service: str) -> str:
    try:
        _converted(kind, {name: written}, name, path, service)
    except ConfigError as error:
        return str(error)
    return ""


def tables(kind: type[C], file: Mapping[str, Any], name: str, path: Path) -> dict[str, C]:
    """Return a section that holds one struct under each of its keys; raise ConfigError as `section` does."""
    structs: dict[str, C] = _converted(GenericAlias(dict, (str, kind)), file, name, path, "")
    return structs


def _converted(kind: Any, file: Mapping[str, Any], name: str, path: Path, service: str) -> Any:
    written = file.get(name, {})
    where = f"{path}: [{name}]"
    try:
        later: Collection[str] = getattr(kind, "RESOLVED_LATER", ())
        return msgspec.convert(_resolved(written, where, service, later), kind)
    except msgspec.ValidationError:
        raise ConfigError(where + _mistake(kind, written, name)) from None


def _prefix(section: str) -> str:
    return f"HELIOGRAPH__{section.upper()}__"


def _from_environment(kind: type[Config], section: str) -> dict[str, Any]:
    prefix = _prefix(section)
    texts = {field.name for field in msgspec.structs.fields(kind) if field.type is str}
    given = {
        variable.removeprefix(prefix).lower(): text
        for variable, text in os.environ.items()
        if variable.startswith(prefix)
    }
    # a password or a name of digits is not a number
    return {option: text if option in texts else _value(text) for option, text in given.items()}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _mistake(kind: type[C], written: Any, section: str) -> str:
    """Return what is wrong, with the values as they are written in the file: what they refer to may be a secret."""
    try:
        msgspec.convert(written, kind)
    except msgspec.ValidationError as error:
        return mistakes.explained(kind, written, str(error), section)
    return f": what {' or '.join(_references(written))} holds is refused"


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [reference for item in value for reference in _references(item)]
    return [repr(value)] if isinstance(value, str) and (_VARIABLE.fullmatch(value) or _is_file(value)) else []


def _is_file(value: str) -> bool:
    return value.startswith("file:")


def _resolved(value: Any, where: str, service: str, later: Collection[str] = ()) -> Any:
    if isinstance(value, dict):
        return {
            key: item if key in later else _resolved(item, f"{where} {key}", service) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_resolved(item, f"{where}[{index}]", service) for index, item in enumerate(value)]
    return resolved(value, where, service) if isinstance(value, str) else value


def resolved(value: str, where: str, service: str) -> str:
    """Return what a value refers to: "$NAME" a variable of the environment, "file:PATH" the text of a file.

    Any other value is returned as it is. Raises ConfigError, which names `where` and not what is there; also if there is
    nothing: a service would connect without a password.
    """
    if match := _VARIABLE.fullmatch(value):
        variable = match[1].replace("{service}", service)
        if variable not in os.environ:
            raise ConfigError(f"{where}: environment variable {variable} is not set")
        if not os.environ[variable].strip():
            raise ConfigError(f"{where}: environment variable {variable} is empty")
        return os.environ[variable]
    if _is_file(value):
        path = Path(value.removeprefix("file:").replace("{service}", service))
        try:
            text = path.read_text().strip()
        except OSError as error:
            raise ConfigError(f"{where}: cannot read {path}: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"{where}: {str(path)!r} is not a text file: {error.__class__.__name__}") from None
        if not text:
            raise ConfigError(f"{where}: {path} is empty; write the value into it, or leave the option out")
        return text
    return value

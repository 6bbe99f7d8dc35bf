"""The options that every target has; the module of each kind adds its own."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal
from urllib.parse import unquote_plus, urlsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import inspect

from heliograph import nearest, series_patterns, topics
from heliograph.config import Config
from services.uploader import templates
from services.uploader.target import Target, TargetContext

Secret = Annotated[str, msgspec.Meta(extra={"secret": True})]  # never shown again: see secrets()
URL = "url"  # the option of every kind that has one
CHANNEL_FIELDS = ("node", "device", "channel", "unit")  # the names in templates for the names of channels


class TargetOptions(Config, frozen=True, tag_field="kind"):
    """The options of every target; the defaults in a subclass are those of its kind.

    `channels` and `exclude` are patterns for node/device/channel, `names` maps such patterns to
    what the channel is called there, the first that fits; `name_template` is for all others. Both are
    templates (templates.py) with $node, $device, $channel and $unit.
    """

    name: str
    enabled: bool = True
    channels: tuple[str, ...] = ("*/*/*",)
    exclude: tuple[str, ...] = ()
    names: dict[str, str] = msgspec.field(default_factory=dict)
    name_template: str = "${channel}"
    start: str = msgspec.field(name="from", default="now")
    order: Literal["oldest", "live"] = "oldest"
    interval: float = 0.0
    timestamp: Literal["start", "end"] = "start"
    counters: Literal["last", "delta", "today"] = "last"
    grace: float = 15.0
    timezone: str = "UTC"
    batch_size: int = 0
    batch_bytes: int = 0
    min_interval: float = 0.0
    max_requests_per_hour: int = 0
    timeout: float = 30.0

    RENAMED: ClassVar[Mapping[str, str]] = {
        "active": "enabled",
        "without": "exclude",
        "called": "name_template",
        "stamp": "timestamp",
        "rows": "batch_size",
        "bytes": "batch_bytes",
        "every": "min_interval",
        "per_hour": "max_requests_per_hour",
    }
    LIVE_FIRST: ClassVar[bool] = True  # whether order = "live" is possible with this kind

    def __post_init__(self) -> None:
        """Refuse impossible options; a subclass calls `super().__post_init__()` first."""
        topics.name(self.name, "name")
        for option, patterns in (("channels", self.channels), ("exclude", self.exclude), ("names", tuple(self.names))):
            for pattern in patterns:
                check_pattern(option, pattern)
        for option, template in (
            ("name_template", self.name_template),
            *((f"names.{key}", text) for key, text in self.names.items()),
        ):
            templates.check(option, template, CHANNEL_FIELDS)
        beginning(self.start, self.zone())
        for option, number in (("interval", self.interval), ("grace", self.grace), ("min_interval", self.min_interval)):
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"{option}: {number!r} is not a number of seconds")
        for option, count in (
            ("batch_size", self.batch_size),
            ("batch_bytes", self.batch_bytes),
            ("max_requests_per_hour", self.max_requests_per_hour),
        ):
            if count < 0:
                raise ValueError(f"{option}: {count} is negative; 0 means the target's own limit")
        if not 0 < self.timeout <= 600:
            raise ValueError(f"timeout: {self.timeout!r} is not between 0 and 600 seconds")
        if self.interval and (self.interval < 1 or 86_400 % self.interval):
            raise ValueError(f"interval: {self.interval:g} s does not divide a day into equal parts")
        if self.order == "live" and not self.LIVE_FIRST:
            raise ValueError(
                'order: this kind of target loses what is older than its newest; only "oldest" is possible'
            )

    def open(self, context: TargetContext) -> Target:
        """Return the target that these options describe, not connected yet; see targets/__init__.py."""
        raise NotImplementedError

    def zone(self) -> ZoneInfo:
        """Return the time zone of days and of `from`; raise ValueError if it is unknown."""
        try:
            return ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"timezone: {self.timezone!r} is not a time zone{nearest.time_zones(self.timezone)}"
            ) from None


def beginning(text: str, zone: ZoneInfo) -> float | None:
    """Return the time (s UTC) at which "2026-01-01" or "beginning" begins, None for "now"; raise ValueError."""
    if text in ("now", "beginning"):
        return None if text == "now" else 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'from: expected "now", "beginning" or a date like "2026-01-01", found {text!r}') from None
    return max((moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC).timestamp(), 0.0)


def check_pattern(option: str, pattern: str) -> None:
    """Raise ValueError, naming the option, unless this is a pattern for node/device/channel."""
    try:
        series_patterns.check(pattern)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def check_url(option: str, text: str, schemes: tuple[str, ...] = ("http", "https")) -> None:
    """Raise ValueError unless a text is a URL that can be shown: one without a password."""
    try:
        parts = urlsplit(text)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
        parts = urlsplit("")
    if not whole or parts.scheme not in schemes:
        raise ValueError(f"{option}: expected {schemes[0]}://host:port/…")
    if parts.password or parts.username:
        raise ValueError(f"{option}: use the options user and password; a URL is not kept secret")


def kind_of(options: TargetOptions) -> str:
    """Return the kind of target that these are the options of."""
    return str(options.__struct_config__.tag)


def secrets(options: TargetOptions) -> set[str]:
    """Return what must never be shown: the values of all options of type Secret."""
    texts = {text for _, text in _secrets(options) if text and not templates.alone(text)}
    return texts | url_secrets(getattr(options, URL, ""))


def url_secrets(url: str) -> set[str]:
    """Return what must never be shown of a URL: user, password, and the values in its query, as they are and decoded."""
    head, _, query = url.partition("?")
    user = head.partition("://")[2].partition("/")[0].rpartition("@")[0]
    texts = {user, *user.split(":"), *(part.partition("=")[2] for part in query.partition("#")[0].split("&"))}
    return {text for part in texts for text in (part, unquote_plus(part)) if text and "$" not in text}


def secret_names(options_type: type[TargetOptions]) -> set[str]:
    """Return the names of those options of a kind that are never shown."""
    return {field.encode_name for field in _secret_fields(options_type)}


def _secrets(options: TargetOptions) -> Iterator[tuple[str, str]]:
    for field in _secret_fields(type(options)):
        value = getattr(options, field.name)
        yield from ((field.encode_name, text) for text in (value.values() if isinstance(value, dict) else [value]))


def _secret_fields(options_type: type[TargetOptions]) -> Iterator[inspect.Field]:
    described = inspect.type_info(options_type)
    for field in described.fields if isinstance(described, inspect.StructType) else ():
        kind = field.type.value_type if isinstance(field.type, inspect.DictType) else field.type
        if isinstance(kind, inspect.Metadata) and (kind.extra or {}).get("secret"):
            yield field

"""A reading as a client sent it, and the checks that it must pass. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from heliograph import topics
from heliograph.messages import Channel, Info, Value
from heliograph.pending import is_good, shown
from heliograph.store.readings import EARLIEST, LATEST
from services.api.errors import RequestRefused

MOST_DEVICES = 1_000
MOST_CHANNELS = 256


class Report(NamedTuple):
    """One reading of a device: `time` is None for now, `channels` is what the sender knows of them.

    `model` and `interval` are those of the device; empty and 0 leave them as they are. `missing` is how many values the
    sender says that it does not have.
    """

    device: str
    values: Mapping[str, Value]
    time: float | None = None
    channels: Mapping[str, Channel] = {}
    model: str = ""
    interval: float = 0.0
    missing: int = 0


class TimeLimit(NamedTuple):
    """The present (s UTC), None while the clock of this node is not set, and how far ahead of it a reading may be (s)."""

    now: float | None
    ahead: float


def check(report: Report, known: Mapping[str, Channel], limit: TimeLimit, where: str = "") -> None:
    """Raise RequestRefused, beginning with `where` and the field, unless a report is valid for a device with these channels."""
    dot = f"{where}." if where else ""
    if not topics.is_name(report.device):
        raise RequestRefused(
            f"{dot}device: {shown(report.device)[:82]} is not the name of a device; use a-z 0-9 _ -, at most 63 characters"
        )
    if report.time is not None:
        _check_time(report.time, f"{dot}time", limit)
    if not (report.values or report.missing):
        raise RequestRefused(f"{dot}values: is empty")
    for channel in [*report.values, *report.channels]:
        if not topics.is_channel(channel):
            raise RequestRefused(
                f"{dot}values: {shown(channel)[:82]} is not the name of a channel; use a-z 0-9 _, at most 64 characters"
            )
    for channel, value in report.values.items():
        if not is_good(channel, value):
            raise RequestRefused(
                f"{dot}values.{channel}: {shown(value)[:40]} is not a finite number, boolean or short text"
            )
        described = report.channels.get(channel) or known.get(channel)
        if described and (described.kind == "text") != isinstance(value, str):
            raise RequestRefused(
                f"{dot}values.{channel}: {shown(value)[:40]} does not fit a channel of kind {described.kind}{_point(value)}"
            )
    if len({*known, *report.values, *report.channels}) > MOST_CHANNELS:
        raise RequestRefused(f"{dot}values: a device has at most {MOST_CHANNELS} channels")


def _point(value: object) -> str:
    """Return what to write in place of a number with a comma, or in quotes; "" for any other value."""
    if not isinstance(value, str) or not re.fullmatch(r"\s*[+-]?\d+([.,]\d+)?\s*", value):
        return ""
    return f"; write {value.strip().replace(',', '.')}: a number has a point, and no quotes"


def check_together(reports: Sequence[Report], known: Mapping[str, Info]) -> None:
    """Raise RequestRefused for reports that are valid one by one, but too many or contradictory together."""
    devices: dict[str, dict[str, bool]] = {}
    for report in reports:
        texts = devices.setdefault(report.device, {})
        for channel, value in report.values.items():
            if texts.setdefault(channel, isinstance(value, str)) != isinstance(value, str):
                raise RequestRefused(f"{report.device}: {channel[:64]} is a number here and a text there")
    for device, texts in devices.items():
        channels = known[device].channels if device in known else ()
        if len({*texts, *channels}) > MOST_CHANNELS:
            raise RequestRefused(f"{device}: a device has at most {MOST_CHANNELS} channels")
    if len(known.keys() | devices.keys()) > MOST_DEVICES:
        raise RequestRefused(f"there are {MOST_DEVICES} devices already, which is the limit", 409)


def _check_time(seconds: float, field: str, limit: TimeLimit) -> None:
    if not EARLIEST <= seconds <= LATEST:
        hint = "; expected seconds, not milliseconds" if 1e12 < seconds < 1e13 else ""
        raise RequestRefused(f"{field}: {seconds:.15g} is before 2000 or after 2100{hint}")
    if limit.now is not None and seconds > limit.now + limit.ahead:
        raise RequestRefused(
            f"{field}: {seconds:.15g} is {seconds - limit.now:.0f} s in the future by the clock of this node, "
            f"at most {limit.ahead:g} s are accepted; set the sender's clock, or raise ahead_seconds in [api]"
        )

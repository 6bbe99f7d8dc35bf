"""Quality at the edge: applies the [quality] rules to readings before they are published (docs/quality.md)."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from heliograph import units
from heliograph.filters import Deadband, Spikes, Stuck, Timed
from heliograph.messages import LARGEST, Channel, Info, Kind, Value
from heliograph.pending import Pending, shown
from heliograph.rules import SPIKE_READINGS, Rule, Rules

log = logging.getLogger(__name__)

SetAside = Callable[[str, str, str], None]  # why, what, where


class Quality:
    """Applies the rules, channel by channel; only `described` is thread-safe.

    A reading that is not newer than the last one of its channel, or whose time is not known yet, is scaled
    and checked, but passes by the filters that need an order: spikes, dead-band, stuck. One from the future
    counts there as one of now: `latest` returns the latest time (s UTC) that is not in the future, infinity
    while the clock is not set.
    """

    def __init__(self, rules: Mapping[str, Rule], set_aside: SetAside, latest: Callable[[], float]) -> None:
        self._rules = Rules(rules)
        self._set_aside = set_aside
        self._latest = latest
        self._channels: dict[str, dict[str, _ChannelFilters | None] | None] = {}  # None: no rule is about the device
        self._kinds: dict[str, dict[str, Kind]] = {}
        self._stuck: dict[str, None] = {}
        self.out_of_range = 0
        self.spikes = 0

    def __bool__(self) -> bool:
        """Whether there are any rules."""
        return bool(self._rules)

    def apply(self, reading: Pending) -> Sequence[Pending]:
        """Return a reading with the rules applied, after values of earlier readings that were held back."""
        device, boot, time, received, clock = reading
        try:
            channels = self._channels[device]
        except KeyError:
            channels = self._channels[device] = {} if self._rules.concern(device) else None
        if channels is None:
            return (reading,)
        latest = self._latest()
        values: dict[str, Value] = {}
        before: dict[float, dict[str, Value]] = {}
        for name, value in received.items():
            if name in channels:
                channel = channels[name]
            else:
                channel = channels[name] = self._channel(device, name)
            if channel is None:
                values[name] = value
                continue
            if type(value) is float or type(value) is int:
                if channel.scales:
                    value = _scaled(value, channel.factor, channel.offset, channel.decimals)
                if not channel.low <= value <= channel.high:
                    self._refuse(channel, value)
                    continue
                if not channel.in_order or boot or not channel.note(time, latest):
                    values[name] = value
                    continue
                for at, kept in self._in_order(channel, time, value):
                    if at == time:
                        values[name] = kept
                    else:
                        before.setdefault(at, {})[name] = kept
            elif not channel.deadband or boot or not channel.note(time, latest):
                values[name] = value
            else:
                for at, kept in channel.deadband.take(time, value):
                    (values if at == time else before.setdefault(at, {}))[name] = kept
        now = [Pending(device, boot, time, values, clock)] if values else []
        return (
            [*(Pending(device, boot, at, before[at], clock - (time - at)) for at in sorted(before)), *now]
            if before
            else now
        )

    def release(self) -> list[Pending]:
        """Return the values that the dead-bands hold back, at the end. Jumps that no reading has confirmed are spikes."""
        held_back: dict[tuple[str, float], dict[str, Value]] = {}
        for device, channels in self._channels.items():
            for name, channel in (channels or {}).items():
                if channel is None:
                    continue
                self._count_spikes(channel, channel.spikes.waiting if channel.spikes else ())
                for at, value in channel.deadband.release() if channel.deadband else ():
                    held_back.setdefault((device, at), {})[name] = value
        return [Pending(device, "", at, held_back[device, at], at) for device, at in sorted(held_back)]

    def described(self, device: str, info: Info) -> Info:
        """Return the description of a device with the rules applied: units, labels, and the longest interval."""
        self._kinds[device] = {name: channel.kind for name, channel in info.channels.items()}
        rules = {name: rule for name in info.channels if (rule := self._rules.of(device, name))}
        if not rules:
            return info
        channels = {
            name: _described(channel, rules[name]) if name in rules else channel
            for name, channel in info.channels.items()
        }
        rarest = max((rule.heartbeat_seconds for rule in rules.values() if rule.on_change), default=0.0)
        interval = max(info.interval, rarest) if info.interval else 0.0
        return msgspec.structs.replace(info, channels=channels, interval=interval)

    def counters(self) -> dict[str, int]:
        """Return the counters for the status; none without rules."""
        if not self:
            return {}
        bands = [
            channel.deadband
            for channels in list(self._channels.values())
            for channel in list((channels or {}).values())
            if channel and channel.deadband
        ]
        return {
            "quality_out_of_range": self.out_of_range,
            "quality_spikes": self.spikes,
            "quality_held_back": sum(band.left_out for band in bands),
        }

    def facts(self) -> dict[str, object]:
        """Return the facts for the status: channels that are stuck, rules that no channel has matched."""
        return {"stuck": sorted(self._stuck), "quality_unmatched": self._rules.unmatched()} if self else {}

    def _channel(self, device: str, name: str) -> "_ChannelFilters | None":
        rule = self._rules.of(device, name)
        if rule is None:
            return None
        return _ChannelFilters(f"{device}/{name}", rule, self._kinds.get(device, {}).get(name, "gauge"))

    def _in_order(self, channel: "_ChannelFilters", at: float, value: float) -> Sequence[Timed]:
        """Return the values of a channel to publish now, after its newest value."""
        good: Sequence[tuple[float, float]] = ((at, value),)
        if channel.spikes:
            good, spikes = channel.spikes.take(at, value)
            if spikes:
                self._count_spikes(channel, spikes)
        if channel.stuck:
            for then, number in good:
                if channel.stuck.take(then, number):
                    self._tell_stuck(channel, channel.stuck.stuck)
        if channel.deadband:
            return [out for then, number in good for out in channel.deadband.take(then, number)]
        return good

    def _refuse(self, channel: "_ChannelFilters", value: float) -> None:
        self.out_of_range += 1
        self._set_aside(channel.refusal, shown(value), channel.name)

    def _count_spikes(self, channel: "_ChannelFilters", spikes: Iterable[tuple[float, float]]) -> None:
        for _, value in spikes:
            self.spikes += 1
            self._set_aside("a spike", shown(value), channel.name)

    def _tell_stuck(self, channel: "_ChannelFilters", stuck: bool) -> None:
        if stuck:
            self._stuck[channel.name] = None
            log.warning("%s is stuck: it has not changed for %g s, while readings came", channel.name, channel.patience)
        else:
            self._stuck.pop(channel.name, None)
            log.info("%s is no longer stuck", channel.name)


class _ChannelFilters:
    """The rules of one channel, and its filters."""

    def __init__(self, name: str, rule: Rule, kind: Kind) -> None:
        self.name = name
        self._newest = -math.inf  # never after the time at which it arrived
        self.scales = rule.scales
        self.factor = 1.0 if rule.scale is None else rule.scale
        self.offset = rule.offset or 0.0
        self.decimals = max(_decimals(self.factor), _decimals(self.offset)) + 6
        self.low = -LARGEST if rule.min is None else rule.min
        self.high = LARGEST if rule.max is None else rule.max
        self.refusal = f"not between {self.low:g} and {self.high:g}"
        self.patience = rule.stuck or 0.0
        numbers = kind in ("gauge", "counter")
        count = rule.spike_readings or SPIKE_READINGS
        self.spikes = Spikes(rule.spike, count) if rule.spike and numbers else None
        self.stuck = Stuck(rule.stuck) if rule.stuck and numbers else None
        width = (rule.deadband or 0.0) if numbers else 0.0
        self.deadband = Deadband(width, rule.heartbeat_seconds) if rule.on_change else None
        self.in_order = any((self.spikes, self.stuck, self.deadband))

    def note(self, time: float, latest: float) -> bool:
        """Note the time of a reading; return whether it is newer than the readings before."""
        if self._newest > latest:  # the clock was ahead, and has been set back
            self._newest = -math.inf
        if time <= self._newest:
            return False
        self._newest = min(time, latest)
        return True


def _decimals(number: float) -> int:
    """Return how many decimals a number has, as it is written."""
    return max(0, -int(Decimal(repr(number)).normalize().as_tuple().exponent))


def _scaled(value: float, factor: float, offset: float, decimals: int) -> float:
    """Return value x factor + offset without the traces of binary fractions: 3 x 0.1 is 0.3."""
    try:
        return round(value * factor + offset, decimals)
    except OverflowError:
        return math.inf


def _described(channel: Channel, rule: Rule) -> Channel:
    """Return the description of a channel with the rule applied; a scaled one is read-only, as `set` is not scaled."""
    described = channel
    if rule.scales:
        factor = 1.0 if rule.scale is None else rule.scale
        described = msgspec.structs.replace(described, rollover=abs(described.rollover * factor), writable=None)
    if rule.unit is not None:
        described = msgspec.structs.replace(described, unit=units.spelled(rule.unit))
    return described if rule.label is None else msgspec.structs.replace(described, label=rule.label)

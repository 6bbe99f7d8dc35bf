"""The newest value of each channel on a topic of its own, retained, for programs that read no JSON: `[node] plain_values`.

What `state` shows is shown here, too, one message for each value: `-395.5`, 1 or 0 for a state, a text as it is. A client of
the broker sees a value when it changes, and again while its device continues to report it: evcc and others call a value outdated
that is not repeated.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path

from heliograph import durable, series_patterns, topics
from heliograph.bus import Bus, Tracked
from heliograph.messages import Value

log = logging.getLogger(__name__)

REPEAT_SECONDS = 5.0  # a value that has not changed is sent again with a reading that comes later than this
BATCH = 100  # as many messages at most are on their way, so that frames never wait behind a queue of values

Key = tuple[str, str]  # device, channel


class PlainValues:
    """Publishes the values of the channels that a pattern "DEVICE/CHANNEL" matches; not thread-safe but for `declare`.

    A value that could not be sent is replaced by the next, and all are sent again after each connect. `file` has the topics that
    the broker may retain, also those of earlier runs: one whose channel the patterns or its device no longer have is emptied.
    `now` returns seconds.
    """

    def __init__(
        self,
        bus: Bus,
        node: str,
        patterns: Sequence[str],
        file: Path,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._node = node
        self._patterns = patterns
        self._now = now
        self._is_chosen: dict[Key, bool] = {}
        self._latest: dict[str, frozenset[str]] = {}  # what was declared, as those who declare see it
        self._declared: deque[tuple[str, frozenset[str]]] = deque()
        self._channels: dict[str, frozenset[str]] = {}  # the same, as far as it was taken into account
        self._newest: dict[str, dict[str, bytes]] = {}  # by device and channel
        self._retained = _read(file)
        self._file = durable.KeptFile(file, "values of channels that go away meanwhile stay on the broker")
        self._ever: dict[str, set[str]] = {}  # channels that were ever retained, by device
        for device, channel in self._retained:
            self._ever.setdefault(device, set()).add(channel)
        self._has_work = bool(patterns or self._ever)
        self._connects = -1
        self._sent: dict[Key, tuple[bytes, float]] = {}  # in this connection, and when
        self._waiting: dict[Key, None] = {}
        self._emptied: dict[Key, Tracked] = {}
        self._last: Tracked | None = None

    def counters(self) -> dict[str, int]:
        """Return for the status how many topics the broker may retain; nothing if the option is off and none is left."""
        return {"plain_values": len(self._retained)} if self._has_work else {}

    def facts(self) -> dict[str, object]:
        """Return for the status the patterns that no channel has matched so far."""
        if not self._has_work:
            return {}
        chosen = ["/".join(key) for key, is_chosen in list(self._is_chosen.items()) if is_chosen]
        lacking = [one for one in self._patterns if not any(series_patterns.matches(one, name) for name in chosen)]
        return {"plain_values_unmatched": lacking}

    def declare(self, device: str, channels: Collection[str]) -> bool:
        """Note which channels a device has; return whether that has changed, so that there is something to send."""
        if not self._has_work:
            return False
        names = frozenset(channels)
        if self._latest.get(device) == names:
            return False
        self._latest[device] = names
        self._declared.append((device, names))
        return True

    def show(self, device: str, values: Mapping[str, Value]) -> None:
        """Take values that are the newest of their channels, for the next `send`."""
        now = self._now()
        for channel, value in values.items() if self._patterns else ():
            key = device, channel
            if self._chosen(key):
                self._newest.setdefault(device, {})[channel] = payload = plain(value)
                sent = self._sent.get(key)
                if sent is None or payload != sent[0] or now - sent[1] >= REPEAT_SECONDS:
                    self._waiting[key] = None

    def send(self, *, all_at_once: bool = False) -> bool:
        """Publish what is due if all that was published before is through; return whether there is more to do soon."""
        if not self._has_work:
            return False
        self._file.write_if_due()
        while self._declared:
            self._take(*self._declared.popleft())
        if not self._bus.connected:
            return False
        if self._bus.connects != self._connects:
            self._begin()
        self._note_emptied()
        if not all_at_once and (self._emptied or (self._last and not self._last())):
            return True
        batch = list(islice(self._waiting, len(self._waiting) if all_at_once else BATCH))
        self._retain({key for key in batch if not self._is_gone(key)})
        for key in batch:
            if not self._publish(key):
                return False  # the connection is lost; the next one begins again
            del self._waiting[key]
        return bool(self._waiting or self._emptied)

    def _chosen(self, key: Key) -> bool:
        chosen = self._is_chosen.get(key)
        if chosen is None:
            name = "/".join(key)
            chosen = self._is_chosen[key] = any(series_patterns.matches(one, name) for one in self._patterns)
        return chosen

    def _is_gone(self, key: Key) -> bool:
        """Whether a value does not exist (any more). Of a device that was not declared yet that is unknown."""
        device, channel = key
        channels = self._channels.get(device)
        return not self._chosen(key) or (channels is not None and channel not in channels)

    def _take(self, device: str, channels: frozenset[str]) -> None:
        self._channels[device] = channels
        self._waiting.update(dict.fromkeys(self._due(device)))

    def _begin(self) -> None:
        """Begin a connection: of what was sent before, the broker may have lost what it likes, or kept what was emptied."""
        self._connects = self._bus.connects
        self._sent.clear()
        self._emptied.clear()
        self._last = None
        self._waiting = {key: None for device in {**self._newest, **self._ever} for key in self._due(device)}

    def _due(self, device: str) -> Iterator[Key]:
        """Yield those topics of a device that are to be sent or emptied."""
        for channel in {*self._newest.get(device, ()), *self._ever.get(device, ())}:
            key = device, channel
            wanted = self._wanted(key)
            if wanted is not None and (key not in self._sent or self._sent[key][0] != wanted):
                yield key

    def _wanted(self, key: Key) -> bytes | None:
        """Return what a topic is to have, b"" if it is to be emptied, None if there is nothing to do."""
        device, channel = key
        if self._is_gone(key):
            return b"" if channel in self._ever.get(device, ()) else None
        return self._newest.get(device, {}).get(channel)

    def _publish(self, key: Key) -> bool:
        """Publish what a topic is to have; return whether the broker is there."""
        payload, is_gone = self._wanted(key), self._is_gone(key)
        if payload is None:
            return True
        tracked = self._bus.publish_tracked(topics.value(self._node, *key), payload, qos=int(is_gone), retain=True)
        if tracked is None:
            return False
        self._sent[key] = payload, self._now()
        self._last = tracked
        if is_gone:
            self._emptied[key] = tracked
        return True

    def _retain(self, keys: set[Key]) -> None:
        """Write down what the broker is going to retain, before it does."""
        if not keys <= self._retained:
            self._retained |= keys
            for device, channel in keys:
                self._ever.setdefault(device, set()).add(channel)
            self._write()

    def _note_emptied(self) -> None:
        """Cross out what the broker has acknowledged to be empty."""
        through = {key for key, tracked in self._emptied.items() if tracked()}
        if through:
            for key in through:
                del self._emptied[key]
            self._retained -= through
            self._write()

    def _write(self) -> None:
        self._file.put(json.dumps(sorted("/".join(key) for key in self._retained)).encode())


def plain(value: Value) -> bytes:
    """Return a value as text: a number without an exponent, 1 or 0 for a state; an empty text is empty, and not retained."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"1" if value else b"0"
    text = str(value)
    return (f"{Decimal(text):f}" if "e" in text else text).encode()


def _read(file: Path) -> set[Key]:
    """Return the keys in a file, none if there is none or it is damaged: what it had stays on the broker until it is forgotten."""
    try:
        names = json.loads(file.read_bytes())
        keys = {(device, channel) for device, channel in (name.split("/") for name in names)}
        for device, channel in keys:
            topics.value("node", device, channel)
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s cannot be read (%s): values of channels that are gone may stay on the broker", file, error)
        return set()
    return keys

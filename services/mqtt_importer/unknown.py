"""Topics that nobody reads, so that the owner can see what there is to map."""

from collections import OrderedDict

from services.mqtt_importer.payloads import printable

REMEMBERED = 1_000
SHOWN = 20
SHOWN_CHARACTERS = 200


class Unknown:
    """Counts messages of unknown topics, and remembers the newest."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self.messages = 0

    def take(self, broker: str, topic: str, payload: bytes) -> None:
        """Take note of a message."""
        self.messages += 1
        key = printable(f"{broker}: {topic}" if broker else topic, SHOWN_CHARACTERS)
        count, _ = self._seen.pop(key, (0, ""))
        shown = payload[:SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
        self._seen[key] = (count + 1, printable(shown, SHOWN_CHARACTERS))
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def facts(self) -> list[dict[str, object]]:
        """Return the newest topics, the newest first, with how often they came and their last payload."""
        newest = list(reversed(self._seen.items()))[:SHOWN]
        return [{"topic": topic, "count": count, "payload": payload} for topic, (count, payload) in newest]

"""emonHub's three layouts: `emonhub/rx/10/values`, `emon/emontx/power1`, `emon/JSON/emontx`.

As EmonHubMqttInterfacer of emonHub 2.7.19 publishes them (node, nodevar and JSON format):
`100,200.5,-67` with the RSSI last if there is one; one value per topic; and an object with
`time` in seconds since 1970 UTC. `topic` of the source is the base of all that it publishes.
"""

from itertools import islice

from services.mqtt_importer.parsing import payloads
from services.mqtt_importer.parsing.channels import measured_in
from services.mqtt_importer.parsing.parsed import (
    IGNORED,
    ChannelValue,
    Family,
    NotUnderstood,
    ParsedMessage,
    ParseResult,
)
from services.mqtt_importer.source import MqttSource

BASES = ("emonhub", "emon", "nodes")  # of the node format; of the others as shipped, and by default
MAX_VALUES = 64
MAX_NODES = 1_000
DBM = measured_in("dBm")


class EmonHub:
    """Parses the messages of all nodes of one emonHub."""

    default_model = "emonHub node"

    def __init__(self, bases: tuple[str, ...]) -> None:
        self._bases = bases
        self._names_in_json: dict[str, frozenset[str]] = {}  # by node
        self.command_filters: tuple[str, ...] = ()
        self.filters: tuple[str, ...] = tuple(
            f"{base}/{below}" for base in bases for below in (("rx/+/values",) if base == "emonhub" else ("+/+",))
        )
        if len(bases) == 1:
            self.filters = (f"{bases[0]}/+/+", f"{bases[0]}/rx/+/values")

    def parse(self, topic: str, payload: bytes) -> ParseResult:
        """Return what a message says; see parsed.Family."""
        for base in self._bases:
            match topic.removeprefix(f"{base}/").split("/") if topic.startswith(f"{base}/") else ():
                case ["rx", node, "values"]:
                    return ParsedMessage(node, _positional(payloads.text(payload)))
                case ["JSON", node]:
                    document = payloads.json_object(payload)
                    if node in self._names_in_json or len(self._names_in_json) < MAX_NODES:
                        self._names_in_json[node] = frozenset(islice(document, MAX_VALUES))
                    return _named(node, document)
                case [node, name] if node not in ("rx", "tx"):
                    return self._single(node, name, payloads.text(payload))
        return None

    def _single(self, node: str, name: str, written: str) -> ParseResult:
        if name in self._names_in_json.get(node, ()):  # the same value, without its time
            return IGNORED
        return ParsedMessage(node, (_value(name, payloads.number(written)),))


def _positional(written: str) -> tuple[ChannelValue, ...]:
    values = written.split(",")
    if len(values) > MAX_VALUES:
        raise NotUnderstood("more values than a node has")
    return tuple(
        ChannelValue(str(position), payloads.number(value.strip())) for position, value in enumerate(values, 1)
    )


def _named(node: str, document: dict[str, object]) -> ParsedMessage:
    values, rejected = [], []
    for key, leaf in document.items():
        if key == "time":
            continue
        try:
            value = payloads.value(leaf)
            if isinstance(value, str):
                raise NotUnderstood("not a number")
            values.append(_value(key, value))
        except NotUnderstood as error:
            rejected.append(f"{key[:80]}: {error}")
    return ParsedMessage(node, tuple(values), document.get("time"), rejected=tuple(rejected))


def _value(key: str, value: float | None) -> ChannelValue:
    return ChannelValue(key, value, DBM if key.lower() == "rssi" else None)


def family(source: MqttSource) -> Family:
    """Return the parser of a source's messages."""
    return EmonHub((source.topic,) if source.topic else BASES)

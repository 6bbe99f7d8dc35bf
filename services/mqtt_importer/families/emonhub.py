"""emonHub's three layouts: `emonhub/rx/10/values`, `emon/emontx/power1`, `emon/JSON/emontx`.

As EmonHubMqttInterfacer of emonHub 2.7.19 publishes them (node, nodevar and JSON format):
`100,200.5,-67` with the RSSI last if there is one; one value per topic; and an object with
`time` in seconds since 1970 UTC. `topic` of the source is the base of all that it publishes.
"""

from itertools import islice

from services.mqtt_importer import naming, payloads
from services.mqtt_importer.channels import channel
from services.mqtt_importer.heard import SILENCE, Family, Heard, Member, NotUnderstood, Said
from services.mqtt_importer.options import Source

BASES = ("emonhub", "emon", "nodes")  # of the node format; of the others as shipped, and by default
MOST_VALUES = 64
MOST_NODES = 1_000
DBM = channel("dBm")


class EmonHub:
    """Reads the messages of all nodes of one emonHub."""

    default_model = "emonHub node"

    def __init__(self, bases: tuple[str, ...]) -> None:
        self._bases = bases
        self.command_filters = ()
        self._in_json: dict[str, frozenset[str]] = {}  # names by node
        self.filters = tuple(
            f"{base}/{below}" for base in bases for below in (("rx/+/values",) if base == "emonhub" else ("+/+",))
        )
        if len(bases) == 1:
            self.filters = (f"{bases[0]}/+/+", f"{bases[0]}/rx/+/values")

    def read(self, topic: str, payload: bytes) -> Said:
        """Return what a message says; see heard.Family."""
        for base in self._bases:
            match topic.removeprefix(f"{base}/").split("/") if topic.startswith(f"{base}/") else ():
                case ["rx", node, "values"]:
                    return Heard(node, _positional(payloads.text(payload)))
                case ["JSON", node]:
                    members = payloads.members(payload)
                    if node in self._in_json or len(self._in_json) < MOST_NODES:
                        self._in_json[node] = frozenset(islice(members, MOST_VALUES))
                    return _object(node, members)
                case [node, name] if node not in ("rx", "tx"):
                    return self._single(node, name, payloads.text(payload))
        return None

    def _single(self, node: str, name: str, written: str) -> Said:
        if name in self._in_json.get(node, ()):  # the same value, without its time
            return SILENCE
        return Heard(node, (_member(name, payloads.number(written)),))


def _positional(written: str) -> tuple[Member, ...]:
    values = written.split(",")
    if len(values) > MOST_VALUES:
        raise NotUnderstood("more values than a node has")
    return tuple(Member(str(position), payloads.number(value.strip())) for position, value in enumerate(values, 1))


def _object(node: str, found: dict[str, object]) -> Heard:
    members, refused = [], []
    for key, leaf in found.items():
        if key == "time":
            continue
        try:
            value = payloads.value(leaf)
            if isinstance(value, str):
                raise NotUnderstood("not a number")
            members.append(_member(key, value))
        except NotUnderstood as error:
            refused.append(f"{key[:80]}: {error}")
    return Heard(node, tuple(members), found.get("time"), refused=tuple(refused))


def _member(name: str, value: float | None) -> Member:
    channel_name = naming.channel(name)
    return Member(channel_name, value, DBM if channel_name == "rssi" else None)


def family(source: Source) -> Family:
    """Return what reads the messages of a source."""
    return EmonHub((source.topic,) if source.topic else BASES)

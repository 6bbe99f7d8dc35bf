"""Listen to each broker and print what would be published: python -m services.mqtt_importer.trial [config.toml]."""

from msgspec.structs import replace

from heliograph import trial
from heliograph.status_board import BROKERS_AWAY
from heliograph.trial_outcome import Input
from services.mqtt_importer import families
from services.mqtt_importer.importer import main
from services.mqtt_importer.options import MqttImporter, RemoteBroker
from services.mqtt_importer.source import MqttSource

BROKER = "check host, port, user and password in [mqtt_importer.brokers.{0}]"
OWN_BROKER = "start the node: devices of this source publish to its own broker"
SILENCE = "check that the devices publish {0} there, and listen longer with --seconds: many send once in five minutes"


def hurried(options: MqttImporter) -> MqttImporter:
    """Return the options with other client ids: a broker disconnects the older of two clients with one id."""
    return replace(options, brokers={name: _renamed(broker) for name, broker in options.brokers.items()})


def _renamed(broker: RemoteBroker) -> RemoteBroker:
    return replace(broker, client_id=f"{broker.client_id}-try") if broker.client_id else broker


def hears_own_broker(options: MqttImporter) -> bool:
    """Whether a source reads what devices publish to the node's own broker."""
    return any(not source.broker for source in options.sources)


def inputs(options: MqttImporter, seen: trial.Seen) -> list[Input]:
    """Return how each source does."""
    return [_input(source, seen) for source in options.sources]


def _input(source: MqttSource, seen: trial.Seen) -> Input:
    devices = seen.facts.get("devices", {})
    own = tuple(name for name, fact in devices.items() if fact["source"] == source.label)
    if source.broker:
        problem, where = seen.facts.get(BROKERS_AWAY, {}).get(source.broker, ""), f"broker {source.broker}"
        failure, action = f"{where} {problem}" if problem else "", BROKER.format(source.broker)
    else:
        failure, where, action = seen.bus_problem, "the node's own broker", OWN_BROKER
    if not failure:
        action = SILENCE.format(", ".join(families.load(source.family)(source).filters))
    old = seen.counters.get("retained_messages", 0)
    silence = f"only {old} retained messages, which are old, have come" if old else "nothing has come"
    return Input(f"{source.label} on {where}", own, listens=True, failure=failure, silence=silence, action=action)


if __name__ == "__main__":
    trial.run("mqtt_importer", MqttImporter, main, inputs, hurried=hurried, hears_own_broker=hears_own_broker)

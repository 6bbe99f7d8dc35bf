"""The topic tree: the only module that knows where the slashes go.

heliograph/<node>/devices/<device>/state|info|availability|set
heliograph/<node>/devices/<device>/value/<channel>
heliograph/<node>/services/<service>/status|heartbeat|journal|replay|committed
heliograph/<node>/services/storage/owner
heliograph/<node>/services/<service>/request/<command>
heliograph/<node>/services/<service>/response/<command>
heliograph/announce
"""

import re
from typing import Literal, NamedTuple

ROOT = "heliograph"
ANNOUNCE = f"{ROOT}/announce"  # of no node: everyone who has something to announce answers
DeviceTopic = Literal["state", "info", "availability", "set"]
ServiceTopic = Literal["status", "heartbeat", "journal", "replay", "committed", "request", "response"]

_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}")
_CHANNEL = re.compile(r"[a-z0-9_]{1,64}")
_KINDS = {
    "devices": {"state": 5, "info": 5, "availability": 5, "set": 5, "value": 6},
    "services": {
        "status": 5,
        "heartbeat": 5,
        "journal": 5,
        "replay": 5,
        "committed": 5,
        "owner": 5,
        "request": 6,
        "response": 6,
    },
}


def is_name(text: str) -> bool:
    """Whether a node, device or service may be called this: `[a-z0-9_-]`, at most 63 characters."""
    return _NAME.fullmatch(text) is not None


def is_channel(text: str) -> bool:
    """Whether a channel may be called this: `[a-z0-9_]`, at most 64 characters."""
    return _CHANNEL.fullmatch(text) is not None


def name(text: str, option: str = "") -> str:
    """Return a name of a node, device or service, or raise ValueError, which names the option, if it would change the shape of the tree."""
    if not is_name(text):
        where = f"{option}: " if option else ""
        raise ValueError(f"{where}{text[:80]!r} is not a name; use lower-case letters, digits, _ and -")
    return text


def channel(text: str) -> str:
    """Return a name of a channel, or raise ValueError if it would change the shape of the tree."""
    if not is_channel(text):
        raise ValueError(f"{text[:80]!r} is not the name of a channel; use lower-case letters, digits and _")
    return text


def device(node: str, device: str, kind: DeviceTopic) -> str:
    """Return a topic of one device."""
    return f"{ROOT}/{name(node)}/devices/{name(device)}/{kind}"


def value(node: str, device: str, channel_name: str) -> str:
    """Return the topic of the plain value of one channel."""
    return f"{ROOT}/{name(node)}/devices/{name(device)}/value/{channel(channel_name)}"


def service(node: str, service: str, kind: ServiceTopic) -> str:
    """Return a topic of one service; requests and responses go one level below theirs."""
    return f"{ROOT}/{name(node)}/services/{name(service)}/{kind}"


def owner(node: str) -> str:
    """Return the topic on which storages claim a node, "+" for every node."""
    return f"{ROOT}/{node if node == '+' else name(node)}/services/storage/owner"


def request(node: str, service_name: str, command: str) -> str:
    """Return the topic on which a service receives a command."""
    return f"{service(node, service_name, 'request')}/{name(command)}"


def response(node: str, service_name: str, command: str) -> str:
    """Return the topic on which a service receives the responses to its commands."""
    return f"{service(node, service_name, 'response')}/{name(command)}"


def every_device(kind: DeviceTopic, node: str = "+") -> str:
    """Return the filter for one kind of message from every device, of every node or of one."""
    return f"{ROOT}/{node if node == '+' else name(node)}/devices/+/{kind}"


def every_service(kind: ServiceTopic, node: str = "+") -> str:
    """Return the filter for one kind of message from every service, of every node or of one."""
    return f"{ROOT}/{node if node == '+' else name(node)}/services/+/{kind}"


def every_value(node: str = "+") -> str:
    """Return the filter for the plain value of every channel, of every node or of one."""
    return f"{ROOT}/{node if node == '+' else name(node)}/devices/+/value/+"


class Parsed(NamedTuple):
    """The parts of a topic: `owner` is the device or the service, `command` that of a request or response, or the channel of a value."""

    node: str
    owner: str
    kind: str
    command: str = ""


def parse(topic: str) -> Parsed:
    """Return the parts of a topic; raise ValueError if it is not a topic of the tree."""
    parts = topic.split("/")
    if len(parts) in (5, 6) and parts[0] == ROOT:
        _, node, family, owner, kind, *command = parts
        is_last = is_channel if kind == "value" else is_name
        if (
            _KINDS.get(family, {}).get(kind) == len(parts)
            and is_name(node)
            and is_name(owner)
            and all(map(is_last, command))
        ):
            return Parsed(node, owner, kind, *command)
    raise ValueError(f"{topic[:120]!r} is not a topic of the tree")

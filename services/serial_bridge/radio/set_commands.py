"""Commands from the `set` topics of radio nodes: packed, queued for a board, and answered."""

import time
from collections.abc import Mapping

from heliograph import commands
from heliograph.bus import Message
from heliograph.messages import encode
from heliograph.service import Service
from services.serial_bridge.radio.command_queue import CommandQueue
from services.serial_bridge.radio.encoder import NotSent
from services.serial_bridge.radio.nodes import PacketDecoder

WHOLE = "packet"  # what is refused if it is not known which value is wrong


def carry_out(service: Service, message: Message, node: PacketDecoder, command_queue: CommandQueue | None) -> None:
    """Queue the values of a `set` message for the node, and respond with those that are queued: radios do not confirm.

    Fast enough for the network thread.
    """
    encoder = node.encoder
    values: Mapping[str, float] = {}
    refused: dict[str, str] = {}
    try:
        if command_queue is None or encoder is None:
            raise NotSent("there is no radio to send it with")
        values = encoder.values(message.payload)
        command_queue.send(node.number, encoder.packet(list(values.values())))
    except NotSent as error:
        refused, values = {WHOLE: str(error)}, {}
        service.set_aside(str(error), message.payload, node.device)
    service.count("packets_refused" if refused else "packets_sent")
    outcome = commands.SetResult(round(time.time(), 3), dict(values), refused)
    commands.respond(service.bus, message.response_topic, message.correlation, encode(outcome))

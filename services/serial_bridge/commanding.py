"""Commands that come on the `set` topics of radio nodes: packed, handed to a radio, and answered."""

import time
from collections.abc import Mapping

from heliograph import commands
from heliograph.bus import Message
from heliograph.messages import encode
from heliograph.service import Service
from services.serial_bridge.nodes import Layout
from services.serial_bridge.talker import Talker
from services.serial_bridge.transmitting import NotSent

WHOLE = "packet"  # what is refused if nobody can say which value is wrong


def carry_out(service: Service, message: Message, layout: Layout, talker: Talker | None) -> None:
    """Send what a `set` message says to its node, and answer what was handed to the radio, which gives no receipt.

    Quick enough for the network thread.
    """
    encoder = layout.encoder
    values: Mapping[str, float] = {}
    refused: dict[str, str] = {}
    try:
        if talker is None or encoder is None:
            raise NotSent("there is no radio to send it with")
        values = encoder.wanted(message.payload)
        talker.send(layout.number, encoder.packed(list(values.values())))
    except NotSent as error:
        refused, values = {WHOLE: str(error)}, {}
        service.set_aside(str(error), message.payload, layout.device)
    service.count("packets_refused" if refused else "packets_sent")
    outcome = commands.Outcome(round(time.time(), 3), dict(values), refused)
    commands.respond(service.bus, message.response_topic, message.correlation, encode(outcome))

"""Tries the broker as a service would, without taking the place of one that runs."""

import os
import queue
from contextlib import suppress

from heliograph.config import Broker
from heliograph.mqtt_client import connect_properties, new_client

SECONDS = 3.0


def refusal(broker: Broker, service: str) -> tuple[str, str]:
    """Connect with the password of a service; return the code of the problem and a sentence, two empty texts if there is none.

    The codes are those of /api/v1/health. It takes at most some SECONDS, also with a broker that hangs.
    """
    answers: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
    where = f"the broker at {broker.host}:{broker.port}"
    try:
        # An id of its own for each: the broker ends a connection when another one comes with its id, and all are tried at once.
        identifier = f"doctor-{service}-{os.getpid()}"
        client = new_client(broker, service=service, identifier=identifier, will=None, manual_ack=False)
        client.connect_timeout = SECONDS
        client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.put(
            (reason.is_failure, str(reason))
        )
        client.connect(broker.host, broker.port, properties=connect_properties(persistent=False))
    except TimeoutError:
        return "broker_hung", f"{where} does not answer within {SECONDS:.0f} s"
    except (OSError, ValueError) as error:
        return "broker_away", f"{where} is away: {error}"
    client.loop_start()
    try:
        is_refused, reason = answers.get(timeout=SECONDS)
    except queue.Empty:
        return "broker_hung", f"{where} does not answer within {SECONDS:.0f} s"
    finally:
        with suppress(OSError):
            client.disconnect()
        client.loop_stop()
    return ("service_refused", f"the broker refuses {service}: {reason}") if is_refused else ("", "")

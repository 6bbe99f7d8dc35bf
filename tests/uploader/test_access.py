"""Who reads requests to the uploader, by the rules of mosquitto/acl."""

from collections.abc import Callable

from heliograph.bus import Bus, Message
from heliograph.config import Broker
from tests.conftest import GuardedBroker

REQUEST = "heliograph/roof/services/uploader/request/put"
RESPONSES = ("heliograph/roof/services/api/response/put", "heliograph/roof/services/uploader/response/put")
STATUS = "heliograph/roof/services/uploader/status"


def test_a_secret_on_its_way_to_the_uploader_is_read_by_the_uploader_alone(
    guarded_broker: GuardedBroker, eventually: Callable[[Callable[[], object]], object]
) -> None:
    received: dict[str, list[str]] = {}

    def connected(user: str) -> Bus:
        bus = Bus(Broker(port=guarded_broker.port, password=guarded_broker.password(user)), "visitor", user)
        topics = received.setdefault(user, [])

        def note(message: Message) -> None:
            topics.append(message.topic)

        bus.subscribe("heliograph/#", note)
        return bus

    with (
        connected("viewer") as viewer,
        connected("api") as api,
        connected("uploader") as uploader,
        connected("storage"),
    ):
        for bus in (viewer, api, uploader):
            assert bus.wait_connected(30)

        def is_received() -> bool:
            """Publish all, again until the subscriptions are there; the status comes after what is denied."""
            api.publish(REQUEST, b'{"options": {"headers": {"X-Token": "t0p-secret"}}}', qos=1)
            for topic in (*RESPONSES, STATUS):
                uploader.publish(topic, b"{}", qos=1)
            shown = all(STATUS in received[user] for user in ("viewer", "api"))
            return shown and {REQUEST, RESPONSES[1]} <= set(received["uploader"])

        eventually(is_received)
    assert set(received["viewer"]) == {STATUS}
    assert set(received["api"]) == {RESPONSES[0], STATUS}
    assert received["storage"] == []

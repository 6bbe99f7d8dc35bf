import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from services.api.middleware import HostCheck


def status(host: str, *hosts: str, kind: str = "http") -> int | str:
    """The status, or the type of the first message to a WebSocket."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> Message:
        raise NotImplementedError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": kind, "headers": [(b"host", host.encode())]}
    asyncio.run(HostCheck(app, hosts)(scope, receive, send))
    first: int | str = sent[0].get("status", sent[0]["type"])
    return first


@pytest.mark.parametrize("host", ["roof.local", "ROOF.local:8000", "localhost:8000", "192.168.1.7", "[fd00::7]:8000"])
def test_names_of_this_node_and_addresses_are_taken(host: str) -> None:
    assert status(host, "roof.local") == 200


@pytest.mark.parametrize("host", ["evil.example", "roof.local.evil.example:8000", "", "[", "192.168.1.7.evil.example"])
def test_a_name_that_another_site_has_looked_up_as_this_node_is_refused(host: str) -> None:
    assert status(host, "roof.local") == 421
    assert status(host, "roof.local", kind="websocket") == "websocket.close"
    assert status(host) == 200

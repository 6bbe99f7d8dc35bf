"""The uploader's commands over the bus, and what their results mean over HTTP; docs/uploads.md describes both.

No body is logged or shown: options hold secrets, which the uploader keeps and never returns.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request

from heliograph import tolerant_json, topics
from heliograph.commands import NoAnswer
from heliograph.errors import MessageError
from heliograph.messages import decode
from services.api.errors import Busy, RequestRefused
from services.api.ingest.gate import Gate
from services.api.live import LiveState
from services.api.uploads.schemas import (
    Affected,
    DeadLetterChange,
    UploadDeadLetter,
    UploadDeadLetters,
    Uploads,
    UploadTarget,
    UploadTestResult,
)

T = TypeVar("T", bound=Struct)
Ask = Callable[[str, str, str, bytes, float], bytes]  # node, service, command, payload, seconds; raises NoAnswer

SERVICE = "uploader"
MOST_BYTES = 65_536  # of a body; the broker disconnects a client that sends it a megabyte
ANSWER_SECONDS = 10.0
TIMEOUT_SECONDS = 30.0  # of a target that has none among its options
TEST_SECONDS = 10.0  # beyond the target's timeout, which may pass twice: a request may be under way
MOST_COMMANDS = {"test": 4, "": 16}  # at once; a test may take as long as its target does
RETRY_SECONDS = 5.0
_STATUS = {"invalid": 422, "missing": 404, "configured": 409}


class _Changed(Struct):
    dead_letter: UploadDeadLetter


class _Outcome(Struct):
    ok: bool
    code: str = ""
    error: str = ""


class UploaderClient:
    """A client of the uploaders of all nodes, for the event loop. Every method raises RequestRefused."""

    def __init__(self, ask: Ask, gate: Gate, live: LiveState, node: str, managers: Collection[str]) -> None:
        """`managers` are the names of the keys that may change uploads."""
        self._ask = ask
        self._gate = gate
        self._managers = managers
        self._live = live
        self._node = node
        self._under_way: Counter[str] = Counter()

    async def body(self, request: Request) -> bytes:
        """Admit a request that changes something, and return its body."""
        try:
            self._gate.enter("uploads", request)
            owner, body = await self._gate.admitted_body(request)
            if owner not in self._managers:
                raise RequestRefused(
                    f"the key {owner!r} may only send readings; managers in [api] lists the keys that may manage uploads",
                    403,
                )
            if len(body) > MOST_BYTES:
                raise RequestRefused(f"the body is longer than {MOST_BYTES} bytes", 413)
        except RequestRefused as error:
            self._gate.refused("uploads", error, None)
            raise
        return body

    async def all(self, node: str | None) -> Uploads:
        """Return all targets of a node."""
        return await self._command(Uploads, node, "list")

    async def one(self, node: str | None, name: str) -> UploadTarget:
        """Return one target."""
        targets = (await self._command(Uploads, node, "list", name=name)).targets
        if len(targets) != 1:
            raise RequestRefused(f"there is no target {name[:80]!r}", 404)
        return targets[0]

    async def put(self, node: str | None, name: str, options: dict[str, Any]) -> UploadTarget:
        """Add or replace a target."""
        if options.get("name", name) != name:
            raise RequestRefused("name: it differs from the one in the address; leave it out of the body")
        await self._command(_Outcome, node, "put", name=name, options=options)
        return await self.one(node, name)

    async def act(self, node: str | None, name: str, command: str) -> UploadTarget:
        """Pause or resume a target: `command` is pause or resume."""
        await self._command(_Outcome, node, command, name=name)
        return await self.one(node, name)

    async def delete(self, node: str | None, name: str) -> None:
        """Delete a target and its dead letters."""
        await self._command(_Outcome, node, "delete", name=name)

    async def test(self, node: str | None, name: str) -> UploadTestResult:
        """Send one reading now, and return the result; waits as long as the target may take."""
        timeout = (await self.one(node, name)).options.get("timeout")
        seconds = timeout if isinstance(timeout, int | float) and 0 < timeout <= 3600 else TIMEOUT_SECONDS
        return await self._command(UploadTestResult, node, "test", 2 * seconds + TEST_SECONDS, name=name)

    async def dead_letters(self, node: str | None, name: str, after: int, limit: int) -> UploadDeadLetters:
        """Return a page of dead letters."""
        return await self._command(UploadDeadLetters, node, "dead-letters", name=name, after=after, limit=limit)

    async def edit(self, node: str | None, name: str, number: int, change: DeadLetterChange) -> UploadDeadLetter:
        """Change a dead letter, and return it."""
        payload = {"name": name, "id": number, **msgspec.to_builtins(change)}
        return (await self._command(_Changed, node, "dead-letters-edit", **payload)).dead_letter

    async def act_on_dead_letters(self, node: str | None, name: str, command: str, ids: list[int] | None) -> Affected:
        """Retry or drop dead letters, as `command` says; None: all of them."""
        return await self._command(Affected, node, f"dead-letters-{command}", name=name, ids=ids)

    async def _command(
        self, kind: type[T], node: str | None, command: str, seconds: float = ANSWER_SECONDS, **payload: object
    ) -> T:
        node = self._reachable(node)
        kind_of_command = command if command in MOST_COMMANDS else ""
        if self._under_way[kind_of_command] >= MOST_COMMANDS[kind_of_command]:
            raise Busy("too many commands to the uploader are under way; try again later", 503, RETRY_SECONDS)
        self._under_way[kind_of_command] += 1

        def done() -> None:
            self._under_way[kind_of_command] -= 1

        try:
            answer = await _in_thread(
                partial(self._ask, node, SERVICE, command, msgspec.json.encode(payload), seconds), done
            )
        except NoAnswer as error:
            raise RequestRefused(f"{error}; check whether it is running, then try again", 504) from None
        except asyncio.CancelledError:  # uvicorn does not wait any longer
            raise Busy("the api is stopping; the result of the command is unknown", 503, RETRY_SECONDS) from None
        return _read(kind, node, command, answer)

    def _reachable(self, node: str | None) -> str:
        """Return the node, by default this one; raise RequestRefused if it is unknown, or its uploader is offline."""
        requested = node or self._node
        owners = {owner for owner, _ in (*self._live.devices, *self._live.services)}
        if requested != self._node and (requested not in owners or not topics.is_name(requested)):
            raise RequestRefused(f"node: there is no {requested[:63]!r}; /api/v1/nodes lists them", 404)
        status = self._live.services.get((requested, SERVICE))
        if status is None or status.state == "offline":
            raise Busy(f"no uploader is running on {requested}: start it, then try again", 503, RETRY_SECONDS)
        return requested


def _read(kind: type[T], node: str, command: str, answer: bytes) -> T:
    """Decode a response; raise RequestRefused if it reports an error, or is malformed."""
    try:
        outcome = decode(_Outcome, answer)
        if outcome.ok or (kind is UploadTestResult and not outcome.code):
            return decode(kind, answer)
    except MessageError:
        raise RequestRefused(
            f"the uploader of {node} answered {command} in a way this version does not understand: are versions mixed?",
            502,
        ) from None
    if outcome.code == "away":
        raise Busy(outcome.error, 503, RETRY_SECONDS)
    raise RequestRefused(outcome.error, _STATUS.get(outcome.code, 502))


async def _in_thread(ask: Callable[[], bytes], done: Callable[[], None]) -> bytes:
    """Return the response; call `done` when it has arrived, also if the caller was cancelled.

    A thread of its own, because asyncio's pool of threads would delay everything else, and the end of the process.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()

    def deliver(answer: bytes | NoAnswer) -> None:
        done()
        if answered.done():
            return
        if isinstance(answer, NoAnswer):
            answered.set_exception(answer)
        else:
            answered.set_result(answer)

    def work() -> None:
        answer: bytes | NoAnswer
        try:
            answer = ask()
        except NoAnswer as error:
            answer = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(deliver, answer)

    threading.Thread(target=work, name="ask uploader", daemon=True).start()
    return await answered


def parsed(kind: type[T], body: bytes) -> T:
    """Decode a body, the defaults if it is empty; raise RequestRefused."""
    try:
        message = decode(kind, body or b"{}")
        tolerant_json.refuse_repeated_keys(body or b"{}")
    except MessageError as error:
        raise RequestRefused(f"the body is {error}") from None
    except ValueError as error:
        raise RequestRefused(f"the body: {error}") from None
    return message


def options(body: bytes) -> dict[str, Any]:
    """Decode the options of a target; raise RequestRefused."""
    try:
        tolerant_json.refuse_repeated_keys(body)
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RequestRefused(f"the body is not an object with options in JSON: {error}") from None

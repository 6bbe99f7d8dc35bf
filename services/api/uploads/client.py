"""What the uploader is asked over the bus, and what its answers mean over HTTP; docs/uploads.md has both sides.

Nothing that comes in is logged or shown: options hold secrets, which the uploader keeps and never tells.
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

from heliograph import topics
from heliograph.commands import NoAnswer
from heliograph.errors import MessageError
from heliograph.messages import decode
from services.api.errors import Busy, Refused
from services.api.ingest.gate import Gate
from services.api.live import Live
from services.api.uploads.schemas import (
    Affected,
    DeadLetter,
    DeadLetterChange,
    DeadLetters,
    TestResult,
    Uploads,
    UploadTarget,
)

T = TypeVar("T", bound=Struct)
Ask = Callable[[str, str, str, bytes, float], bytes]  # node, service, command, payload, seconds; raises NoAnswer

SERVICE = "uploader"
MOST_BYTES = 65_536  # of a body; the broker drops who sends it a megabyte
ANSWER_SECONDS = 10.0
TIMEOUT_SECONDS = 30.0  # of a target that says nothing of its own
TRIAL_SECONDS = 10.0  # beyond the target's timeout, which may pass twice: a request may be under way
MOST_COMMANDS = {"test": 4, "": 16}  # at once; a test may take as long as its target does
RETRY_SECONDS = 5.0
_STATUS = {"invalid": 422, "missing": 404, "configured": 409}


class _Changed(Struct):
    dead_letter: DeadLetter


class _Outcome(Struct):
    ok: bool
    code: str = ""
    error: str = ""


class UploaderClient:
    """The uploaders of all nodes, as far as they answer; for the event loop. Everything raises Refused."""

    def __init__(self, ask: Ask, gate: Gate, live: Live, node: str, managers: Collection[str]) -> None:
        """`managers` are the names of the keys that may change something."""
        self._ask = ask
        self._gate = gate
        self._managers = managers
        self._live = live
        self._node = node
        self._under_way: Counter[str] = Counter()

    async def body(self, request: Request) -> bytes:
        """Let a request in that changes something, and return its body."""
        try:
            self._gate.enter("uploads", request)
            body = await self._gate.body(request)
            owner = await self._gate.admit(request)
            if owner not in self._managers:
                raise Refused(
                    f"the key {owner!r} may send readings, and no more; managers in [api] names those who may manage uploads",
                    403,
                )
            if len(body) > MOST_BYTES:
                raise Refused(f"the body is longer than {MOST_BYTES} bytes", 413)
        except Refused as error:
            self._gate.refused("uploads", error, None)
            raise
        return body

    async def all(self, node: str | None) -> Uploads:
        """Return all targets of a node."""
        return await self._command(Uploads, node, "list")

    async def one(self, node: str | None, name: str) -> UploadTarget:
        """Return one target."""
        found = await self._command(Uploads, node, "list", name=name)
        if len(found.targets) != 1:
            raise Refused(f"there is no target {name[:80]!r}", 404)
        return found.targets[0]

    async def put(self, node: str | None, name: str, options: dict[str, Any]) -> UploadTarget:
        """Add or replace a target."""
        if options.get("name", name) != name:
            raise Refused("name: it is another one in the address; leave it out of the body")
        await self._command(_Outcome, node, "put", name=name, options=options)
        return await self.one(node, name)

    async def act(self, node: str | None, name: str, command: str) -> UploadTarget:
        """Pause or resume a target."""
        await self._command(_Outcome, node, command, name=name)
        return await self.one(node, name)

    async def delete(self, node: str | None, name: str) -> None:
        """Forget a target and its dead letters."""
        await self._command(_Outcome, node, "delete", name=name)

    async def test(self, node: str | None, name: str) -> TestResult:
        """Have one reading sent now; waits as long as the target may take."""
        timeout = (await self.one(node, name)).options.get("timeout")
        seconds = timeout if isinstance(timeout, int | float) and 0 < timeout <= 3600 else TIMEOUT_SECONDS
        return await self._command(TestResult, node, "test", 2 * seconds + TRIAL_SECONDS, name=name)

    async def letters(self, node: str | None, name: str, after: int, limit: int) -> DeadLetters:
        """Return a page of dead letters."""
        return await self._command(DeadLetters, node, "dead-letters", name=name, after=after, limit=limit)

    async def edit(self, node: str | None, name: str, number: int, change: DeadLetterChange) -> DeadLetter:
        """Change a dead letter, and return it."""
        told = msgspec.to_builtins(change)
        return (await self._command(_Changed, node, "dead-letters-edit", name=name, id=number, **told)).dead_letter

    async def choose(self, node: str | None, name: str, command: str, ids: list[int] | None) -> Affected:
        """Send dead letters again, or drop them; None: all."""
        return await self._command(Affected, node, f"dead-letters-{command}", name=name, ids=ids)

    async def _command(
        self, kind: type[T], node: str | None, command: str, seconds: float = ANSWER_SECONDS, **payload: object
    ) -> T:
        node = self._known(node)
        lane = command if command in MOST_COMMANDS else ""
        if self._under_way[lane] >= MOST_COMMANDS[lane]:
            raise Busy("the uploader is being asked too much at once; try again later", 503, RETRY_SECONDS)
        self._under_way[lane] += 1

        def over() -> None:
            self._under_way[lane] -= 1

        try:
            answer = await _in_thread(
                partial(self._ask, node, SERVICE, command, msgspec.json.encode(payload), seconds), over
            )
        except NoAnswer as error:
            raise Refused(f"{error}; look whether it is running, then ask again", 504) from None
        except asyncio.CancelledError:  # uvicorn waits no longer
            raise Busy("the api stops; it is not known whether this was done", 503, RETRY_SECONDS) from None
        return _read(kind, node, command, answer)

    def _known(self, node: str | None) -> str:
        """Return the node that is meant; raise Refused if it is none, or its uploader is not there."""
        wanted = node or self._node
        owners = {owner for owner, _ in (*self._live.devices, *self._live.services)}
        if wanted != self._node and (wanted not in owners or not topics.is_name(wanted)):
            raise Refused(f"node: there is no {wanted[:63]!r}; /api/v1/nodes lists them", 404)
        status = self._live.services.get((wanted, SERVICE))
        if status is None or status.state == "offline":
            raise Busy(f"no uploader is running on {wanted}: start it, and ask again", 503, RETRY_SECONDS)
        return wanted


def _read(kind: type[T], node: str, command: str, answer: bytes) -> T:
    """Return what an answer holds; raise Refused for one that says no, and for none that can be understood."""
    try:
        outcome = decode(_Outcome, answer)
        if outcome.ok or (kind is TestResult and not outcome.code):
            return decode(kind, answer)
    except MessageError:
        raise Refused(
            f"what the uploader of {node} answers to {command} cannot be understood: are versions mixed?", 502
        ) from None
    if outcome.code == "away":
        raise Busy(outcome.error, 503, RETRY_SECONDS)
    raise Refused(outcome.error, _STATUS.get(outcome.code, 502))


async def _in_thread(ask: Callable[[], bytes], over: Callable[[], None]) -> bytes:
    """Return what is answered; `over` is called when that is known, also if nobody waits for it any more.

    A thread of its own, because the pool of asyncio would hold up everything else, and the end of the process.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()

    def tell(answer: bytes | NoAnswer) -> None:
        over()
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
            loop.call_soon_threadsafe(tell, answer)

    threading.Thread(target=work, name="ask uploader", daemon=True).start()
    return await answered


def parsed(kind: type[T], body: bytes) -> T:
    """Return what a body holds, the defaults if it is empty; raise Refused."""
    try:
        return decode(kind, body or b"{}")
    except MessageError as error:
        raise Refused(f"the body is {error}") from None


def options(body: bytes) -> dict[str, Any]:
    """Return the options that a body holds; raise Refused."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(f"the body is not an object with options in JSON: {error}") from None

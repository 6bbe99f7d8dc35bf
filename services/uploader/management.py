"""Commands about targets, over MQTT request and response; docs/uploads.md has their payloads.

The network thread only passes requests on; they are carried out, and answered, on a thread of
their own. No answer holds a secret.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct, field

from heliograph import commands, topics
from heliograph.bus import Message
from heliograph.errors import MessageError
from heliograph.messages import Count, Value, decode
from heliograph.redaction import REDACTED, redactor
from heliograph.service import Service
from heliograph.store.readings import LATEST
from services.uploader import targets
from services.uploader.engine import dead_letters
from services.uploader.engine.state import State, StateAway
from services.uploader.engine.status import TestResult
from services.uploader.engine.worker import Worker
from services.uploader.options import TargetOptions, secret_names, shown

MOST_SHOWN = 1_000
PAGE_BYTES = 500_000  # the broker takes a message of 1 MiB


class Request(Struct, forbid_unknown_fields=True):
    """The payload of all commands; which of it counts depends on the command."""

    name: str = ""
    options: dict[str, Any] | None = None
    after: Count = 0
    limit: Annotated[int, Meta(ge=1, le=MOST_SHOWN)] = 100
    id: Count = 0
    ids: list[Count] | None = None
    values: dict[str, Value | None] = field(default_factory=dict)
    time: Annotated[float, Meta(ge=0, le=LATEST)] | None = None


class Refusal(Exception):
    """A command that is not carried out: `code` is missing, configured, or invalid."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


class Targets(Protocol):
    """What is managed; see uploader.Workers."""

    state: State

    def get(self, name: str) -> Worker | None:
        """Return the lane of a target."""
        ...

    def names(self) -> list[str]:
        """Return the names of all targets."""
        ...

    def is_configured(self, name: str) -> bool:
        """Whether a target is one of the configuration."""
        ...

    def put(self, options: TargetOptions, told: dict[str, Any]) -> None:
        """Add or change a target."""
        ...

    def delete(self, name: str) -> None:
        """Forget a target."""
        ...


class Management:
    """Answers requests while it is entered."""

    def __init__(self, service: Service, targets: Targets) -> None:
        self._service = service
        self._targets = targets
        self._requests: SimpleQueue[tuple[str, Message] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="management", daemon=True)
        self._commands: dict[str, Callable[[Request], dict[str, Any]]] = {
            "list": self._list,
            "put": self._put,
            "delete": self._delete,
            "pause": partial(self._pause, paused=True),
            "resume": partial(self._pause, paused=False),
            "dead-letters": self._letters,
            "dead-letters-edit": self._edit,
            "dead-letters-retry": self._retry,
            "dead-letters-drop": self._drop,
        }

    def __enter__(self) -> "Management":
        """Take requests from now on."""
        self._thread.start()
        for command in (*self._commands, "test"):
            topic = topics.request(self._service.node, self._service.name, command)
            self._service.bus.subscribe(topic, partial(self._received, command))
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the request that is being carried out."""
        self._requests.put(None)
        self._thread.join()

    def answer(self, command: str, payload: bytes) -> dict[str, Any]:
        """Carry out any command but `test`, and return the answer."""
        try:
            return {"ok": True, **self._commands[command](decode(Request, payload or b"{}"))}
        except (MessageError, Refusal, StateAway) as error:
            return _refused(error)

    def test(self, payload: bytes, answered: Callable[[dict[str, Any]], object]) -> None:
        """Have a target send one reading, and call back with the answer, from another thread."""
        try:
            lane = self._lane(decode(Request, payload or b"{}"))
        except (MessageError, Refusal) as error:
            answered(_refused(error))
        else:
            lane.trial().add_done_callback(partial(_tell, answered))

    def _received(self, command: str, message: Message) -> None:
        if not message.retained:  # the broker kept it: it is an old one
            self._requests.put((command, message))

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            command, message = request
            if command == "test":
                self.test(message.payload, partial(self._respond, message))
            else:
                self._respond(message, self.answer(command, message.payload))

    def _respond(self, message: Message, answer: dict[str, Any]) -> None:
        commands.respond(self._service.bus, message.response_topic, message.correlation, msgspec.json.encode(answer))

    def _list(self, request: Request) -> dict[str, Any]:
        names = [self._lane(request).course.options.name] if request.name else self._targets.names()
        lanes = [(name, lane) for name in names if (lane := self._targets.get(name))]
        return {
            "kinds": list(targets.known()),
            "targets": [
                {
                    **lane.facts(),
                    "configured": self._targets.is_configured(name),
                    "options": shown(lane.course.options),
                }
                for name, lane in lanes
            ],
        }

    def _put(self, request: Request) -> dict[str, Any]:
        told = dict(request.options or {})
        name = request.name or told.get("name")
        if not isinstance(name, str):
            raise Refusal("invalid", "name: missing")
        told["name"] = name
        self._changeable(name)
        kept = self._kept(name, told.get("kind"))
        told = {**kept, **_uncovered(told, kept)}
        hide = redactor(_texts(told.get(key) for key in _secret_names(told.get("kind"))))
        try:
            options = targets.parse_options(told)
        except ValueError as error:
            raise Refusal("invalid", hide(str(error))) from None
        if told.get("folder"):
            raise Refusal("invalid", "folder: only targets in config.toml can set it")
        self._targets.put(options, told)
        return {}

    def _delete(self, request: Request) -> dict[str, Any]:
        self._lane(request)
        self._changeable(request.name)
        self._targets.delete(request.name)
        return {}

    def _pause(self, request: Request, *, paused: bool) -> dict[str, Any]:
        lane = self._lane(request)
        self._targets.state.pause(request.name, paused=paused)
        lane.pause(paused=paused)
        return {}

    def _letters(self, request: Request) -> dict[str, Any]:
        self._lane(request)
        found = self._targets.state.dead_letters(request.name, after=request.after, limit=request.limit)
        shown_letters = page(map(dead_letters.told, found))
        more = len(shown_letters) < len(found) or len(found) == request.limit
        return {
            "count": self._targets.state.count(request.name),
            "dead_letters": shown_letters,
            "next": shown_letters[-1]["id"] if more else None,
        }

    def _edit(self, request: Request) -> dict[str, Any]:
        self._lane(request)
        letter = self._targets.state.dead_letter(request.name, request.id)
        if letter is None:
            raise Refusal("missing", f"{request.name} has no dead letter {request.id}")
        try:
            changed = letter._replace(row=dead_letters.edited(letter.row, request.values, request.time))
        except ValueError as error:
            raise Refusal("invalid", str(error)) from None
        self._targets.state.edit(request.name, changed)
        return {"dead_letter": dead_letters.told(changed)}

    def _retry(self, request: Request) -> dict[str, Any]:
        lane = self._lane(request)
        count = self._targets.state.retry(request.name, request.ids)
        lane.resend()
        return {"count": count}

    def _drop(self, request: Request) -> dict[str, Any]:
        self._lane(request)
        return {"count": self._targets.state.drop(request.name, request.ids)}

    def _lane(self, request: Request) -> Worker:
        lane = self._targets.get(request.name)
        if lane is None:
            known = ", ".join(self._targets.names()) or "none"
            raise Refusal("missing", f"there is no target {request.name[:80]!r}; there are {known}")
        return lane

    def _changeable(self, name: str) -> None:
        if self._targets.is_configured(name):
            raise Refusal("configured", f"{name} is defined in config.toml: change it there")

    def _kept(self, name: str, kind: object) -> dict[str, Any]:
        """Return the secrets that a target of the same kind has: they are not told, so they cannot be told again."""
        for entry in self._targets.state.entries():
            if entry.name == name and entry.options is not None and entry.options.get("kind") == kind:
                return {key: entry.options[key] for key in _secret_names(kind) if key in entry.options}
        return {}


def page(told: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first letters, one at least, as many as fit into an answer."""
    found: list[dict[str, Any]] = []
    room = PAGE_BYTES
    for letter in told:
        room -= len(msgspec.json.encode(letter))
        if found and room < 0:
            break
        found.append(letter)
    return found


def _secret_names(kind: object) -> set[str]:
    return secret_names(targets.load(kind)) if isinstance(kind, str) and kind in targets.known() else set()


def _texts(values: Iterable[object]) -> set[str]:
    found: set[str] = set()
    for value in values:
        found |= _texts(value.values()) if isinstance(value, dict) else {value} if isinstance(value, str) else set()
    return found


def _refused(error: MessageError | Refusal | StateAway) -> dict[str, Any]:
    code = error.code if isinstance(error, Refusal) else "away" if isinstance(error, StateAway) else "invalid"
    return {"ok": False, "code": code, "error": str(error)}


def _tell(answered: Callable[[dict[str, Any]], object], trial: Future[TestResult]) -> None:
    answered(trial.result()._asdict())


def _uncovered(told: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """Return options with each secret that was only shown as hidden as it was before, in tables, too."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        before = kept.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            found[name] = _uncovered(value, before)
        elif value != REDACTED or name in kept:
            found[name] = before if value == REDACTED else value
    return found

"""Commands about targets, as MQTT requests; docs/uploads.md has their payloads.

The network thread only passes requests on; they are carried out, and answered, on a thread of
their own. No answer holds a secret.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from heliograph import commands, topics
from heliograph.bus import Message
from heliograph.errors import MessageError
from heliograph.messages import Count, Value, decode
from heliograph.service import Service
from heliograph.store.readings import LATEST
from services.uploader import targets
from services.uploader.engine import dead_letters
from services.uploader.engine.state import StateAway
from services.uploader.engine.status import TestResult
from services.uploader.engine.worker import Worker
from services.uploader.redacted_options import completed, redactor_for
from services.uploader.workers import Workers

MOST_SHOWN = 1_000
PAGE_BYTES = 500_000  # the broker takes a message of 1 MiB


class CommandPayload(Struct, forbid_unknown_fields=True):
    """The payload of all commands; which members count depends on the command."""

    name: str = ""
    options: dict[str, Any] | None = None
    after: Count = 0
    limit: Annotated[int, Meta(ge=1, le=MOST_SHOWN)] = 100
    id: Count = 0
    ids: list[Count] | None = None
    values: dict[str, Value | None] = field(default_factory=dict)
    time: Annotated[float, Meta(ge=0, le=LATEST)] | None = None


class CommandRefused(Exception):
    """A command that is not carried out: `code` is missing, configured, or invalid."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Management:
    """Answers requests while it is entered."""

    def __init__(self, service: Service, workers: Workers) -> None:
        self._service = service
        self._workers = workers
        self._file = workers.file
        self._requests: SimpleQueue[tuple[str, Message] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="management", daemon=True)
        self._commands: dict[str, Callable[[CommandPayload], dict[str, Any]]] = {
            "list": self._list,
            "put": self._put,
            "delete": self._delete,
            "pause": partial(self._pause, paused=True),
            "resume": partial(self._pause, paused=False),
            "dead-letters": self._list_dead_letters,
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
            return {"ok": True, **self._commands[command](decode(CommandPayload, payload or b"{}"))}
        except (MessageError, CommandRefused, StateAway) as error:
            return _refused(error)

    def test(self, payload: bytes, answered: Callable[[dict[str, Any]], object]) -> None:
        """Have a target send one reading, and call back with the answer, from another thread."""
        try:
            worker = self._worker(decode(CommandPayload, payload or b"{}"))
        except (MessageError, CommandRefused) as error:
            answered(_refused(error))
        else:
            worker.test().add_done_callback(partial(_report, answered))

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

    def _list(self, payload: CommandPayload) -> dict[str, Any]:
        names = [payload.name] if payload.name else self._workers.names()
        if payload.name:
            self._check_known(payload.name)
        described = [(name, self._workers.described(name)) for name in names]
        return {
            "kinds": targets.known(),
            "targets": [
                {**facts, "configured": self._workers.is_configured(name)} for name, facts in described if facts
            ],
        }

    def _put(self, payload: CommandPayload) -> dict[str, Any]:
        values = dict(payload.options or {})
        name = payload.name or values.get("name")
        if not isinstance(name, str):
            raise CommandRefused("invalid", "name: missing")
        values["name"] = name
        self._check_changeable(name)
        stored = next((target.options for target in self._file.targets() if target.name == name), None)
        try:
            values = completed(values, stored or {})
            options = targets.parse_options(values)
        except ValueError as error:
            raise CommandRefused("invalid", redactor_for(values)(str(error))) from None
        if values.get("folder"):
            raise CommandRefused("invalid", "folder: only targets in config.toml can set it")
        self._workers.put(options, values)
        return {}

    def _delete(self, payload: CommandPayload) -> dict[str, Any]:
        self._check_known(payload.name)
        self._check_changeable(payload.name)
        self._workers.delete(payload.name)
        return {}

    def _pause(self, payload: CommandPayload, *, paused: bool) -> dict[str, Any]:
        worker = self._worker(payload)
        self._file.pause(payload.name, paused=paused)
        worker.pause(paused=paused)
        return {}

    def _list_dead_letters(self, payload: CommandPayload) -> dict[str, Any]:
        self._check_known(payload.name)
        stored = self._file.dead_letters(payload.name, after=payload.after, limit=payload.limit)
        fitting = page(map(dead_letters.as_json, stored))
        more = len(fitting) < len(stored) or len(stored) == payload.limit
        return {
            "count": self._file.count(payload.name),
            "dead_letters": fitting,
            "next": fitting[-1]["id"] if more else None,
        }

    def _edit(self, payload: CommandPayload) -> dict[str, Any]:
        self._check_known(payload.name)
        letter = self._file.dead_letter(payload.name, payload.id)
        if letter is None:
            raise CommandRefused("missing", f"{payload.name} has no dead letter {payload.id}")
        try:
            changed = letter._replace(row=dead_letters.edited(letter.row, payload.values, payload.time))
        except ValueError as error:
            raise CommandRefused("invalid", str(error)) from None
        self._file.edit(payload.name, changed)
        return {"dead_letter": dead_letters.as_json(changed)}

    def _retry(self, payload: CommandPayload) -> dict[str, Any]:
        worker = self._worker(payload)
        count = self._file.retry(payload.name, payload.ids)
        worker.resend()
        return {"count": count}

    def _drop(self, payload: CommandPayload) -> dict[str, Any]:
        self._check_known(payload.name)
        return {"count": self._file.drop(payload.name, payload.ids)}

    def _worker(self, payload: CommandPayload) -> Worker:
        worker = self._workers.get(payload.name)
        if worker is None:
            self._check_known(payload.name)
            raise CommandRefused("invalid", f"the options of {payload.name} are not valid: put them again")
        return worker

    def _check_known(self, name: str) -> None:
        names = self._workers.names()
        if name not in names:
            raise CommandRefused("missing", f"there is no target {name[:80]!r}; there are {', '.join(names) or 'none'}")

    def _check_changeable(self, name: str) -> None:
        if self._workers.is_configured(name):
            raise CommandRefused("configured", f"{name} is defined in config.toml: change it there")


def page(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first dead letters, one at least, as many as fit into an answer."""
    fitting: list[dict[str, Any]] = []
    room = PAGE_BYTES
    for letter in rows:
        room -= len(msgspec.json.encode(letter))
        if fitting and room < 0:
            break
        fitting.append(letter)
    return fitting


def _refused(error: MessageError | CommandRefused | StateAway) -> dict[str, Any]:
    code = error.code if isinstance(error, CommandRefused) else "away" if isinstance(error, StateAway) else "invalid"
    return {"ok": False, "code": code, "error": str(error)}


def _report(answered: Callable[[dict[str, Any]], object], test: Future[TestResult]) -> None:
    answered(test.result()._asdict())

"""Kinds of targets, one module each: services/uploader/KIND.py, imported when the first target needs it.

The module of kind "influxdb" has

* `Options`, its options: `class Options(TargetOptions, frozen=True, kw_only=True, tag="influxdb")` of options.py.
  Field defaults override those of all targets (`interval`, `name_template`, `counters` …). What must
  not be shown is of type `options.Secret` (or `dict[str, Secret]`): the engine hides these values
  wherever words are shown, kept or logged. `__post_init__` calls the one above first, and raises
  ValueError in words of one line that begin with the option.
* `target(options: Options, home: Home) -> Target` (not `open`, which is a builtin: ruff A001), see outgoing.py. It does not connect: what is
  away at the start is away later, too, and TryLater says so from `upload` and `newest`. It may
  raise ValueError for options that do not go together on this machine. Called on the target's
  own thread, on which everything else happens, too.

`upload` gets at most `limits.rows` rows, oldest first, and finite numbers, booleans or texts in
them; the engine has averaged, selected, renamed. An exception other than TryLater and Refused
is a bug and ends the process. `TryLater(said)`, `Refused(said)` and `Answer(said)` carry the target's own
words, at most a few hundred characters; web.py has what HTTP targets need.
The engine asks for `limits` before each batch: a target may change them when it learns more.

KINDS below lists the modules that are kinds.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from heliograph import mistakes
from services.uploader.options import TargetOptions
from services.uploader.outgoing import Outlet, Target

KINDS = ("emoncms", "file", "http", "influxdb", "mqtt", "postgresql", "pvoutput", "thingspeak")


class Home(NamedTuple):
    """Where a target lives: the node's name, a folder of its own (made when it is used first), what it is sent.

    `outlets` tells which channels are selected at this moment, in a steady order; new ones may appear.
    `meanwhile` is to be called while the target waits for an answer: it reads what comes next.
    """

    node: str
    folder: Path
    outlets: Callable[[], tuple[Outlet, ...]]
    meanwhile: Callable[[], None] | None = None


class Module(Protocol):
    """What the module of a kind has."""

    Options: type[TargetOptions]

    def target(self, options: Any, home: Home) -> Target:
        """Return the target that these options describe."""
        ...


def load(kind: str) -> Module:
    """Return the module of a kind; raise ValueError if there is no such kind."""
    if kind not in KINDS:
        raise ValueError(f"kind: there is no {kind!r}; known are {', '.join(KINDS)}")
    return cast(Module, import_module(f"services.uploader.{kind}"))


def parsed(told: Mapping[str, Any]) -> TargetOptions:
    """Return the options of a target as its kind has them; raise ValueError, in words of one line that hold no secret."""
    kind = told.get("kind")
    if not isinstance(kind, str):
        raise ValueError(f"kind: missing; there are {', '.join(KINDS)}")
    wanted = load(kind).Options
    try:
        return msgspec.convert(told, wanted)
    except msgspec.ValidationError as error:
        raise ValueError(mistakes.explained(wanted, told, str(error)).removeprefix(":").strip()) from None

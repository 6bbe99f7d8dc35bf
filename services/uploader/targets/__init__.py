"""Types of targets: every module and package in this folder is one, except `shared`, which holds what several need.

Each is imported when the first target of its type is configured. It has a class `Options`, whose `open` returns the
target:

* `class Options(TargetOptions, frozen=True, kw_only=True, tag="webhook")`, see services/uploader/options.py. The tag is
  the name of the module. Defaults of fields override those of all targets (`interval`, `name_template`, `counters` …).
  A value that must not be shown has the type `Secret` (or `dict[str, Secret]`): the uploader redacts it in logs, in the
  status and in answers. `__post_init__` calls the one above first, and raises ValueError in one line that begins
  with the option.
* `Options.open(context) -> Target`, see services/uploader/target.py. It does not connect: TryLater from `upload` and
  `newest` reports a service that is away. It may raise ValueError for options that this machine cannot carry out. It is
  called in the target's own thread, which makes all other calls as well.

`upload` gets at most `limits.rows` rows, oldest first, with finite numbers, booleans or texts; the engine has averaged,
selected and renamed them. An exception other than TryLater and Refused is a bug: it is logged, and the target begins again
a minute later as after a crash, while all others continue. What is not understood is TryLater. `TryLater`, `Refused` and
`Answer` carry the service's own words, at most a few hundred characters. The engine reads `limits` before each batch: a
target may change them when it learns more.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import msgspec

from heliograph import mistakes, nearest
from services.uploader.options import TargetOptions

SHARED = "shared"  # the only folder here that is not a target


def known() -> list[str]:
    """Return the names of all types of targets."""
    return sorted(module.name for module in iter_modules(__path__) if module.name != SHARED)


def load(kind: str) -> type[TargetOptions]:
    """Return the options of a type of target; raise ValueError if there is no such type."""
    if kind not in known():
        raise ValueError(f"kind: there is no {kind!r}{nearest.choices(kind, known())}")
    options: type[TargetOptions] = import_module(f"{__name__}.{kind}").Options
    return options


def parse_options(values: Mapping[str, Any]) -> TargetOptions:
    """Return the options of a target as its type has them; raise ValueError, in one line that holds no secret."""
    kind = values.get("kind")
    if not isinstance(kind, str):
        own = {field.encode_name for field in msgspec.structs.fields(TargetOptions)}
        if misspelt := nearest.nearest("kind", [name for name in values if name not in own | {"kind"}]):
            raise ValueError(f"no such option: {misspelt}; did you mean kind?")
        raise ValueError(f"kind: missing; there are {', '.join(known())}")
    options = load(kind)
    try:
        return msgspec.convert(values, options)
    except msgspec.ValidationError as error:
        raise ValueError(mistakes.explained(options, values, str(error)).removeprefix(":").strip()) from None

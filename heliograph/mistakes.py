"""What is wrong with a section of the configuration: the place, what was expected there, what was found."""

import re
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect

_PLACE = re.compile(r"(?P<what>.*) - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_TYPE = re.compile(r"Expected `([^`]*)`(.*?)(?:, got (.*))?")
_SECRET = re.compile(r"password|secret|token|key", re.IGNORECASE)
SHOWN_CHARACTERS = 80

Path = tuple[str | int, ...]


def explained(kind: type[Any], options: Any, message: str) -> str:
    """Say in one line what msgspec's message about these options means, beginning with the key if there is one."""
    found = _PLACE.fullmatch(message)
    what, path = (found["what"], _path(kind, options, found["path"], message)) if found else (message, ())
    if found and found["key"]:
        path = (*path, _culprit(kind, options, path, message))
    said = _said(kind, options, what, path, is_key=bool(found and found["key"]))
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return _line(f" {place}: {said}" if place else f": {said}")


def _said(kind: type[Any], options: Any, what: str, path: Path, *, is_key: bool) -> str:
    wanted = _type(kind, path)
    if match := _UNKNOWN.fullmatch(what):
        if new_name := _renamed(wanted).get(match[1]):
            return f"no such option: {match[1]}; it is now {new_name}"
        known = [field.encode_name for field in wanted.fields] if isinstance(wanted, inspect.StructType) else []
        return f"no such option: {match[1]}; there are {', '.join(known) or 'none'}"
    if match := _MISSING.fullmatch(what):
        return f"missing: {match[1]}"
    shown = repr(path[-1]) if is_key else _shown(options, path)
    if match := _TYPE.fullmatch(what):
        expected = match[1].removesuffix(" | null")
        return f"expected {expected}{match[2]}, found {shown}"
    if what.startswith("Invalid enum value") and isinstance(wanted, inspect.LiteralType):
        return f"expected {' or '.join(map(str, wanted.values))}, found {shown}"
    return f"{what[:1].lower()}{what[1:]}"


def _renamed(expected: inspect.Type) -> Mapping[str, str]:
    """Return what the options of a struct were called before: the `RENAMED` of its class and of all its bases."""
    bases = expected.cls.__mro__ if isinstance(expected, inspect.StructType) else ()
    return ChainMap(*(vars(base).get("RENAMED", {}) for base in bases))


def _path(kind: type[Any], options: Any, path: str, message: str) -> Path:
    """Return the steps of msgspec's path, which says [...] where it should name the key of a table."""
    steps: Path = ()
    for name, index, key in _STEP.findall(path):
        steps = (*steps, _culprit(kind, options, steps, message) if key else int(index) if index else name)
    return steps


def _culprit(kind: type[Any], options: Any, path: Path, message: str) -> str:
    """Return the key of a table that alone brings the same message."""
    for key in _at(options, path):
        try:
            msgspec.convert(_with_only(options, path, key), kind)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return str(key)
    return "…"


def _with_only(options: Any, path: Path, key: str) -> Any:
    if not path:
        return {key: options[key]}
    changed = options.copy()
    changed[path[0]] = _with_only(options[path[0]], path[1:], key)
    return changed


def _at(options: Any, path: Path) -> Any:
    for step in path:
        options = options[step]
    return options


def _type(kind: type[Any], path: Path) -> inspect.Type:
    """Return what is expected at a place."""
    wanted = _plain(inspect.type_info(kind))
    for step in path:
        if isinstance(wanted, inspect.StructType):
            wanted = next((field.type for field in wanted.fields if field.encode_name == step), inspect.AnyType())
        elif isinstance(wanted, inspect.DictType):
            wanted = wanted.value_type
        elif isinstance(wanted, inspect.ListType | inspect.VarTupleType):
            wanted = wanted.item_type
        else:
            return inspect.AnyType()
        wanted = _plain(wanted)
    return wanted


def _plain(wanted: inspect.Type) -> inspect.Type:
    """Return what may be there besides nothing."""
    if isinstance(wanted, inspect.Metadata):
        wanted = wanted.type
    if isinstance(wanted, inspect.UnionType):
        choices = [choice for choice in wanted.types if not isinstance(choice, inspect.NoneType)]
        return choices[0] if len(choices) == 1 else wanted
    return wanted


def _shown(options: Any, path: Path) -> str:
    """Show what was found, unless its name says that nobody may see it."""
    value = _at(options, path) if "…" not in path else "something else"
    if any(isinstance(step, str) and _SECRET.search(step) for step in path) and not isinstance(value, Mapping):
        return f"a {type(value).__name__} that is not shown"
    return repr(value)[:SHOWN_CHARACTERS]


def _line(text: str) -> str:
    return re.sub(r"\s*[\r\n]\s*", " ", text)

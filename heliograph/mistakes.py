"""What is wrong with a section of the configuration: the key, what was expected there, what was found."""

import re
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect

from heliograph import nearest

_LOCATION = re.compile(r"(?P<what>.*) - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_TYPE = re.compile(r"Expected `([^`]*)`(.*?)(?:, got (.*))?")
_SECRET = re.compile(r"password|secret|token|key", re.IGNORECASE)
SHOWN_CHARACTERS = 80

Path = tuple[str | int, ...]


def explained(kind: type[Any], options: Any, message: str, section: str = "") -> str:
    """Return in one line what msgspec's message about these options means, beginning with the key if there is one.

    `section` is the section of the configuration that has the options, if one has.
    """
    match = _LOCATION.fullmatch(message)
    what, path = (match["what"], _path(kind, options, match["path"], message)) if match else (message, ())
    if match and match["key"]:
        path = (*path, _culprit(kind, options, path, message))
    reason = _reason(kind, options, what, path, is_key=bool(match and match["key"]))
    if section:
        reason += _brackets(options, what, path, section)
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return _line(f" {key}: {reason}" if key else f": {reason}")


def _reason(kind: type[Any], options: Any, what: str, path: Path, *, is_key: bool) -> str:
    expected = _type(kind, path)
    if match := _UNKNOWN.fullmatch(what):
        if new_name := _renamed(expected).get(match[1]):
            return f"no such option: {match[1]}; it is now {new_name}"
        known = [field.encode_name for field in expected.fields] if isinstance(expected, inspect.StructType) else []
        return f"no such option: {match[1]}{nearest.choices(match[1], known)}"
    if match := _MISSING.fullmatch(what):
        return f"missing: {match[1]}"
    shown = repr(path[-1]) if is_key else _shown(options, path)
    if match := _TYPE.fullmatch(what):
        written = match[1].removesuffix(" | null")
        return f"expected {written}{match[2]}, found {shown}{_quotes(written, options, path, is_key=is_key)}"
    if what.startswith("Invalid enum value") and isinstance(expected, inspect.LiteralType):
        words = [str(value) for value in expected.values if value != ""]
        near = nearest.hint(str(_at(options, path)), words)
        return f"expected {' or '.join(words)}, found {shown}{near}"
    return f"{what[:1].lower()}{what[1:]}"


def _quotes(expected: str, options: Any, path: Path, *, is_key: bool) -> str:
    """Return what to leave out where a number or a boolean was written as a text; "" for any other mistake."""
    value = None if is_key or "…" in path else _at(options, path)
    words = {"int": r"[+-]?\d+", "float": r"[+-]?\d+(\.\d+)?", "bool": "true|false"}
    fits = isinstance(value, str) and re.fullmatch(words.get(expected, r"(?!)"), value)
    return "; write it without quotes" if fits else ""


def _brackets(options: Any, what: str, path: Path, section: str) -> str:
    """Return what to write where one table stands for a list of them, or a list for one; "" for any other mistake."""
    header = ".".join(str(step) for step in (section, *path) if not isinstance(step, int))
    value = _at(options, path) if "…" not in path else None
    if what.startswith("Expected `array") and isinstance(value, Mapping):
        return f"; write [[{header}]] in place of [{header}]"
    if what.startswith("Expected `object") and isinstance(value, list):
        return f"; write [{header}] in place of [[{header}]]"
    return ""


def _renamed(expected: inspect.Type) -> Mapping[str, str]:
    """Return what the options of a struct were called before: the `RENAMED` of its class and of all its bases."""
    bases = expected.cls.__mro__ if isinstance(expected, inspect.StructType) else ()
    return ChainMap(*(vars(base).get("RENAMED", {}) for base in bases))


def _path(kind: type[Any], options: Any, path: str, message: str) -> Path:
    """Return the steps of msgspec's path, which has [...] in place of the key of a table."""
    steps: Path = ()
    for name, index, key in _STEP.findall(path):
        steps = (*steps, _culprit(kind, options, steps, message) if key else int(index) if index else name)
    return steps


def _culprit(kind: type[Any], options: Any, path: Path, message: str) -> str:
    """Return the key of a table that alone causes the same message."""
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
    """Return the type that is expected at a path."""
    expected = _plain(inspect.type_info(kind))
    for step in path:
        if isinstance(expected, inspect.StructType):
            expected = next((field.type for field in expected.fields if field.encode_name == step), inspect.AnyType())
        elif isinstance(expected, inspect.DictType):
            expected = expected.value_type
        elif isinstance(expected, inspect.ListType | inspect.VarTupleType):
            expected = expected.item_type
        else:
            return inspect.AnyType()
        expected = _plain(expected)
    return expected


def _plain(expected: inspect.Type) -> inspect.Type:
    """Return a type without its metadata and without None."""
    if isinstance(expected, inspect.Metadata):
        expected = expected.type
    if isinstance(expected, inspect.UnionType):
        choices = [choice for choice in expected.types if not isinstance(choice, inspect.NoneType)]
        return choices[0] if len(choices) == 1 else expected
    return expected


def _shown(options: Any, path: Path) -> str:
    """Return the value at a path for people to see, unless its name says that it is a secret."""
    value = _at(options, path) if "…" not in path else "something else"
    if any(isinstance(step, str) and _SECRET.search(step) for step in path) and not isinstance(value, Mapping):
        return f"a {type(value).__name__} that is not shown"
    return repr(value)[:SHOWN_CHARACTERS]


def _line(text: str) -> str:
    return re.sub(r"\s*[\r\n]\s*", " ", text)

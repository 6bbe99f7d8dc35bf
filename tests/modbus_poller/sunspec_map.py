"""SunSpec maps, built from the same definitions in another way."""

import importlib.resources
import json
import random
import struct
from collections.abc import Mapping
from typing import Any

import sunspec2

NOTHING = {"acc": "zero", "int": "lowest", "sunssf": "lowest", "float": "nan", "string": "zero", "pad": "lowest"}


def definition(model: int) -> dict[str, Any]:
    folder = importlib.resources.files(sunspec2) / "models" / "json"
    group = json.loads((folder / f"model_{model}.json").read_text())["group"]
    assert isinstance(group, dict)
    return group


def words(kind: str, size: int, number: float) -> list[int]:
    if kind.startswith("float"):
        data = struct.pack(">f" if size == 2 else ">d", number)
    else:
        data = (int(number) % (1 << 16 * size)).to_bytes(2 * size, "big")
    return list(struct.unpack(f">{size}H", data))


def nothing(kind: str, size: int) -> list[int]:
    how = NOTHING.get(kind.rstrip("0123456789"), "ones")
    if how == "nan":
        return words(kind, size, float("nan"))
    return {"zero": [0] * size, "lowest": [0x8000] + [0] * (size - 1), "ones": [0xFFFF] * size}[how]


def filled(
    points: list[dict[str, Any]], choice: random.Random, values: dict[str, float], prefix: str = ""
) -> list[int]:
    """Random registers for points; notes the numbers in `values`, by point."""
    registers: list[int] = []
    for point in points:
        kind, size, name = point["type"], point["size"], point["name"]
        if kind in ("pad", "string", "count"):
            registers += nothing(kind, size)
            continue
        number: float = {"sunssf": choice.randrange(-3, 3)}.get(kind, choice.randrange(1, 30_000))
        if kind.startswith("float"):
            number = choice.randrange(1, 9_999) / 8
        values[prefix + name] = number
        registers += words(kind, size, number)
    return registers


class Map:
    """A SunSpec map at a base: the common model, some models, the end; `values` by model and point."""

    def __init__(
        self, base: int, models: list[int], seed: int = 0, repeats: int = 2, without: tuple[str, ...] = ()
    ) -> None:
        choice = random.Random(seed)
        registers = [0x5375, 0x6E53, 1, 66]
        registers += self._text("Fronius", 16) + self._text("Symo 8.2-3-M", 16) + [0] * 34
        self.values: dict[int, dict[str, float]] = {}
        self.at: dict[int, int] = {}
        for model in models:
            group = definition(model)
            values = self.values[model] = {}
            self.at[model] = base + len(registers)
            fixed = [point for point in group["points"] if point["name"] not in ("ID", "L")]
            body = filled(fixed, choice, values)
            for inner in group.get("groups", []):
                for number in range(1, repeats + 1):
                    body += filled(inner["points"], choice, values, f"{number}:")
            at = 0
            for point in fixed:
                if point["name"] in without:
                    body[at : at + point["size"]] = nothing(point["type"], point["size"])
                    del values[point["name"]]
                at += point["size"]
            registers += [model, len(body), *body]
        registers += [0xFFFF, 0]
        self.registers = dict(enumerate(registers, base))

    def _text(self, text: str, size: int) -> list[int]:
        return list(struct.unpack(f">{size}H", text.encode().ljust(2 * size, b"\0")))

    def scaled(self, model: int, name: str, factor: str) -> float:
        return float(self.values[model][name] * 10.0 ** self.values[model][factor])


def model(number: int, values: Mapping[str, float], repeats: int = 0) -> list[int]:
    """The registers of a model, with its ID and length; what has no value is not implemented."""
    group = definition(number)
    registers: list[int] = []
    for point in group["points"]:
        if point["name"] not in ("ID", "L"):
            registers += _point(point, values, point["name"])
    for inner in group.get("groups", []):
        for port in range(1, repeats + 1):
            for point in inner["points"]:
                registers += _point(point, values, f"{port}:{point['name']}")
    return [number, len(registers), *registers]


def _point(point: dict[str, Any], values: Mapping[str, float], name: str) -> list[int]:
    kind, size = point["type"], point["size"]
    return words(kind, size, values[name]) if name in values else nothing(kind, size)


def common(manufacturer: str, name: str) -> list[int]:
    """The registers of a common model."""
    return [1, 66, *text(manufacturer, 16), *text(name, 16), *[0] * 34]


def text(characters: str, size: int) -> list[int]:
    return list(struct.unpack(f">{size}H", characters.encode().ljust(2 * size, b"\0")))


def at_40000(*models: list[int], end: bool = True) -> dict[int, int]:
    """A map at 40000."""
    registers = [0x5375, 0x6E53, *(word for one in models for word in one), *([0xFFFF, 0] if end else [])]
    return dict(enumerate(registers, 40000))

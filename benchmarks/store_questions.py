"""The questions that the store's benchmarks ask of a store of set A. Knows no numpy: it is asked without, too."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from heliograph.store import buckets
from heliograph.store.interface import Function, Reader, Series

DAY = 86_400.0
FUNCTIONS: tuple[Function, ...] = ("n", "mean", "min", "max")


class Question(NamedTuple):
    """What is asked, how many days of a store it needs, how many ms of CPU it may take; `ask` returns how much came back."""

    name: str
    days: float
    demand: float | None
    ask: Callable[[Reader], int]


def questions(series: Sequence[Series], start: float, end: float) -> list[Question]:
    """Return the questions for a store of [start, end) UTC seconds, those that it has enough days for."""
    meter = [one.id for one in series if one.device == "meter"]
    one = next(one.id for one in series if one.channel == "load_power")

    def bucketed(
        name: str, days: float, bucket: str, zone: str = "UTC", limits: tuple[float, ...] = ()
    ) -> list[Question]:
        questions = []
        for index, ids in enumerate(([one], meter)):
            limit = limits[index] if index < len(limits) else None
            questions.append(
                Question(f"{name}, {len(ids)} series", days, limit, _aggregate(ids, end, days, bucket, zone))
            )
        return questions

    raw = end - 31 * DAY if end - start > 31 * DAY else start
    asked = [
        Question("latest, all series", 0, None, lambda reader: len(reader.latest([one.id for one in series]))),
        Question("raw day, 1 series", 1, 2, _raw([one], raw)),
        Question(f"raw day, {len(meter)} series", 1, 15, _raw(meter, raw)),
        *bucketed("month @ 5 min", 31, "5m"),
        bucketed("90 d @ 10 min", 90, "10m")[0],
        bucketed("90 d @ 7 min", 90, "7m")[0],
        *bucketed("year @ 1 h", 365, "1h", limits=(5, 50)),
        *bucketed("year @ 1 day, Europe/Berlin", 365, "1d", "Europe/Berlin"),
        *bucketed("year @ 1 day, Asia/Kolkata", 365, "1d", "Asia/Kolkata"),
        *bucketed("ten years @ 1 day, Europe/Berlin", 3652, "1d", "Europe/Berlin"),
        *bucketed("ten years @ 1 month, Europe/Berlin", 3652, "1mo", "Europe/Berlin"),
    ]
    return [question for question in asked if question.days <= (end - start) / DAY]


def extent(reader: Reader) -> tuple[float, float]:
    """Return the whole UTC days that a store has; raise ValueError if it is empty."""
    first_and_last = reader.extent()
    if first_and_last is None:
        raise ValueError("the store is empty")
    return first_and_last[0] // DAY * DAY, -(-first_and_last[1] // DAY) * DAY


def cpu_ms(reader: Reader, question: Question) -> float:
    """Return the CPU milliseconds of this process that an answer took; raise ValueError if there was none."""
    begun = time.process_time()
    rows = question.ask(reader)
    used = time.process_time() - begun
    if not rows:
        raise ValueError(f"{question.name}: no rows came back")
    return used * 1000


def _aggregate(ids: Sequence[int], end: float, days: float, bucket: str, zone: str) -> Callable[[Reader], int]:
    edges = buckets.edges(end - days * DAY, end, bucket, zone)

    def ask(reader: Reader) -> int:
        filled = 0
        for number in ids:
            counts = reader.aggregate(number, edges, FUNCTIONS)["n"]
            filled += len(counts) - counts.count(0)
        return filled

    return ask


def _raw(ids: Sequence[int], start: float) -> Callable[[Reader], int]:
    def ask(reader: Reader) -> int:
        return sum(len(reader.raw(number, start, start + DAY, limit=1_000_000).times) for number in ids)

    return ask

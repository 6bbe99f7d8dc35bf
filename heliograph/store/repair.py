"""Mends a year of which some rows cannot be read: what has no bytes left is set aside, cells are made again from points."""

from collections.abc import Callable, Iterable

from heliograph.store import blocks, history, months, year_file
from heliograph.store.integrity import Broken
from heliograph.store.names import Names
from heliograph.store.tiers import GRAINS
from heliograph.store.years import Years

LEVELS = {f"{grain.name}_{level}": (grain, level) for grain in GRAINS for level in ("day", *grain.closed)}


def mend(years: Years, number: int, broken: Iterable[Broken], names: Names, lost: Callable[[str], None]) -> None:
    """Mend the broken rows of a year in one transaction, and note what is lost; raise OSError, or StoreDamaged."""
    tables: dict[str, set[int]] = {}
    for row in broken:
        tables.setdefault(row.table, set()).add(row.k)
    values = 0
    known = True
    days: set[int] = set()
    series: set[int] = set()
    with years.writing(number) as year:
        chunks = tables.get("chunk", set()) | _on_axes(year, tables.get("axis", set()))
        for k in chunks:
            sid, day = k >> history.DAY_BITS, k & ((1 << history.DAY_BITS) - 1)
            count = blocks.length(year.set_aside(sid, day))
            known &= count >= 0
            values += max(0, count)
            days.add(day)
            series.add(sid)
        year.drop_axes(tables.get("axis", set()))
        for table, (grain, level) in LEVELS.items():
            for k in tables.get(table, set()):
                sid = k >> history.DAY_BITS
                if sid in names.series:
                    months.again(year, grain, level, names.series[sid], k & ((1 << history.DAY_BITS) - 1))
                else:
                    year.drop_tiers(table, sid, k & ((1 << history.DAY_BITS) - 1), k & ((1 << history.DAY_BITS) - 1))
    if chunks:
        whose = ", ".join(
            names.series[sid].name if sid in names.series else f"series {sid}" for sid in sorted(series)[:5]
        )
        lost(
            f"history-{number:04d}.db was damaged: {values}{'' if known else ' or more'} values on {len(days)} days of "
            f"{len(series)} series are lost ({whose})"
        )


def _on_axes(year: year_file.Year, axes: set[int]) -> set[int]:
    """Return the keys of the chunks on these axes."""
    return {k for k, axis in year.db.execute("SELECT k, axis FROM chunk") if axis in axes} if axes else set()

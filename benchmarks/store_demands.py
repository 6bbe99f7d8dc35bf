"""The table that the store's benchmarks print: a figure, the limit for it, and whether it is kept."""

import argparse
import calendar
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

YEAR = 2025
TEN_YEARS = 2016  # the first of ten


def day_number(year: int) -> int:
    """Return the number of the first day of a year, counted from 1970 UTC."""
    return calendar.timegm((year, 1, 1, 0, 0, 0)) // 86_400


def row(what: str, figure: float, unit: str, *, at_most: float | None = None, at_least: float | None = None) -> None:
    """Print one figure with its limit."""
    if at_most is not None:
        demand, holds = f"<= {at_most:g}", figure <= at_most
    elif at_least is not None:
        demand, holds = f">= {at_least:g}", figure >= at_least
    else:
        print(f"  {what:<60}{shown(figure):>10} {unit}", flush=True)
        return
    print(f"  {what:<60}{shown(figure):>10} {unit:<32}{demand:<11}{'holds' if holds else 'DOES NOT HOLD'}", flush=True)


def ratio(what: str, ours: float, theirs: float, unit: str, *, at_most: float | None = None) -> None:
    """Print a rival's figure and ours as a part of it, with the limit for that."""
    row(what, theirs, unit)
    row("  ours as a part of it", ours / theirs if theirs else float("nan"), "", at_most=at_most)


def shown(figure: float) -> str:
    """Return a figure with three significant digits, or as a whole number from 100 on."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def arguments(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option that all of the store's benchmarks have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to work (default: /var/tmp)")
    return parser


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder; a server that is not root can work in it, too."""
    with tempfile.TemporaryDirectory(prefix="heliograph-", dir=folder) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def tree_bytes(folder: Path) -> int:
    """Return how many bytes of the disk the files below a folder take; some servers make large sparse files."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return sorted(values)[len(values) // 2]


def peak_rss(process: int | str = "self") -> float:
    """Return the peak resident memory of a process, in MB (Linux)."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("there is no VmHWM: this is not Linux")


def is_root() -> bool:
    """Whether loop devices can be made and mounted."""
    return os.geteuid() == 0

"""Make a store of set A that the other benchmarks are given with --store: FOLDER/store, whole years that end with 2025.

Ten years are 883 million values.
"""

import argparse
import time
from pathlib import Path

from benchmarks import store_data
from benchmarks.store_demands import YEAR, day_number
from benchmarks.store_own import Filling


def make(folder: Path, days: int, *, quiet: bool = False) -> Filling:
    """Fill a store with the last so many days of 2025, and settle it."""
    filling = Filling(folder)
    begun = time.monotonic()
    try:
        for number, day in enumerate(store_data.meter(day_number(YEAR + 1) - days, days), 1):
            filling.day(day)
            if not quiet and (number % 50 == 0 or number == days):
                took = time.monotonic() - begun
                left = took / number * (days - number)
                print(
                    f"  {number} of {days} days, {filling.values / 1e6:.0f} M values, {took:.0f} s, {left:.0f} s to go",
                    flush=True,
                )
        filling.settle()
    finally:
        filling.close()
    return filling


def main() -> None:
    """Make the store and print what it cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_make", description=__doc__)
    parser.add_argument("store", type=Path, help="a folder that is not there yet")
    parser.add_argument("--years", type=int, default=10, help="how many (default: 10)")
    options = parser.parse_args()
    options.store.mkdir(parents=True)
    days = day_number(YEAR + 1) - day_number(YEAR + 1 - options.years)
    filling = make(options.store, days)
    print(f"{filling.values / 1e6:.1f} M values, {filling.bytes() / filling.values:.3f} B/value")
    print(f"{filling.cpu / filling.values * 1e6:.3f} CPU s per million values, from readings to sealed, no JSON")


if __name__ == "__main__":
    main()

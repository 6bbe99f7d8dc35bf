"""What answers cost a card when nothing is in the page cache: requests and bytes read from a private loop ext4.

A fresh reader for every question: opening the files is counted. Needs root. Without --store, a store of a year is
made first.
"""

import shutil
from pathlib import Path

from benchmarks import store_demands as demands
from benchmarks.store_loop import Disk, NoLoop, disk
from benchmarks.store_make import make
from benchmarks.store_questions import Question, extent, questions
from heliograph.store import folder as store_folder
from heliograph.store import open_reader

REQUESTS, MEGABYTES = 150, 2.0  # demanded of a year @ 1 h of 14 series


def cold(card: Disk, question: Question) -> tuple[int, float]:
    """Return how many requests and megabytes an answer read."""
    card.forget()
    requests, size = card.read()
    reader = open_reader(card.folder)
    question.ask(reader)
    reader.close()
    requests_after, size_after = card.read()
    return requests_after - requests, (size_after - size) / 1e6


def main() -> None:
    """Print the table, or why there is none."""
    parser = demands.arguments("store_cold", __doc__)
    parser.add_argument("--store", type=Path, default=None, help="a folder that store_make filled")
    options = parser.parse_args()
    with demands.workplace(options.folder) as folder:
        store = options.store or folder / "year"
        if not options.store:
            make(store, 365)
        megabytes = demands.tree_bytes(store_folder(store)) * 13 // 10 // 1_000_000 + 128
        try:
            with disk(folder, "cold", megabytes) as card:
                shutil.copytree(store_folder(store), store_folder(card.folder))
                reader = open_reader(card.folder)
                asked = questions(reader.series(), *extent(reader))
                reader.close()
                for question in asked:
                    requests, size = cold(card, question)
                    demanded = question.name == "year @ 1 h, 14 series"
                    demands.row(question.name, requests, "requests", at_most=REQUESTS if demanded else None)
                    demands.row("  … and", size, "MB", at_most=MEGABYTES if demanded else None)
        except NoLoop as error:
            print(f"nothing can be counted: {error}")


if __name__ == "__main__":
    main()

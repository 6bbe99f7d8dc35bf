"""What a backup keeps although the store has it no more: copies of files of which storage reports a loss."""

import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from heliograph import durable
from heliograph.store import inventory, schema
from services.storage.maintenance import files

FOLDER = "before-loss"  # in the backup's folder
FILE = re.compile(r"history-\d{4}\.db|hot\.db")


def reported(store: Path) -> set[str]:
    """Return the names of the files that are missing or were damaged in the last days, until that is accepted.

    Raises StoreDamaged or OSError if the catalog cannot be read.
    """
    path = schema.catalog_file(store)
    if not path.exists():
        return set()
    with files.read_only(path) as catalog:
        sentences = inventory.problems(catalog, store, time.time())
    return {name for sentence in sentences for name in FILE.findall(sentence)}


def keep(folder: Path, names: Iterable[str]) -> list[str]:
    """Copy files of a backup that are about to be replaced into a folder beside them, each once; return their new names.

    Raises OSError.
    """
    kept = []
    for name in sorted(names):
        target = folder / FOLDER / name
        if target.exists() or not (folder / name).exists():
            continue
        target.parent.mkdir(exist_ok=True)
        partial = target.with_name(f"{name}.partial")
        shutil.copyfile(folder / name, partial)
        durable.sync(partial)
        partial.replace(target)
        durable.sync(target.parent)
        kept.append(f"{FOLDER}/{name}")
    return kept

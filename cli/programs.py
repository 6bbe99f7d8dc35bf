"""Finds programs: those of this machine, and those that scripts/setup unpacks when it has none."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the checkout, or where the packages are installed
IS_CHECKOUT = (ROOT / "compose.yaml").exists()


def find(name: str) -> str:
    """Return the path of a program; raise FileNotFoundError, which says what to do, if there is none."""
    # Debian keeps servers out of an ordinary user's PATH, and PostgreSQL's in a folder for each version.
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    folders = [str(ROOT / ".tools/bin"), os.environ.get("PATH", ""), "/usr/sbin", *map(str, postgres)]
    path = shutil.which(name, path=os.pathsep.join(folders))
    if path is None:
        raise FileNotFoundError(f"there is no {name}; run scripts/setup")
    return path

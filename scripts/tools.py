"""The programs that scripts/setup unpacks where the PATH has none."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def found(name: str) -> str:
    """Return where a program is; raise FileNotFoundError, which says what to do, if it is nowhere."""
    places = os.pathsep.join([str(ROOT / ".tools/bin"), os.environ.get("PATH", ""), "/usr/sbin"])
    path = shutil.which(name, path=places)
    if path is None:
        raise FileNotFoundError(f"there is no {name}; run scripts/setup")
    return path

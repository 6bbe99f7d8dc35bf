"""On the PYTHONPATH of a process, this makes its system clock wrong: by what the file $WRONG_CLOCK says, in seconds."""

import os
import time
from pathlib import Path

_FILE = Path(os.environ["WRONG_CLOCK"])
_right = time.time


def _wrong() -> float:
    return _right() + float(_FILE.read_text())


time.time = _wrong

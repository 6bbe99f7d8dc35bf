"""On the PYTHONPATH of a process, it makes it one without numpy."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class NoNumpy(MetaPathFinder):
    """Finds that there is no numpy."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ImportError for numpy, and leave the rest to others."""
        if fullname.partition(".")[0] == "numpy":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


sys.meta_path.insert(0, NoNumpy())

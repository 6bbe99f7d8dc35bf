"""Finds programs: those of this machine, and those that are unpacked when it has none."""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the checkout, or where the packages are installed
IS_CHECKOUT = (ROOT / "compose.yaml").exists()
HAS_WHOLE_NODE = find_spec("circus") is not None  # the extra `start`; a container has one service, and not this
UNPACK = Path(__file__).parent / "start/debian_packages"


def find(name: str, *folders: Path) -> str:
    """Return the path of a program, also if it is in one of the folders; raise FileNotFoundError, which says what to do, if there is none."""
    # Debian keeps servers out of an ordinary user's PATH, and PostgreSQL's in a folder for each version.
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    searched = [*folders, ROOT / ".tools/bin", os.environ.get("PATH", ""), "/usr/sbin", *postgres]
    path = shutil.which(name, path=os.pathsep.join(map(str, searched)))
    if path is None:
        raise FileNotFoundError(f"there is no {name}; run scripts/setup")
    return path


def provide(name: str, package: str, folder: Path) -> str:
    """Return the path of a program; one that this machine has not is unpacked from a Debian package, into the folder.

    Raises FileNotFoundError, which says what to do, if it cannot be had.
    """
    try:
        return find(name, folder / "bin")
    except FileNotFoundError:
        if subprocess.run(["bash", UNPACK, folder, package, name], check=False).returncode:
            raise FileNotFoundError(
                f"there is no {name} on this machine: install it; on Debian: apt install {package}"
            ) from None
    return find(name, folder / "bin")


def module_environment() -> dict[str, str]:
    """Return the environment in which a process finds the modules of these packages, from any working folder, and no others there."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}

"""Finds the configuration of this machine's node, for the commands that look after it.

`heliograph start` completes the user's configuration with ports and passwords; while the node runs, a command needs
the completed one.
"""

import os
from pathlib import Path

from heliograph import config
from heliograph.errors import ConfigError

CONFIG = Path("config.toml")
CONTAINER_CONFIG = Path("/config.toml")  # where compose.yaml mounts it
NOT_FOUND = "there is no config.toml here, and you have started no node: name it with --config"
RUN_FOLDER = "run"  # in the data folder
TOOLS_FOLDER = "tools"  # in the data folder: programs that this machine has not
PROCESSES = Path("/proc")


def find(chosen: Path | None = None) -> Path | None:
    """Return the configuration of the node that runs, else the one that is here; None if there is none.

    `chosen` is the user's own configuration, if it was named. Without it this folder is searched, then the place that
    a container has, then the node that this user started last.
    """
    if chosen is not None:
        return _completed(chosen) or chosen
    if CONFIG.exists():
        return _completed(CONFIG) or CONFIG
    if CONTAINER_CONFIG.exists():
        return CONTAINER_CONFIG
    for data in (Path("data"), _last_started()):
        if data and (path := data / RUN_FOLDER / CONFIG).exists():
            return path
    return None


def data_folder(chosen: Path | None = None) -> Path | None:
    """Return the data folder of the node that `heliograph start` runs, or ran last, with the configuration that `find` finds.

    None if it never ran such a node on this machine.
    """
    last, path = _last_started(), chosen or (CONFIG if CONFIG.exists() else None)
    is_last = path is None or bool(last and _source(last) == path.resolve())
    folders = (_data_of(path) if path else Path("data"), last if is_last else None)
    return next((folder for folder in folders if folder and (folder / RUN_FOLDER / CONFIG).exists()), None)


def _data_of(path: Path) -> Path | None:
    """Return the data folder that a configuration names; None if it cannot be read: the command that reads it reports it."""
    try:
        section = config.read(path).get("node", {})
        text = section.get("data", "data") if isinstance(section, dict) else "data"
        return Path(config.resolved(str(text), str(path), ""))
    except ConfigError:
        return None


def _completed(path: Path) -> Path | None:
    """Return what `heliograph start` made of a configuration, if that node runs."""
    for folder in (_data_of(path), _last_started()):
        if folder and is_running(folder) and _source(folder) == path.resolve():
            return folder / RUN_FOLDER / CONFIG
    return None


def note_start(data: Path, source: Path | None) -> None:
    """Note that this process runs the node of a data folder, from the user's configuration if there is one."""
    (data / RUN_FOLDER / "source").write_text(f"{source.resolve() if source else ''}\n")
    (data / RUN_FOLDER / "pid").write_text(f"{os.getpid()}\n")  # last: with it the node is one that runs
    pointer = _pointer()
    try:
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.write_text(f"{data.resolve()}\n")
    except OSError:
        return  # a home that cannot be written: commands then have to be called beside the data


def note_log(data: Path, log: Path) -> None:
    """Note where the node of a data folder keeps what it logs."""
    (data / RUN_FOLDER / "logfile").write_text(f"{log.resolve()}\n")


def log_of(data: Path) -> Path | None:
    """Return where the node of a data folder keeps, or kept, what it logs; None if it was never started."""
    try:
        return Path((data / RUN_FOLDER / "logfile").read_text().strip())
    except OSError:
        return None


def note_stop(data: Path) -> None:
    """Note that the node of a data folder has ended."""
    (data / RUN_FOLDER / "pid").unlink(missing_ok=True)


def is_running(data: Path) -> bool:
    """Whether `heliograph start` runs the node of a data folder."""
    return pid_of(data) is not None


def pid_of(data: Path) -> int | None:
    """Return the process of `heliograph start` that runs the node of a data folder; None if none does."""
    try:
        pid = int((data / RUN_FOLDER / "pid").read_text())
        return pid if b"\0start\0" in (PROCESSES / str(pid) / "cmdline").read_bytes() + b"\0" else None
    except (OSError, ValueError):
        return None


def has_stopped(path: Path) -> bool:
    """Whether a configuration is what `heliograph start` completed for a node that no longer runs."""
    return path.parent.name == RUN_FOLDER and not is_running(path.parent.parent)


def how_to_start(path: Path | None) -> str:
    """Return the command that starts the node of a configuration, as `find` has found it."""
    if path == CONTAINER_CONFIG:
        return "docker compose up -d"
    source = written_by_user(path) if path else None
    is_here = source is None or source.resolve() == CONFIG.resolve()
    return "heliograph start" if is_here else f"heliograph start --config {source}"


def written_by_user(path: Path) -> Path | None:
    """Return the user's own file behind a configuration that `heliograph start` completed; any other as it is.

    None if the node was started without one.
    """
    return _source(path.parent.parent) if path.parent.name == RUN_FOLDER else path


def _source(data: Path) -> Path | None:
    try:
        text = (data / RUN_FOLDER / "source").read_text().strip()
    except OSError:
        return None
    return Path(text) if text else None


def _pointer() -> Path:
    """Return where the last start of this user is noted (XDG Base Directory Specification, XDG_STATE_HOME)."""
    state = os.environ.get("XDG_STATE_HOME") or Path(os.environ.get("HOME", "/")) / ".local/state"
    return Path(state) / "heliograph" / "last-node"


def _last_started() -> Path | None:
    """Return the data folder of the node that this user started last."""
    try:
        text = _pointer().read_text().strip()
    except OSError:
        return None
    return Path(text) if text else None

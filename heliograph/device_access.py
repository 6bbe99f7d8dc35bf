"""Why a device file cannot be opened, in words that tell what to do: a group that is missing is the usual reason."""

import errno
import grp
import os
import pwd
import termios
from pathlib import Path

GROUP_MAY = 0o060  # read and write


def why(error: BaseException, path: str | Path) -> str:
    """Return why a device, a port or a file of this path cannot be used, in the words of the system.

    Libraries put number and path into theirs once or twice. Of a permission it is the group that has it, and the command that helps.
    """
    number = error.errno if isinstance(error, OSError) else error.args[0] if isinstance(error, termios.error) else None
    if number == errno.EACCES:
        return f"permission denied: {_missing_right(Path(path))}"
    if number == errno.EAGAIN:
        return "in use by another program"
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error) or repr(error)


def _missing_right(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"the folder of {path} is closed to {_user()}"
    group, groups = status.st_gid, {os.getegid(), *os.getgroups()}
    if group == 0 or group in groups or not status.st_mode & GROUP_MAY:
        return (
            f"{path} belongs to {_user_name(status.st_uid)}, and its mode {status.st_mode & 0o777:04o} lets "
            f"{_user()} not use it; a udev rule gives it to a group: docs/install.md"
        )
    name, user = _group_name(group), _user()
    if user.isdecimal():  # a user of a container has no name
        return f"{path} belongs to group {name}; give the service this group: group_add in compose.yaml"
    return (
        f"{path} belongs to group {name}; add the user {user} to it: sudo usermod -aG {name} {user}, "
        "then log in again and restart the node"
    )


def _user() -> str:
    return _user_name(os.geteuid())


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _group_name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)

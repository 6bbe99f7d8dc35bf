"""Why a device cannot be opened; the kernel refuses for real, because another user opens them."""

import errno
import grp
import os
import pwd
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heliograph import device_access

OTHER = pwd.getpwnam("daemon").pw_uid


@contextmanager
def another(user: int) -> Iterator[None]:
    """Be another user, who is in no other group than his own."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def opened_by(user: int, path: Path) -> str:
    with another(user):
        try:
            path.open("r+b").close()
        except OSError as error:
            return device_access.why(error, path)
    return ""


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device of this machine, as far as permissions go."""
    if os.geteuid():
        pytest.skip("only root can be another user")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    path = tmp_path / "ttyUSB0"
    path.touch()
    return path


def test_a_missing_group_is_named_with_the_command_that_helps(device: Path) -> None:
    os.chown(device, 0, grp.getgrnam("dialout").gr_gid)
    device.chmod(0o660)
    assert opened_by(OTHER, device) == (
        f"permission denied: {device} belongs to group dialout; add the user daemon to it: "
        "sudo usermod -aG dialout daemon, then log in again and restart the node"
    )


def test_a_user_without_a_name_is_one_of_a_container(device: Path) -> None:
    os.chown(device, 0, 12321)
    device.chmod(0o660)
    assert opened_by(10001, device) == (
        f"permission denied: {device} belongs to group 12321; give the service this group: group_add in compose.yaml"
    )


def test_a_device_that_no_group_may_use_needs_a_rule(device: Path) -> None:
    device.chmod(0o600)
    assert opened_by(OTHER, device) == (
        f"permission denied: {device} belongs to root, and its mode 0600 lets daemon not use it; "
        "a udev rule gives it to a group: docs/install.md"
    )
    device.parent.chmod(0o700)
    assert opened_by(OTHER, device) == f"permission denied: the folder of {device} is closed to daemon"


def test_every_other_reason_is_in_the_words_of_the_system() -> None:
    assert device_access.why(FileNotFoundError(errno.ENOENT, "could not open port x: x"), "x") == (
        "No such file or directory"
    )
    assert device_access.why(BlockingIOError(errno.EAGAIN, "lock"), "x") == "in use by another program"
    assert device_access.why(termios.error(errno.EIO, "Input/output error"), "x") == "Input/output error"
    assert device_access.why(OSError("no USB adapter 0403:6001"), "x") == "no USB adapter 0403:6001"
    assert device_access.why(ValueError("Invalid baud rate: 7"), "x") == "Invalid baud rate: 7"

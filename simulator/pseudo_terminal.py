"""A serial port that is a file: services open one end, the simulator holds the other."""

import fcntl
import os
import struct
import termios
import tty
from contextlib import suppress
from pathlib import Path
from typing import Self

STALE_BYTES = 2048  # more than this unread means that no client listens


class PseudoTerminal:
    """A raw pseudo-terminal whose `path` is for a service to open, as often as it likes.

    The simulator keeps that end open, too, so that the port outlives the service. What is
    written while no client reads is lost, as on a wire. With `link`, that path is a symbolic
    link to the port while it is open.
    """

    def __init__(self, link: Path | None = None) -> None:
        self.link = link
        self.device = ""
        self.fd = self._service_end = -1

    @property
    def path(self) -> str:
        """The path to open: the link if there is one, else the terminal itself."""
        return str(self.link or self.device)

    def read(self) -> bytes:
        """Return what the service has written, b"" if it was flushed in the meantime."""
        with suppress(BlockingIOError):
            return os.read(self.fd, 4096)
        return b""

    def write(self, data: bytes) -> None:
        """Send bytes to the service; what does not fit is lost."""
        if self._unread() > STALE_BYTES:
            termios.tcflush(self._service_end, termios.TCIFLUSH)
        with suppress(BlockingIOError):
            os.write(self.fd, data)

    def _unread(self) -> int:
        answer = fcntl.ioctl(self._service_end, termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", answer)[0])

    def __enter__(self) -> Self:
        self.fd, self._service_end = os.openpty()
        tty.setraw(self._service_end)
        os.set_blocking(self.fd, False)
        self.device = os.ttyname(self._service_end)
        if self.link is not None:
            self.link.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.link.with_name(f".{self.link.name}.{os.getpid()}")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.device)
            fresh.replace(self.link)
        return self

    def __exit__(self, *_: object) -> None:
        if self.link is not None:
            with suppress(OSError):  # gone, or no longer ours
                if str(self.link.readlink()) == self.device:
                    self.link.unlink()
        os.close(self.fd)
        os.close(self._service_end)

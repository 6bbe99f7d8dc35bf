"""Lets the n-th write, sync, truncation, renaming or deletion of this process fail, those within SQLite too.

SQLite asks its virtual file system (https://www.sqlite.org/vfs.html) for everything it does with files. A copy of the
usual one, made with ctypes, becomes the default: it opens files as before, and exchanges three methods of each.
Files that Python opens for writing bytes, and the functions of `os`, are exchanged as well.
"""

import _sqlite3
import ctypes
import errno
import io
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import pytest

OK, FULL, IOERR_WRITE, IOERR_FSYNC, IOERR_TRUNCATE = 0, 13, 10 | 3 << 8, 10 | 4 << 8, 10 | 6 << 8
PYTHON = ("fsync", "fdatasync", "rename", "replace", "unlink", "truncate", "ftruncate", "sendfile")
WRITES = ("write", "pwrite")  # of os: a full disk may take a part
SAME = ("SQLite's sync", "SQLite's truncation")  # SQLite has one number for every error of these
MEMORY = Path("/dev/shm")  # shm_open(3): files without a disk

Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)  # the name as a pointer: SQLite keeps it
Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class Vfs(Structure):
    """sqlite3_vfs, up to the one method that is exchanged; the size is that of the whole."""

    _fields_ = [
        ("version", c_int),
        ("size_of_file", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("rest", c_void_p * 16),
    ]


class Methods(Structure):
    """sqlite3_io_methods."""

    _fields_ = [
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("rest", c_void_p * 13),
    ]


class Faults:
    """Lists the calls since `arm`, and lets one of them fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failed = ""
        self._at = 0
        self._errno = 0
        self._kept: list[object] = []  # C has no references
        self._methods: dict[int, Methods] = {}

    def arm(self, at: int, error: int) -> None:
        """Let the call with this number fail, counted from now, from 1; 0: none."""
        self.calls, self.failed, self._at, self._errno = [], "", at, error

    def hits(self, what: str) -> bool:
        """Note a call, and return whether it fails."""
        self.calls.append(what)
        if len(self.calls) != self._at:
            return False
        self.failed = what
        return True

    def code(self, otherwise: int) -> int:
        """Return SQLite's number of the failure."""
        return FULL if self._errno == errno.ENOSPC and otherwise == IOERR_WRITE else otherwise

    def error(self) -> OSError:
        """Return the failure as Python has it."""
        return OSError(self._errno, os.strerror(self._errno))

    def taken(self, data: Any) -> memoryview:
        """Return what the disk still writes of the data that it refuses: half of it if it is full."""
        view = memoryview(data).cast("B")
        return view[: len(view) // 2 if self._errno == errno.ENOSPC else 0]

    def exchange(self, file: int) -> None:
        """Exchange the methods of an open file."""
        pointer = c_void_p.from_address(file)
        if not pointer.value:
            return
        if pointer.value not in self._methods:
            self._methods[pointer.value] = self._copy(Methods.from_address(pointer.value))
        pointer.value = ctypes.addressof(self._methods[pointer.value])

    def _copy(self, usual: Methods) -> Methods:
        write, truncate, sync = Write(usual.write), Truncate(usual.truncate), Sync(usual.sync)
        copy = Methods.from_buffer_copy(usual)

        def failing_write(file: int, data: int, size: int, offset: int) -> int:
            return self.code(IOERR_WRITE) if self.hits("SQLite's write") else int(write(file, data, size, offset))

        def failing_truncate(file: int, size: int) -> int:
            return self.code(IOERR_TRUNCATE) if self.hits("SQLite's truncation") else int(truncate(file, size))

        def failing_sync(file: int, flags: int) -> int:
            return self.code(IOERR_FSYNC) if self.hits("SQLite's sync") else int(sync(file, flags))

        for name, made in (
            ("write", Write(failing_write)),
            ("truncate", Truncate(failing_truncate)),
            ("sync", Sync(failing_sync)),
        ):
            setattr(copy, name, ctypes.cast(made, c_void_p))
            self._kept.append(made)
        return copy


def numbers(calls: list[str], error: int, count: int) -> list[int]:
    """Return the numbers of `count` of these calls, spread evenly; 0: of all that can fail in a way of their own with this error."""
    chosen = [at for at, call in enumerate(calls, 1) if error == errno.EIO or call not in SAME]
    return chosen[:: max(1, len(chosen) // count) if count else 1]


@contextmanager
def faulty_disk() -> Iterator[Faults]:
    """Make the disk one that can fail; skip the test where SQLite is a part of Python that ctypes does not reach."""
    library = ctypes.CDLL(_sqlite3.__file__)
    if not hasattr(library, "sqlite3_vfs_find"):
        pytest.skip("SQLite is not reached through ctypes here")
    library.sqlite3_vfs_find.restype = POINTER(Vfs)
    faults = Faults()
    usual = library.sqlite3_vfs_find(None)
    copy = Vfs.from_buffer_copy(usual.contents)
    copy.name = b"faulty"
    copy.next = None
    usual_open = Open(usual.contents.open)

    def open_(_vfs: int, name: int, file: int, flags: int, out: int) -> int:
        code = int(usual_open(ctypes.addressof(usual.contents), name, file, flags, out))
        faults.exchange(file)
        return code

    made = Open(open_)
    copy.open = ctypes.cast(made, c_void_p)
    assert library.sqlite3_vfs_register(ctypes.byref(copy), 1) == OK
    before = {name: getattr(os, name) for name in (*PYTHON, *WRITES)}
    usual_io_open = io.open
    try:
        for name, call in before.items():
            setattr(os, name, (_failing_write if name in WRITES else _failing)(faults, name, call))
        io.open = _opening(faults, usual_io_open)  # pathlib opens files with it
        with closing(sqlite3.connect(":memory:")) as db:
            db.execute("CREATE TEMP TABLE t(x)")
        yield faults
    finally:
        io.open = usual_io_open
        for name, call in before.items():
            setattr(os, name, call)
        assert library.sqlite3_vfs_register(usual, 1) == OK
        library.sqlite3_vfs_unregister(ctypes.byref(copy))


def _failing(faults: Faults, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def failing(*arguments: Any, **options: Any) -> Any:
        if faults.hits(name):
            raise faults.error()
        return call(*arguments, **options)

    return failing


def _failing_write(faults: Faults, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def failing(file: int, data: Any, *position: int) -> int:
        if not faults.hits(name):
            return int(call(file, data, *position))
        if part := faults.taken(data):
            return int(call(file, part, *position))  # write(2): fewer bytes, the next call fails
        raise faults.error()

    return failing


def _opening(faults: Faults, usual: Callable[..., Any]) -> Callable[..., Any]:
    class File(io.FileIO):
        def write(self, data: Any) -> int:
            if faults.hits("write"):
                super().write(faults.taken(data))
                raise faults.error()
            return super().write(data) or 0

    def opening(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        return io.BufferedWriter(File(file, mode)) if mode in ("wb", "ab") else usual(file, mode, *arguments, **options)

    return opening


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Make a folder whose files need no disk, where there is such a place: the faults are made before a disk is asked."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as name:
        yield Path(name)

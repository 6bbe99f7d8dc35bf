"""The files of an outbox.

A segment starts with a line: JSON (`epoch`, `boot`, `first`), a space, its CRC-32 in
hexadecimal. Records follow, little endian:

    u32 length of the payload, u32 CRC-32 of sequence and payload, u64 sequence, payload
"""

import errno
import logging
import os
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import msgspec

log = logging.getLogger(__name__)

HEADER = struct.Struct("<IIQ")
LONGEST_PAYLOAD = 1 << 19  # half of what the broker takes in one message (mosquitto/mosquitto.conf)
LONGEST_HEAD = 4096
HIGH_HALF = b"\0\0\0\0"  # of a sequence; payloads are JSON, which has no such bytes


def packed(sequence: int, payload: bytes) -> bytes:
    """Return one record as a segment holds it; raise ValueError if the payload is too long."""
    if len(payload) > LONGEST_PAYLOAD:
        raise ValueError(f"a frame of {len(payload)} bytes is longer than {LONGEST_PAYLOAD}")
    crc = zlib.crc32(payload, zlib.crc32(sequence.to_bytes(8, "little")))
    return HEADER.pack(len(payload), crc, sequence) + payload


class SegmentRecord(NamedTuple):
    """One frame as it was appended."""

    epoch: str
    sequence: int
    payload: bytes


class _Head(msgspec.Struct):
    epoch: str
    boot: str
    first: int


class Segment:
    """One file: the sequences from `first` up to (not including) `next` of one epoch.

    `size` is where its last whole record ends, `damaged` whether records before that are
    not readable, `done` the first sequence that storage is not known to have, `refused` whether the disk
    has refused to confirm records.
    """

    def __init__(self, path: Path, epoch: str, boot: str, first: int) -> None:
        self.path = path
        self.epoch = epoch
        self.boot = boot
        self.first = first
        self.next = first
        self.done = first
        self.size = 0
        self.damaged = False
        self.refused = False

    @classmethod
    def create(cls, path: Path, epoch: str, boot: str, first: int) -> "Segment":
        """Start a new file; raise OSError if the disk refuses it."""
        segment = cls(path, epoch, boot, first)
        head = msgspec.json.encode(_Head(epoch, boot, first))
        line = b"%b %08x\n" % (head, zlib.crc32(head))
        partial = path.with_suffix(".partial")
        partial.write_bytes(line)
        partial.replace(path)
        segment.size = len(line)
        return segment

    @classmethod
    def load(cls, path: Path) -> "Segment":
        """Read a file from end to end; raise ValueError if it is not a segment, OSError if it cannot be read."""
        with path.open("rb") as file:
            head, _, crc = file.readline(LONGEST_HEAD).rpartition(b" ")
            if crc != b"%08x\n" % zlib.crc32(head):
                raise ValueError("its first line is damaged")
            fields = msgspec.json.decode(head, type=_Head)
            segment = cls(path, fields.epoch, fields.boot, fields.first)
            segment.size = file.tell()
            while record := segment.record(file):
                segment.damaged |= record.sequence != segment.next
                segment.next = record.sequence + 1
                segment.size = file.tell()
        return segment

    def takes(self, sequence: int, most: int) -> bool:
        """Return whether this record follows its last: its end can be read, it has less than `most` bytes, and its file is there."""
        return self.next == sequence and self.size < most and self.path.exists()

    def force(self, file: int) -> None:
        """Force the file, which is open, to the disk; raise OSError if that refuses, FileNotFoundError if the file was removed."""
        self.refused = True
        os.fdatasync(file)
        self.refused = False
        if not self.path.exists():
            raise FileNotFoundError(errno.ENOENT, "removed or moved while it was written", str(self.path))

    def force_refused(self) -> None:
        """Force what the disk has refused to it again, unless storage has it; raise OSError if it refuses or lost records.

        Linux marks what it could not write as written, and reports that once (fsync(2), "Errors", EIO): only what is
        written again is tried again.
        """
        if not self.refused or self.done >= self.next:
            return
        content = self.path.read_bytes()
        readable = Segment.load(self.path)
        if readable.next < self.next or readable.damaged > self.damaged:
            raise OSError(errno.EIO, "records that the disk refused are lost", str(self.path))
        with self.path.open("r+b") as file:
            file.write(content)
            file.flush()
            self.force(file.fileno())

    def delete(self) -> bool:
        """Delete the file, and return whether it is gone; if the disk refuses, that is logged."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s cannot be deleted: %s", self.path, error)
            return False
        return True

    def open(self) -> BufferedReader:
        """Open the file where its records begin; raise OSError if it is gone."""
        file = self.path.open("rb")
        file.readline(LONGEST_HEAD)
        return file

    def record(self, file: BufferedReader) -> SegmentRecord | None:
        """Read the next whole record; None at the end, or if all that follows is torn, damaged or unreadable."""
        try:
            start = file.tell()
            header = file.read(HEADER.size)
            if len(header) == HEADER.size:
                length = int.from_bytes(header[:4], "little")
                if length <= LONGEST_PAYLOAD and (record := self._whole(header + file.read(length), 0)):
                    return record
            file.seek(start)
            rest = file.read()
            position = rest.find(HIGH_HALF)
            while position >= 0:
                if position >= 12 and (record := self._whole(rest, position - 12)):
                    file.seek(start + position - 12 + HEADER.size + len(record.payload))
                    return record
                position = rest.find(HIGH_HALF, position + 1)
        except OSError:
            pass  # a bad sector of the card: what follows counts as damaged
        return None

    def _whole(self, data: bytes, start: int) -> SegmentRecord | None:
        """Return the record that starts there, if one does."""
        length, crc, sequence = HEADER.unpack_from(data, start)
        end = start + HEADER.size + length
        if sequence < self.first or length > LONGEST_PAYLOAD or end > len(data):
            return None
        payload = data[start + HEADER.size : end]
        if zlib.crc32(payload, zlib.crc32(data[start + 8 : start + HEADER.size])) != crc:
            return None
        return SegmentRecord(self.epoch, sequence, payload)

"""The files of an outbox.

A segment starts with a line of JSON (`epoch`, `boot`, `first`) and goes on with records,
little endian:

    u32 length of the payload, u32 CRC-32 of sequence and payload, u64 sequence, payload
"""

import json
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

HEADER = struct.Struct("<IIQ")
LONGEST_PAYLOAD = 1 << 20


def packed(sequence: int, payload: bytes) -> bytes:
    """Return one record as it stands in a segment; raise ValueError if no segment takes one that long."""
    if len(payload) > LONGEST_PAYLOAD:
        raise ValueError(f"a frame of {len(payload)} bytes is longer than {LONGEST_PAYLOAD}")
    crc = zlib.crc32(payload, zlib.crc32(sequence.to_bytes(8, "little")))
    return HEADER.pack(len(payload), crc, sequence) + payload


class Record(NamedTuple):
    """One frame as it was appended."""

    epoch: str
    sequence: int
    payload: bytes


class Segment:
    """One file: the sequences from `first` up to (not including) `next` of one epoch."""

    def __init__(self, path: Path, epoch: str, boot: str, first: int) -> None:
        self.path = path
        self.epoch = epoch
        self.boot = boot
        self.first = first
        self.next = first
        self.size = 0

    @classmethod
    def create(cls, path: Path, epoch: str, boot: str, first: int) -> "Segment":
        """Start a new file; raise OSError if the disk refuses it."""
        segment = cls(path, epoch, boot, first)
        head = json.dumps({"epoch": epoch, "boot": boot, "first": first}).encode() + b"\n"
        partial = path.with_suffix(".partial")
        partial.write_bytes(head)
        partial.replace(path)
        segment.size = len(head)
        return segment

    @classmethod
    def load(cls, path: Path) -> "Segment":
        """Read a file from end to end; raise ValueError if it is not a segment."""
        with path.open("rb") as file:
            line = file.readline(4096)
            head = json.loads(line)
            segment = cls(path, str(head["epoch"]), str(head["boot"]), int(head["first"]))
            segment.size = len(line)
            while record := segment.record(file):
                segment.next = record.sequence + 1
                segment.size += HEADER.size + len(record.payload)
        return segment

    def open(self) -> BufferedReader:
        """Open the file where its records begin; raise OSError if it is gone."""
        file = self.path.open("rb")
        file.readline(4096)
        return file

    def record(self, file: BufferedReader) -> Record | None:
        """Read one record, or None at the end, or at one that is torn or damaged."""
        head = file.read(HEADER.size)
        if len(head) < HEADER.size:
            return None
        length, crc, sequence = HEADER.unpack(head)
        if length > LONGEST_PAYLOAD:
            return None
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[8:])) != crc:
            return None
        return Record(self.epoch, sequence, payload)

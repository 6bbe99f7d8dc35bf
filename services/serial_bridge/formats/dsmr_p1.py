r"""Telegrams of smart meters with a P1 port: DSMR 2.2 to 5, eMUCS (Belgium), and their relatives.

From `/` to `!`, then four digits of CRC-16/ARC over both and what is between; DSMR 2.2 and 3
have none. A line is `1-0:1.8.1(001234.567*kWh)`. Gas, water and heat meters behind it are
devices of their own; values that have the time at which they were read are published once.
Facts: "DSMR P1 Companion Standard" 5.0.2, chapters 5.2 and 6. Encrypted telegrams, as in Luxembourg and Austria, are
recognised, but not read.
"""

import re
from collections.abc import Iterator

from services.serial_bridge.parsing.readings import (
    BlockParser,
    Detection,
    NotAReading,
    ParsedReading,
    Piece,
    StreamSplitter,
)
from services.serial_bridge.protocols import checksums, obis
from services.serial_bridge.protocols.meter_names import MeterNames
from services.serial_bridge.protocols.p1_telegram import Telegram, joined
from services.serial_bridge.source import ParserContext, SourceOptions

BAUD = 115_200
DETECTION = Detection(readings=1, specificity=3)
LONGEST_BYTES = 8192
ENCRYPTED = "an encrypted telegram: it has to be decrypted with the key of the grid operator before it comes here"
_BEGINNING = re.compile(rb"(?=/)")
_END = re.compile(rb"!([0-9A-Fa-f]{4})?[ \t]*\r?\n")
# A frame of DLMS general-glo-ciphering: system title of 8 bytes, length, security control (Green Book 9.2.7.2)
_ENCRYPTED = re.compile(rb"\xdb\x08.{8}\x82(..)[\x10-\x3f]", re.DOTALL)
_ENCRYPTED_HEAD_BYTES = 13  # what the length in it does not count


def splitter(joined_late: bool) -> StreamSplitter:
    """Return the splitter of telegrams."""
    return TelegramSplitter(joined_late=joined_late)


class TelegramSplitter:
    """Splits from `/` to the end of the line with `!`; a wrong checksum is an error, and so is a telegram that was cut off."""

    def __init__(self, *, joined_late: bool = False) -> None:
        self._rest = b""
        self._late = joined_late
        self.dropped = 0

    @property
    def unfinished(self) -> bytes:
        """The telegram that has begun."""
        return self._rest

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the telegrams that end in this part of the stream."""
        self._rest += data
        while True:
            encrypted = _ENCRYPTED.search(self._rest)
            end = _END.search(self._rest, 0, encrypted.start() if encrypted else len(self._rest))
            if end:
                telegram, self._rest = self._rest[: end.end()], self._rest[end.end() :]
                begin = telegram.rfind(b"/", 0, end.start())
                if begin >= 0:
                    yield from self._before(telegram[:begin])
                    yield _checked(telegram[begin:], end[1])
                else:
                    yield from self._cut(telegram, "the beginning of the telegram is missing")
            elif encrypted:
                length = _ENCRYPTED_HEAD_BYTES + int.from_bytes(encrypted[1], "big")
                frame = self._rest[encrypted.start() : encrypted.start() + length]
                if len(frame) < length <= LONGEST_BYTES:
                    return
                before, self._rest = self._rest[: encrypted.start()], self._rest[encrypted.start() + length :]
                yield from self._before(before)
                yield Piece(frame[:200], ENCRYPTED, "encrypted_telegrams", _size(frame))
            else:
                break
            self._late = False
        begin = self._rest.rfind(b"\n/") + 1
        if begin:
            before, self._rest = self._rest[:begin], self._rest[begin:]
            yield from self._before(before)
        if len(self._rest) > LONGEST_BYTES:
            yield Piece(self._rest[:200], "longer than any telegram", "overlong_lines", _size(self._rest))
            self._rest = b""
            self._late = True

    def _before(self, content: bytes) -> Iterator[Piece]:
        """Yield the telegrams that were cut off before another one began; count what is in front of them."""
        for part in _BEGINNING.split(content):
            if part.startswith(b"/"):
                yield from self._cut(part, "the end of the telegram is missing")
            else:
                self.dropped += _size(part)
                self._late = False

    def _cut(self, telegram: bytes, why: str) -> Iterator[Piece]:
        size = _size(telegram)
        if self._late:  # it was being sent while the port was opened
            self.dropped += size
            self._late = False
        else:
            yield Piece(telegram[:200], why, "bad_checksums", size)


def _size(content: bytes) -> int:
    return len(content) - content.count(b"\r") - content.count(b"\n")


def _checked(telegram: bytes, digits: bytes | None) -> Piece:
    covered, size = telegram[: telegram.rindex(b"!") + 1], _size(telegram)
    if digits and checksums.arc(covered) != int(digits, 16):
        return Piece(telegram[:200], "the checksum is wrong", "bad_checksums", size)
    return Piece(covered, size=size)


def parser(source: SourceOptions, context: ParserContext) -> BlockParser:
    """Return the parser of the telegrams of a meter."""
    source.refuse("columns", "pattern", "node_offset")
    channels = obis.MeterChannels(context.describe(source, "smart meter (P1)"))
    names = context.meter_names or MeterNames()

    def parse(block: bytes) -> list[ParsedReading]:
        telegram = Telegram(source.device_name, channels, names)
        for line in joined(block.decode("latin-1")):
            telegram.add(line)
        readings = telegram.readings()
        if not readings:
            raise NotAReading("a telegram without values")
        return readings

    return parse

"""`format = "auto"`: decode with all formats at once until one of them understands, then stay with it."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from services.serial_bridge.formats import FormatModule
from services.serial_bridge.parsing.readings import (
    Decoder,
    NotAReading,
    ParsedPiece,
    ParsedReading,
    StatusLine,
    UnknownNode,
)

log = logging.getLogger(__name__)

MAX_FAILURES = 50  # pieces in a row that the detected format does not understand
REMEMBERED = 100  # readings of formats that may yet turn out to be the right one
UNDETECTED = StatusLine("undetected_pieces")


class Candidate(NamedTuple):
    """A format that may be the right one, and its decoder."""

    format: FormatModule
    decoder: Decoder


class FormatDetector:
    """Decodes one connection whose format is not known; `format` is empty until it is detected.

    The readings by which a format was detected are not lost. When the format does not understand MAX_FAILURES pieces in a
    row, the search begins again.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.format = ""
        self._decoders = {candidate.format.name: candidate.decoder for candidate in candidates}
        self._needed = {one.format.name: one.format.detection.readings for one in candidates if one.format.detection}
        # One candidate counts for all what none understands: those of lines split the stream in the same places.
        self._counting = [candidate.format.name for candidate in candidates if candidate.format.splitter is None][-1]
        self._evidence: dict[str, deque[ParsedPiece]] = {}
        self._failures = 0
        self._begin()

    def feed(self, data: bytes) -> Iterator[ParsedPiece]:
        """Yield the results of the pieces that end here; nothing but status lines until the format is detected."""
        if not self.format:
            yield from self._search(data)
            return
        for piece in self._decoders[self.format].feed(data):
            self._failures = self._failures + 1 if isinstance(piece.result, NotAReading) else 0
            yield piece
        for name, other in self._decoders.items():
            if name != self.format:
                deque(other.feed(data), 0)  # its half lines must be whole when the search begins again
        if self._failures > MAX_FAILURES:
            log.warning("this no longer looks like %s", self.format)
            self._begin()

    @property
    def unfinished(self) -> bytes:
        """The beginning of a piece of the detected format; while there is none, of a line."""
        return self._decoders[self.format or self._counting].unfinished

    def take_dropped(self) -> int:
        """Return how many bytes the detected format dropped since the last call; while there is none, lines did."""
        dropped = {name: decoder.take_dropped() for name, decoder in self._decoders.items()}
        return dropped[self.format or self._counting]

    def _begin(self) -> None:
        self.format = ""
        self._failures = 0
        self._evidence = {name: deque(maxlen=REMEMBERED) for name in self._decoders}

    def _search(self, data: bytes) -> Iterator[ParsedPiece]:
        for name, decoder in self._decoders.items():
            for piece in decoder.feed(data):
                if _is_evidence(piece):
                    self._evidence[name].append(piece)
                elif name == self._counting:
                    yield ParsedPiece(piece.raw, UNDETECTED)
        for name, pieces in self._evidence.items():
            if len(pieces) >= self._needed[name]:
                self.format = name
                yield from pieces
                self._evidence.clear()
                return


def _is_evidence(piece: ParsedPiece) -> bool:
    result = piece.result
    if isinstance(result, ParsedReading):
        return bool(result.values or result.no_sensor)
    if isinstance(result, UnknownNode):
        return piece.raw.startswith(b"OK")
    return bool(result) if isinstance(result, list) else isinstance(result, StatusLine) and bool(result.settings)

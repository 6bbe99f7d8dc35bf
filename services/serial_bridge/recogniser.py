"""`format = "auto"`: listen with all formats at once until one of them understands, then stay with it."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from services.serial_bridge.formats import Kind
from services.serial_bridge.readings import Decoder, Heard, NotAReading, Reading, Remark, UnknownNode

log = logging.getLogger(__name__)

FORGIVEN = 50  # pieces in a row that the format found does not understand
REMEMBERED = 100  # readings of formats that may yet turn out to be the right one
UNDECIDED = Remark("unrecognised_pieces")


class Candidate(NamedTuple):
    """A format that may be the right one, and what decodes it."""

    kind: Kind
    decoder: Decoder


class Recogniser:
    """Decodes one connection whose format is not known; `format` is empty until it is.

    The readings by which a format was recognised are not lost. When the format does not
    understand for FORGIVEN pieces in a row, the search begins again.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.format = ""
        self._candidates = {candidate.kind.name: candidate.decoder for candidate in candidates}
        self._needed = {one.kind.name: one.kind.recognition.readings for one in candidates if one.kind.recognition}
        # One candidate counts for all what nobody understands: those that read lines cut the same ones.
        self._counts = [candidate.kind.name for candidate in candidates if candidate.kind.cutter is None][-1]
        self._heard: dict[str, deque[Heard]] = {}
        self._strange = 0
        self._begin()

    def feed(self, data: bytes) -> Iterator[Heard]:
        """Yield what was said; nothing but remarks until the format is recognised."""
        if not self.format:
            yield from self._search(data)
            return
        for heard in self._candidates[self.format].feed(data):
            self._strange = self._strange + 1 if isinstance(heard.said, NotAReading) else 0
            yield heard
        for name, other in self._candidates.items():
            if name != self.format:
                deque(other.feed(data), 0)  # its half lines must be whole when the search begins again
        if self._strange > FORGIVEN:
            log.warning("this no longer looks like %s", self.format)
            self._begin()

    def _begin(self) -> None:
        self.format = ""
        self._strange = 0
        self._heard = {name: deque(maxlen=REMEMBERED) for name in self._candidates}

    def _search(self, data: bytes) -> Iterator[Heard]:
        for name, candidate in self._candidates.items():
            for heard in candidate.feed(data):
                if _is_evidence(heard):
                    self._heard[name].append(heard)
                elif name == self._counts:
                    yield Heard(heard.raw, UNDECIDED)
        for name, heard_readings in self._heard.items():
            if len(heard_readings) >= self._needed[name]:
                self.format = name
                yield from heard_readings
                self._heard.clear()
                return


def _is_evidence(heard: Heard) -> bool:
    said = heard.said
    if isinstance(said, Reading):
        return bool(said.values or said.no_sensor)
    if isinstance(said, UnknownNode):
        return heard.raw.startswith(b"OK")
    return bool(said) if isinstance(said, list) else isinstance(said, Remark) and bool(said.settings)

"""From the options of a port to what turns its bytes into readings."""

from collections.abc import Callable, Iterator
from typing import Any

from services.serial_bridge import formats
from services.serial_bridge.lines import Lines
from services.serial_bridge.readings import Cutter, Decoder, Heard, NotAReading, Said
from services.serial_bridge.recogniser import Candidate, Recogniser
from services.serial_bridge.source import Context, Source


class Cut:
    """Decodes one connection: a cutter cuts pieces, a parser reads them."""

    def __init__(self, cutter: Cutter, parse: Callable[[Any], Said], *, text: bool) -> None:
        self.cutter = cutter
        self._parse = parse
        self._text = text

    def feed(self, data: bytes) -> Iterator[Heard]:
        """Yield what the pieces that end in this part of the stream say."""
        for piece in self.cutter.feed(data):
            if piece.why:
                yield Heard(piece.data, NotAReading(piece.why, piece.counter))
                continue
            try:
                yield Heard(piece.data, self._parse(piece.data.decode() if self._text else piece.data))
            except UnicodeDecodeError:
                yield Heard(piece.data, NotAReading("not text"))
            except NotAReading as error:
                yield Heard(piece.data, error)

    def reading(self, parse: Callable[[Any], Said]) -> "Cut":
        """Return the same decoder, in the middle of the same line, with another parser."""
        return Cut(self.cutter, parse, text=self._text)


class Plan:
    """How the connections of one port or socket are decoded; the parser is made once for all of them."""

    def __init__(self, source: Source, context: Context) -> None:
        """Raise ValueError if the options do not go together."""
        self.format = source.format
        kinds = formats.recognised() if source.format == formats.AUTO else [formats.load(source.format)]
        self._kinds = [(kind, kind.parser(source, context)) for kind in kinds]

    def parse(self, line: str) -> Said:
        """Return what a line says; raise NotAReading if that is nothing."""
        return self._kinds[0][1](line)

    def decoder(self, *, joined_late: bool, before: Decoder | None = None, same: bool = False) -> Decoder:
        """Return what decodes a connection; with the `same` format as `before`, half a line of that is kept."""
        if same and isinstance(before, Cut):
            return before.reading(self._kinds[0][1])
        cuts = [_cut(kind, parse, joined_late=joined_late) for kind, parse in self._kinds]
        if self.format != formats.AUTO:
            return cuts[0]
        return Recogniser([Candidate(kind, cut) for (kind, _), cut in zip(self._kinds, cuts, strict=True)])


def _cut(kind: formats.Kind, parse: Callable[[Any], Said], *, joined_late: bool) -> Cut:
    cutter = kind.cutter(joined_late) if kind.cutter else Lines(joined_late=joined_late)
    return Cut(cutter, parse, text=kind.cutter is None)

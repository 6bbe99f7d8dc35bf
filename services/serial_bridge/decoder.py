"""Decoders of the streams of ports and sockets, made from the options of a source."""

from collections.abc import Callable, Iterator
from typing import Any

from services.serial_bridge import formats
from services.serial_bridge.detection import Candidate, FormatDetector
from services.serial_bridge.parsing.lines import LineSplitter
from services.serial_bridge.parsing.readings import Decoder, NotAReading, ParsedPiece, ParseResult, StreamSplitter
from services.serial_bridge.source import ParserContext, SourceOptions


class StreamDecoder:
    """Decodes one connection: splits the stream into pieces, and parses them."""

    def __init__(self, splitter: StreamSplitter, parse: Callable[[Any], ParseResult], *, text: bool) -> None:
        self.splitter = splitter
        self._parse = parse
        self._text = text

    def feed(self, data: bytes) -> Iterator[ParsedPiece]:
        """Yield the results of the pieces that end in this part of the stream."""
        for piece in self.splitter.feed(data):
            if piece.error:
                yield ParsedPiece(piece.data, NotAReading(piece.error, piece.counter))
                continue
            try:
                yield ParsedPiece(piece.data, self._parse(piece.data.decode() if self._text else piece.data))
            except UnicodeDecodeError:
                yield ParsedPiece(piece.data, NotAReading("not text"))
            except NotAReading as error:
                yield ParsedPiece(piece.data, error)

    @property
    def unfinished(self) -> bytes:
        """The beginning of a piece that has not ended yet."""
        return self.splitter.unfinished

    def take_dropped(self) -> int:
        """Return how many bytes were dropped since the last call without being a piece."""
        dropped, self.splitter.dropped = self.splitter.dropped, 0
        return dropped

    def with_parser(self, parse: Callable[[Any], ParseResult]) -> "StreamDecoder":
        """Return the same decoder, in the middle of the same line, with another parser."""
        return StreamDecoder(self.splitter, parse, text=self._text)


class DecoderFactory:
    """Makes the decoders of the connections of one port or socket; the parser is made once for all of them."""

    def __init__(self, source: SourceOptions, context: ParserContext) -> None:
        """Raise ValueError if the options do not go together."""
        self.format = source.format
        candidates = formats.detectable() if source.format == formats.AUTO else [formats.load(source.format)]
        self._parsers = [(candidate, candidate.parser(source, context)) for candidate in candidates]

    def parse(self, line: str) -> ParseResult:
        """Return what a line says; raise NotAReading if nothing can be read from it."""
        return self._parsers[0][1](line)

    def decoder(self, *, joined_late: bool, before: Decoder | None = None, same: bool = False) -> Decoder:
        """Return the decoder of a connection; with the `same` format as `before`, half a line of that is kept."""
        if same and isinstance(before, StreamDecoder):
            return before.with_parser(self._parsers[0][1])
        decoders = [_stream_decoder(one, parse, joined_late=joined_late) for one, parse in self._parsers]
        if self.format != formats.AUTO:
            return decoders[0]
        return FormatDetector(
            [Candidate(one, decoder) for (one, _), decoder in zip(self._parsers, decoders, strict=True)]
        )


def _stream_decoder(
    one: formats.FormatModule, parse: Callable[[Any], ParseResult], *, joined_late: bool
) -> StreamDecoder:
    splitter = one.splitter(joined_late) if one.splitter else LineSplitter(joined_late=joined_late)
    return StreamDecoder(splitter, parse, text=one.splitter is None)

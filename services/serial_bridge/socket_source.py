"""One TCP port that clients send lines to; each has its own buffer."""

import hmac

from heliograph.service import Service
from services.serial_bridge.decoder import DecoderFactory, StreamDecoder
from services.serial_bridge.intake import SerialIntake
from services.serial_bridge.options import SocketOptions
from services.serial_bridge.parsing import named_values
from services.serial_bridge.parsing.lines import LineSplitter
from services.serial_bridge.parsing.readings import (
    Decoder,
    NotAReading,
    ParsedPiece,
    ParsedReading,
    StatusLine,
    StreamSplitter,
)
from services.serial_bridge.source import ParserContext
from services.serial_bridge.tcp_server import TcpServer, file_limit

MAX_DEVICES = 20_000


class SocketSource:
    """Listens on one TCP port, and publishes the readings of its clients."""

    def __init__(self, options: SocketOptions, context: ParserContext, service: Service, intake: SerialIntake) -> None:
        self._intake = intake
        self._options = options
        self._decoders = DecoderFactory(options, context)
        self.generation = 0
        self._server = TcpServer(
            options.name,
            (options.host, options.port),
            lambda _address: SocketClient(self),
            idle_timeout=options.idle_timeout,
            max_clients=min(options.max_clients, file_limit()),
            count=service.count,
        )

    @property
    def options(self) -> SocketOptions:
        """The current options."""
        return self._options

    def start(self) -> None:
        """Start the thread."""
        self._server.start()

    def stop(self) -> None:
        """Tell the thread to end."""
        self._server.stop()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread; publish that the devices are offline."""
        self._server.join(seconds)
        self._intake.offline()

    def change(self, options: SocketOptions, context: ParserContext) -> None:
        """Continue with other options at the same address and format: clients stay connected, half lines are kept."""
        self._options, self._decoders = options, DecoderFactory(options, context)
        self._server.idle_timeout = options.idle_timeout
        self._server.max_clients = min(options.max_clients, file_limit())
        self.generation += 1

    def facts(self) -> dict[str, object]:
        """Return the state of the socket, for the status."""
        facts: dict[str, object] = {
            "port": f"{self._options.host}:{self._options.port}",
            "open": self._server.listening,
            "clients": self._server.connected,
            **self._intake.facts(),
        }
        if self._server.error:
            facts["error"] = self._server.error
        return facts

    def decoder(self, before: Decoder | None) -> Decoder:
        """Return the decoder of a client under the current options, which continues in the middle of the same line."""
        decoders, options = self._decoders, self._options
        if options.key or options.timestamped:
            splitter: StreamSplitter = before.splitter if isinstance(before, StreamDecoder) else LineSplitter()
            return StreamDecoder(splitter, lambda line: enveloped(line, decoders, options), text=True)
        return decoders.decoder(joined_late=False, before=before, same=before is not None)

    def accept(self, piece: ParsedPiece) -> None:
        """Publish the readings of a client; a line that may have a key in it is not shown."""
        if self._options.key and not isinstance(piece.result, ParsedReading):
            piece = piece._replace(raw=_masked(piece.raw))
        self._intake.accept(piece)

    def dropped(self, count: int) -> None:
        """Count bytes of a client that were dropped without being a line."""
        self._intake.dropped(count)

    def unfinished(self, rest: bytes) -> None:
        """Set half a line aside: its end may be missing."""
        shown = _masked(rest) if self._options.key else rest
        self._intake.refuse("the client disconnected in the middle of a line", shown, "unfinished_lines")


class SocketClient:
    """One client, and the beginning of the line that it is sending."""

    __slots__ = ("_decoder", "_generation", "_source")

    def __init__(self, source: SocketSource) -> None:
        self._source = source
        self._generation = source.generation
        self._decoder: Decoder | None = None  # most of those that are silent never need one

    def feed(self, data: bytes) -> None:
        """Decode what the client sent."""
        if self._decoder is None or self._generation != self._source.generation:
            self._generation = self._source.generation
            self._decoder = self._source.decoder(self._decoder)
        for piece in self._decoder.feed(data):
            self._source.accept(piece)
        self._source.dropped(self._decoder.take_dropped())

    def ended(self) -> None:
        """Set aside the line or telegram that the client did not finish."""
        if self._decoder is not None and (rest := self._decoder.unfinished.strip()):
            self._source.unfinished(rest)


def enveloped(line: str, decoders: DecoderFactory, options: SocketOptions) -> ParsedReading | StatusLine:
    """Return the reading of a line with a key or a time: `[time] values…`, the key anywhere as a word; raise NotAReading."""
    words = line.strip().split(" ")
    if options.key:
        indexes = [index for index, word in enumerate(words) if _is_key(word, options.key)]
        if not indexes:
            raise NotAReading("the key is missing", "wrong_keys")
        del words[indexes[0]]
    at = None
    if options.timestamped:
        at = named_values.written_timestamp(words.pop(0) if words else "")
    result = decoders.parse(" ".join(words))
    if isinstance(result, list):
        raise NotAReading("several readings in one line")
    return result if at is None or isinstance(result, StatusLine) else result._replace(at=at)


def _is_key(word: str, key: str) -> bool:
    return hmac.compare_digest(word.encode("utf-8", "replace"), key.encode())


def _masked(line: bytes) -> bytes:
    """Return the length of a line: a wrong key in it may be nearly the right one."""
    return f"{len(line)} bytes".encode()

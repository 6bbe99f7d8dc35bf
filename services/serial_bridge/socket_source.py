"""One TCP port that clients send lines to; each has its own buffer."""

import hmac

from heliograph.service import Service
from services.serial_bridge import named_values
from services.serial_bridge.decoding import Cut, Plan
from services.serial_bridge.intake import Intake
from services.serial_bridge.lines import Lines
from services.serial_bridge.options import Socket
from services.serial_bridge.readings import Cutter, Decoder, Heard, NotAReading, Reading, Remark
from services.serial_bridge.server import Server, file_limit
from services.serial_bridge.source import Context

MOST_DEVICES = 20_000


class SocketSource:
    """Listens on one TCP port for ever, and publishes what its clients say."""

    def __init__(self, options: Socket, context: Context, service: Service, intake: Intake) -> None:
        self._intake = intake
        self._options = options
        self._plan = Plan(options, context)
        self.generation = 0
        self._server = Server(
            options.name,
            (options.host, options.port),
            lambda _address: Client(self),
            idle=options.idle,
            clients=min(options.clients, file_limit()),
            count=service.count,
        )

    @property
    def options(self) -> Socket:
        """The options that are in force."""
        return self._options

    def start(self) -> None:
        """Begin to listen."""
        self._server.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._server.stop()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread; nobody reads its devices then."""
        self._server.join(seconds)
        self._intake.offline()

    def change(self, options: Socket, context: Context) -> None:
        """Go on with other options at the same address and format: clients stay connected, half lines stay."""
        self._options, self._plan = options, Plan(options, context)
        self._server.idle = options.idle
        self._server.clients = min(options.clients, file_limit())
        self.generation += 1

    def facts(self) -> dict[str, object]:
        """Return how the socket is, for the status."""
        facts: dict[str, object] = {
            "port": f"{self._options.host}:{self._options.port}",
            "open": self._server.listening,
            "clients": self._server.connected,
            **self._intake.facts(),
        }
        if self._server.trouble:
            facts["trouble"] = self._server.trouble
        return facts

    def decoder(self, before: Decoder | None) -> Decoder:
        """Return what decodes a client by the options of now, going on in the middle of the same line."""
        plan, options = self._plan, self._options
        if options.key or options.timestamped:
            cutter: Cutter = before.cutter if isinstance(before, Cut) else Lines()
            return Cut(cutter, lambda line: enveloped(line, plan, options), text=True)
        return plan.decoder(joined_late=False, before=before, same=before is not None)

    def take(self, heard: Heard) -> None:
        """Publish what a client said; what a line with a key in it was is not shown."""
        if self._options.key and not isinstance(heard.said, Reading):
            heard = heard._replace(raw=_masked(heard.raw))
        self._intake.take(heard)

    def unfinished(self, rest: bytes) -> None:
        """Set half a line aside: its end may be missing."""
        shown = _masked(rest) if self._options.key else rest
        self._intake.refuse("the client left in the middle of a line", shown, "unfinished_lines")


class Client:
    """One client and what it has sent of a line so far."""

    __slots__ = ("_decoder", "_generation", "_source")

    def __init__(self, source: SocketSource) -> None:
        self._source = source
        self._generation = source.generation
        self._decoder: Decoder | None = None  # most of those that are silent never need one

    def feed(self, data: bytes) -> None:
        """Take in what the client sent."""
        if self._decoder is None or self._generation != self._source.generation:
            self._generation = self._source.generation
            self._decoder = self._source.decoder(self._decoder)
        for heard in self._decoder.feed(data):
            self._source.take(heard)

    def ended(self) -> None:
        """The client is gone."""
        if isinstance(self._decoder, Cut) and isinstance(self._decoder.cutter, Lines):
            rest = self._decoder.cutter.unfinished
            if rest:
                self._source.unfinished(rest)


def enveloped(line: str, plan: Plan, options: Socket) -> Reading | Remark:
    """Return what a line with a key or a time says: `[time] values…`, the key anywhere as a word; raise NotAReading."""
    words = line.strip().split(" ")
    if options.key:
        places = [place for place, word in enumerate(words) if _is_key(word, options.key)]
        if not places:
            raise NotAReading("the key is not in it", "wrong_keys")
        del words[places[0]]
    at = None
    if options.timestamped:
        at = named_values.written_moment(words.pop(0) if words else "")
    said = plan.parse(" ".join(words))
    if isinstance(said, list):
        raise NotAReading("several readings in one line")
    return said if at is None or isinstance(said, Remark) else said._replace(at=at)


def _is_key(word: str, key: str) -> bool:
    return hmac.compare_digest(word.encode("utf-8", "replace"), key.encode())


def _masked(line: bytes) -> bytes:
    """Return how long a line was: a wrong key in it may be nearly the right one."""
    return f"{len(line)} bytes".encode()

"""The target: messages for rows; MQTT 5 reports why a broker refuses one."""

import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, Literal, NamedTuple

import msgspec

from heliograph import tls
from heliograph.messages import Value
from services.uploader import templates
from services.uploader.options import Secret, TargetOptions
from services.uploader.target import Answer, Limits, MappedChannel, Refused, Row, TargetContext, TryLater, interrupted
from services.uploader.targets.mqtt.session import BrokerSession, RetryVerdict
from services.uploader.targets.shared.numbers import number

MOST_ROWS = 500
TOPIC_FIELDS = ("node", "device", "channel", "name", "unit")
TOPIC_BYTES = 65_535
WILDCARDS = re.compile(r"[+#\x00]")


class Options(TargetOptions, tls.BrokerOptions, frozen=True, tag="mqtt", kw_only=True):
    """A target of kind "mqtt"; with the formats "json" and "values" all values of a row with the same topic are one message."""

    host: str
    port: int = 0
    version: Literal["3.1.1", "5"] = "5"
    user: str = ""
    password: Secret = ""
    client_id: str = ""
    tls: bool = False
    ca: str = ""
    certificate: str = ""
    certificate_key: str = ""
    topic: str = "$node/$device/$name"
    format: Literal["value", "values", "json"] = "value"
    payload: str = "${value}"
    retain: bool = False

    RENAMED: ClassVar[Mapping[str, str]] = {"client": "client_id"}

    def __post_init__(self) -> None:
        """Refuse impossible brokers and topics, and certificates that cannot be read."""
        super().__post_init__()
        if not self.host or "/" in self.host or "@" in self.host:
            raise ValueError("host: expected a name or an address alone")
        if not 0 <= self.port < 65_536:
            raise ValueError(f"port: {self.port} is not between 1 and 65535")
        if self.password and not self.user:
            raise ValueError("user: is empty, but there is a password")
        if self.certificate_key and not self.certificate:
            raise ValueError("certificate: is empty, but there is a key for it")
        templates.check("topic", self.topic, TOPIC_FIELDS if self.format == "value" else TOPIC_FIELDS[:2])
        if not self.topic or WILDCARDS.search(self.topic):
            raise ValueError(f"topic: {self.topic!r} is not a topic to publish to")
        templates.check("payload", self.payload, (*TOPIC_FIELDS, "value", "time"))
        self.context()

    def context(self) -> ssl.SSLContext | None:
        """Return how the connection is encrypted, None if it is not; raise ValueError if a file is unusable."""
        return tls.context(self.ca, self.certificate, self.certificate_key) if self.encrypted else None

    def open(self, context: TargetContext) -> "MqttTarget":
        """Return the target."""
        return MqttTarget(self, context)


class Publication(NamedTuple):
    """What is published."""

    topic: str
    payload: bytes


class MqttTarget:
    """Publishes rows; a message may come twice when a connection breaks, none is left out."""

    def __init__(self, options: Options, context: TargetContext) -> None:
        """Remember where to; the first upload connects."""
        self.limits = Limits(rows=MOST_ROWS, overwrites=False)
        self._options = options
        self._client = options.client_id or f"heliograph-{context.node}-{options.name}"
        self._context = context
        self._empty: dict[str, dict[str, Value]] = {}
        self._session: BrokerSession | None = None

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Publish all rows and wait until each message is acknowledged."""
        self._empty = self._empty_messages() if self._options.format == "values" else {}
        wrong: dict[int, str] = {}
        owners: list[int] = []
        messages: list[Publication] = []
        for index, row in enumerate(rows):
            try:
                made = list(self._messages(row))
            except ValueError as error:
                wrong[index] = str(error)
                continue
            messages += made
            owners += [index] * len(made)
        result = self._connected().publish(messages, retain=self._options.retain) if messages else None
        if result is not None:
            wrong.update(
                {owners[at]: reason for at, (verdict, reason) in result.bad.items() if verdict is RetryVerdict.NEVER}
            )
            later = [owners[at] for at, (verdict, _) in result.bad.items() if verdict is RetryVerdict.LATER]
            if result.broken:
                self.close()
            if later:
                # what the broker refused for good is refused again next time; a reason that it gave explains a broken
                # connection, not the other way round
                reasons = [reason for verdict, reason in result.bad.values() if verdict is RetryVerdict.LATER]
                reason = next((reason for reason in reasons if reason != result.broken), result.broken or reasons[0])
                raise interrupted(TryLater(reason), min(later), wrong)
        if wrong:
            raise Refused(next(iter(wrong.values())), wrong)
        return Answer(f"{len(messages)} messages acknowledged")

    def close(self) -> None:
        """Disconnect."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _connected(self) -> BrokerSession:
        if self._session is not None and not self._session.is_up():
            self.close()
        if self._session is None:
            options = self._options
            self._session = BrokerSession(
                options.address,
                self._client,
                options.version,
                options.context(),
                timeout=options.timeout,
                acknowledgement_timeout=options.timeout,
            ).entered(options.user, options.password)
        return self._session

    def _messages(self, row: Row) -> Iterator[Publication]:
        """Yield what is published for a row; raise ValueError for what is not a number or not a topic."""
        if self._options.format != "value":
            bodies: dict[str, dict[str, Value]] = {}
            for mapped in row.channels:
                bodies.setdefault(topic := self._topic(mapped), dict(self._empty.get(topic, {})))
            for mapped, value in zip(row.channels, row.values, strict=True):
                bodies[self._topic(mapped)][mapped.name] = (
                    value if isinstance(value, str | bool) else number(value) or 0
                )
            for topic, body in bodies.items():
                if self._options.format == "json":
                    yield Publication(topic, msgspec.json.encode({"time": number(row.time), **body}))
                else:
                    texts = (one if isinstance(one, str) else f"{number(one)}" for one in body.values())
                    yield Publication(topic, ",".join(texts).encode())
            return
        for mapped, value in zip(row.channels, row.values, strict=True):
            converted = value if isinstance(value, str) else number(value)
            values = {**_fields_of(mapped), "value": converted, "time": number(row.time)}
            yield Publication(self._topic(mapped), templates.filled(self._options.payload, values).encode())

    def _empty_messages(self) -> dict[str, dict[str, Value]]:
        """Return, by topic, an empty text for each of its channels, in their order: a value that is missing leaves its place."""
        empty: dict[str, dict[str, Value]] = {}
        for mapped in self._context.channels():
            with suppress(ValueError):  # of a topic that cannot be: its rows are refused
                empty.setdefault(self._topic(mapped), {})[mapped.name] = ""
        return empty

    def _topic(self, mapped: MappedChannel) -> str:
        topic = templates.filled(self._options.topic, _fields_of(mapped))
        if not topic or WILDCARDS.search(topic) or len(topic.encode()) > TOPIC_BYTES:
            raise ValueError(f"{topic[:100]!r} is not a topic to publish to")
        return topic


def _fields_of(mapped: MappedChannel) -> dict[str, str]:
    node, device, channel, unit, _, name = mapped
    return {"node": node, "device": device, "channel": channel, "name": name, "unit": unit}

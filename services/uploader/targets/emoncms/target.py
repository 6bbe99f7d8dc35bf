"""The target: bulks of inputs, and what the answers mean for rows."""

import re
import zlib
from collections.abc import Sequence
from time import time
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

import msgspec

from services.uploader import templates
from services.uploader.options import CHANNEL_FIELDS, Secret, TargetOptions, check_url
from services.uploader.target import Answer, Limits, Refused, Row, TargetContext, TryLater
from services.uploader.targets.emoncms.bulk import BulkItems
from services.uploader.targets.shared import http_status
from services.uploader.targets.shared.http_client import FORM, HttpClient, HttpResponse

MOST_ROWS = 1_000  # in a bulk, as emonHub sends them
READABLE = '[]{}",:'  # what a form need not escape
TO_BE_MENDED = re.compile(r"maximal|ignored|not initialized|not belong|limit|quota|disabled", re.IGNORECASE)
MENDING_SECONDS = 300.0  # until what a person has to change there is tried again
ABOUT_THE_KEY = re.compile(r"api ?key|authent|authoris|authoriz|signature|hmac|permission|user", re.IGNORECASE)


class Options(TargetOptions, frozen=True, tag="emoncms", kw_only=True):
    """A target of kind "emoncms"; `userid` turns on IoTaWatt's encryption for servers without TLS."""

    url: str = "https://emoncms.org"
    key: Secret
    userid: str = ""
    node: str = "${device}"
    times: Literal["absolute", "sentat"] = "absolute"
    compress: bool = False
    ca: str = ""

    LIVE_FIRST = False

    def __post_init__(self) -> None:
        """Refuse options that no Emoncms takes."""
        super().__post_init__()
        check_url("url", self.url)
        if not re.fullmatch(r"[0-9A-Za-z]{32}", self.key):
            raise ValueError("key: a write key of Emoncms has 32 letters and digits; see My Account at Emoncms")
        if self.userid and not re.fullmatch(r"[0-9]+", self.userid):
            raise ValueError(f"userid: expected a number, found {self.userid!r}")
        if self.userid and not re.fullmatch(r"[0-9A-Fa-f]{32}", self.key):
            raise ValueError("userid: without TLS the key has to be hexadecimal, as Emoncms makes it")
        if self.userid and (self.compress or self.times == "sentat"):
            raise ValueError("userid: compress and sentat are not possible together with encryption")
        if not self.node:
            raise ValueError("node: is empty")
        templates.check("node", self.node, CHANNEL_FIELDS)

    def open(self, context: TargetContext) -> "Emoncms":
        """Return the target."""
        return Emoncms(self, context)


class _Input(msgspec.Struct):
    time: float | Annotated[str, msgspec.Meta(pattern="^[0-9]{1,15}$")] | None


class Emoncms:
    """Posts rows to input/bulk; every answer but `ok`, whatever its status, is an error."""

    def __init__(self, options: Options, context: TargetContext) -> None:
        """Import the library for encryption only if it is needed."""
        self.limits = Limits(rows=MOST_ROWS, ordered=True)
        self._options = options
        self._context = context
        self._url = options.url.rstrip("/")
        self._web = HttpClient(options.timeout, options.ca, context.while_waiting)
        self._items = BulkItems(options.node)
        self._sent = 0
        if options.userid:
            from services.uploader.targets.emoncms.encryption import (
                Encryption,
            )  # its library takes memory that few targets need

            self._envelope: Encryption | None = Encryption(options.key, options.userid)
        else:
            self._envelope = None

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Send all rows in one bulk. Rows with values that are not numbers are refused, the others are stored."""
        wrong: dict[int, str] = {}
        good: list[Row] = []
        for index, row in enumerate(rows):
            if reason := self._items.mistake(row):
                wrong[index] = reason
            else:
                good.append(row)
        first = int(good[0].time) if good else 0
        base = 0 if self._options.times == "sentat" else min(self._sent or first, first)
        items = [item for row in good for item in self._items.of(row, base)]
        if items:
            self._send(items, base)
            self._sent = int(good[-1].time)
        if wrong:
            raise Refused(next(iter(wrong.values())), wrong)
        return Answer("ok")

    def newest(self) -> float | None:
        """Return the latest time among the inputs that this target writes to."""
        times = self.newest_by_device()
        return max(times.values(), default=None)

    def newest_by_device(self) -> dict[str, float]:
        """Return the latest time among the inputs of each device that has any there."""
        if self._envelope and self._url.startswith("http:"):
            return {}  # the query would show the key on the network
        inputs: dict[str, dict[str, int]] = {}
        newest: dict[str, float] = {}
        for mapped in self._context.channels():
            node = self._items.node(mapped)
            if node not in inputs:
                inputs[node] = self._inputs_of(node)
            if moment := inputs[node].get(_stripped(mapped.name), 0):
                device = f"{mapped.node}/{mapped.device}"
                newest[device] = max(newest.get(device, 0.0), float(moment))
        self._sent = round(max(newest.values(), default=self._sent))
        return newest

    @property
    def last_answer(self) -> str:
        """Return the last answer of the server."""
        return self._web.last_answer

    def close(self) -> None:
        """Close the connection."""
        self._web.close()

    def _inputs_of(self, node: str) -> dict[str, int]:
        """Return the times of the inputs of a node by their names there; raise TryLater if it does not list them."""
        bearer = {"Authorization": f"Bearer {self._options.key}"}
        response = self._web.request("GET", f"{self._url}/input/get?{urlencode({'node': node})}", b"", bearer)
        http_status.check_answered(response)
        try:
            listed = msgspec.json.decode(response.body, type=dict[str, _Input] | list[_Input] | str)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            listed = "not a list"
        if isinstance(listed, list):
            listed = {str(number): one for number, one in enumerate(listed)}  # so PHP writes inputs called 0, 1, …
        if isinstance(listed, dict):
            return {_stripped(name): int(one.time or 0) for name, one in listed.items()}
        if listed and "Node does not exist" not in listed:
            raise TryLater(f"it did not list its inputs: {response.summary()}")
        return {}

    def _send(self, items: list[list[object]], base: int) -> None:
        data = msgspec.json.encode(items)
        query = {"time": str(base)} if self._options.times == "absolute" else {"sentat": str(int(time()))}
        bulk = f"{self._url}/input/bulk"
        if self._envelope:
            sealed = self._envelope.seal(urlencode(query).encode() + b"&data=" + data)  # which Emoncms does not decode
            self._judge(self._web.request("POST", bulk, sealed.body, sealed.headers), sealed.expected)
            return
        headers = {"Authorization": f"Bearer {self._options.key}"}
        packed = zlib.compress(data) if self._options.compress else data
        if len(packed) < len(data):
            response = self._web.request("POST", f"{bulk}?{urlencode({**query, 'cb': '1'})}", packed, headers)
        else:
            form = f"{urlencode(query)}&data={quote(data, safe=READABLE)}".encode()
            response = self._web.request("POST", bulk, form, {**headers, "Content-Type": FORM})
        self._judge(response, b"ok")

    def _judge(self, response: HttpResponse, expected: bytes) -> None:
        """Accept the expected answer only: Emoncms reports errors with status 200.

        A bulk stops at its first error, having stored what came before it, without saying which row it was.
        """
        http_status.check(response)
        if response.body == expected:
            return
        text = response.body.decode("utf-8", "replace")
        if re.search(r'"success"\s*:\s*false', text) and not ABOUT_THE_KEY.search(text):
            if TO_BE_MENDED.search(text):
                raise TryLater(f"{response.summary()} (change it at Emoncms, or the nodes here)", after=MENDING_SECONDS)
            raise Refused(response.summary())
        if not response.body:
            raise TryLater("an empty answer: check the key and url", after=response.after)
        raise TryLater(f"not ok: {response.summary()}", after=response.after)


def _stripped(name: str) -> str:
    """Return what Emoncms leaves of the name of an input, as far as two names differ by it."""
    return "".join(filter(str.isalnum, name)).casefold()

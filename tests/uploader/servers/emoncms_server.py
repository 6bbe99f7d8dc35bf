"""Emoncms' input API, as its source has it (Modules/input, param.php): errors with status 200, bulk item by item.

Compared with: Emoncms 11.16.8 (PHP 8.2.36, MariaDB 10.11.19, Redis 7.0.15) on 2026-11-30, by test_emoncms_cases.py.

Two things are not Emoncms': `out_of_order` counts items that are older than the newest of their input, which feeds of
emoncms.org would not take, and values in `poison` are answered with an error.
"""

import hashlib
import hmac
import json
import re
import time
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from tests.uploader.servers.web_server import Request, Response, WebServer

KEY = "0123456789abcdef0123456789abcdef"
USER = "1234"
FORMAT_ERROR = "Format error, json string supplied is not valid"
NO_DATA = "Format error, last item in bulk data does not contain any data"
FATAL = Response(200, "<br />\n<b>Fatal error</b>:  Uncaught TypeError: count(): Argument #1 must be of type Countable")


class FatalError(Exception):
    """PHP's: the answer is a page with status 200."""


class EmoncmsServer(WebServer):
    key, user = KEY, USER

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0  # seconds of the server's clock
        self.stored: dict[tuple[str, str], dict[int, float]] = {}  # of each input, in the order of arrival
        self.accepted: list[tuple[int, str, dict[str, float]]] = []
        self.out_of_order = 0
        self.poison: set[float] = set()
        self.most_nodes = 32  # max_node_id_limit

    def allow_nodes(self, most: int) -> None:
        self.most_nodes = most

    def record(self, node: str, *names: str) -> None:
        """Keep all values of inputs: it does so with all."""

    def points(self, node: str, name: str) -> dict[int, float]:
        return self.stored[node, name]

    def answer(self, request: Request) -> Response:
        try:
            if request.path == "/input/get":
                return self._get(request)
            if request.path == "/input/post.json":
                return self._post(request)
            if request.path == "/input/bulk" and request.method == "POST":
                return self._bulk(request)
        except FatalError:
            return FATAL
        return Response(404, "Not values")

    def _get(self, request: Request) -> Response:
        if not request.headers.get("authorization"):
            return Response(200, "<!doctype html>\n<title>Emoncms - user login</title>")
        if refused := self._unauthorized(request):
            return refused
        node = kept(request.query["node"])
        inputs = {name: rows for (of, name), rows in self.stored.items() if of == node}
        if not inputs:
            return Response(200, '"Node does not exist"')
        form: Any = {}
        for name, rows in inputs.items():
            last = next(reversed(rows))
            whole = int(rows[last]) if float(rows[last]).is_integer() else rows[last]
            form[name] = {"time": last, "value": whole, "processList": ""}
        if list(form) == [str(number) for number in range(len(form))]:
            form = list(form.values())  # what an array with these keys is to PHP
        return Response(200, json.dumps(form, separators=(",", ":")))

    def _unauthorized(self, request: Request) -> Response | None:
        given = request.query.get("apikey") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if not given:
            return Response(200, "")
        return None if given == KEY else Response(401, "Invalid API key")

    def _post(self, request: Request) -> Response:
        if refused := self._unauthorized(request):
            return refused
        pairs = re.sub(r"[^\w\s.:,-]", "", request.query["json"]).split(",")
        values: dict[str, float] = {}
        for position, pair in enumerate(pairs, 1):
            name, value = pair.split(":")[:2] if ":" in pair else (str(position), pair)
            if value != "null" and not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", value, re.IGNORECASE):
                what = "json value" if ":" in pair else "csv value"
                return error(f"Format error{',' if ':' in pair else ':'} {what} is not numeric")
            values[name] = php_number(value)
        why = self._take(whole(request.query["time"]), kept(request.query["node"]) or "0", values)
        return error(why) if why else Response(200, "ok")

    def _bulk(self, request: Request) -> Response:
        expected = "ok"
        if request.headers.get("content-type") == "aes128cbc":
            user, _, signature = request.headers["authorization"].partition(":")
            if user != USER:
                return Response(200, "User not found")
            plain = self._opened(request.body, signature)
            if plain is None:
                return Response(200, "invalid data")
            # nothing is decoded: not %20, not +
            parts = [part.split("=") for part in plain.decode().split("&")]
            form = {part[0]: part[1] for part in parts if len(part) == 2}
            expected = urlsafe_b64encode(hashlib.sha256(plain).digest()).decode()
        else:
            if refused := self._unauthorized(request):
                return refused
            if "cb" in request.query:
                form = {**request.query, "data": zlib.decompress(request.body).decode()}
            else:
                form = {name: without_slashes(text) for name, text in {**request.query, **request.form()}.items()}
        why = self._items(form)
        return error(why) if why else Response(200, expected)

    def _items(self, form: dict[str, str]) -> str:
        try:
            items = json.loads(form.get("data", ""), parse_constant=lambda _: 1 / 0)
        except (ValueError, ZeroDivisionError):
            return FORMAT_ERROR
        if not items and items != {}:
            return FORMAT_ERROR
        if not isinstance(items, list):
            raise FatalError
        if not isinstance(items[-1], list) or not items[-1]:
            return NO_DATA
        reference = self._reference(form, items)
        for item in items:
            if why := self._item(item, reference):
                return why
        return ""

    def _reference(self, form: dict[str, str], items: list[Any]) -> int:
        now = int(time.time() + self.ahead)
        for name, base in (("sentat", now), ("offset", now)):
            if name in form:
                return base - whole(form[name])
        return whole(form["time"]) if "time" in form else now - whole(items[-1][0])

    def _item(self, item: Any, reference: int) -> str:
        if not isinstance(item, list):
            raise FatalError
        if len(item) < 3:
            return ""
        if isinstance(item[1], dict):
            return "Format error, node must not be an object"
        moment, node = reference + whole(item[0]), kept(str(item[1] or 0))
        values: dict[str, float] = {}
        for position, value in enumerate(item[2:], 1):
            if isinstance(value, list):
                raise FatalError
            named = value if isinstance(value, dict) else {str(position): value}
            values |= {kept(name): php_number(one) for name, one in named.items()}
        return self._take(moment, node, values)

    def _take(self, moment: int, node: str, values: dict[str, float]) -> str:
        nodes = {of for of, _ in self.stored}
        if node not in nodes and len(nodes) >= self.most_nodes:
            return (
                f"Error: Reached the maximal allowed number of different NodeIds, limit is {self.most_nodes}. "
                f"Node '{node}' was ignored."
            )
        if self.poison & set(values.values()):
            return "Input in error"
        for name, number in values.items():
            rows = self.stored.setdefault((node, name), {})
            self.out_of_order += bool(rows) and moment < max(rows)
            rows.pop(moment, None)
            rows[moment] = number
        self.accepted.append((moment, node, values))
        return ""

    def _opened(self, body: bytes, signature: str) -> bytes | None:
        key = bytes.fromhex(KEY)
        sealed = urlsafe_b64decode(body)
        decryptor = Cipher(AES(key), CBC(sealed[:16])).decryptor()
        padding = PKCS7(128).unpadder()
        plain = padding.update(decryptor.update(sealed[16:]) + decryptor.finalize()) + padding.finalize()
        return plain if signature == hmac.new(key, plain, hashlib.sha256).hexdigest() else None


def kept(name: str) -> str:
    """What Emoncms leaves of the name of a node or an input."""
    return re.sub(r"[^\w\s.-]", "", name)


def php_number(value: Any) -> float:
    """`(float) $value`: 0 unless the text begins with a number."""
    if isinstance(value, str):
        begins = re.match(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", value, re.IGNORECASE)
        return float(begins[0]) if begins else 0
    return value if isinstance(value, int | float) else float(bool(value))


def whole(value: Any) -> int:
    return int(php_number(value))


def without_slashes(text: str) -> str:
    """PHP's stripslashes, which Emoncms applies to what a form has."""
    return re.sub(r"\\(.?)", r"\1", text, flags=re.DOTALL)


def error(message: str) -> Response:
    quoted = message.replace('"', "'")
    return Response(200, f'{{"success": false, "message": "{quoted}"}}')

"""Emoncms' input API, as its source has it (Modules/input): errors with status 200, bulk item by item.

Compared with: Emoncms 11.16.8 (PHP 8.2, MariaDB 10.11, Redis 7.0).

Stricter than the real one in one thing: an item that is older than the newest of its input is
counted in `out_of_order`, because feeds of emoncms.org would not take it.
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

from tests.uploader.servers.web_server import Request, Response, WebServer, fields

KEY = "0123456789abcdef0123456789abcdef"
USER = "1234"
FORMAT_ERROR = "Format error, json string supplied is not valid"


class EmoncmsServer(WebServer):
    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0  # seconds of the server's clock
        self.stored: dict[tuple[str, str], dict[int, float]] = {}
        self.accepted: list[tuple[int, str, dict[str, float]]] = []
        self.out_of_order = 0
        self.poison: set[float] = set()  # values that the server stumbles over
        self.most_nodes = 32  # max_node_id_limit

    def answer(self, request: Request) -> Response:
        if request.path == "/input/get":
            return self._get(request)
        if request.path == "/input/bulk" and request.method == "POST":
            return self._bulk(request)
        return Response(404, "Not values")

    def _get(self, request: Request) -> Response:
        if refused := self._unauthorized(request):
            return refused
        node = request.query["node"]
        inputs = {name: rows for (of, name), rows in self.stored.items() if of == node}
        if not inputs:
            return Response(200, '"Node does not exist"')
        form = {name: {"time": max(rows), "value": rows[max(rows)], "processList": ""} for name, rows in inputs.items()}
        return Response(200, json.dumps(form, separators=(",", ":")))

    def _unauthorized(self, request: Request) -> Response | None:
        given = request.headers.get("authorization")
        if not given:
            return Response(200, "")
        return None if given == f"Bearer {KEY}" else Response(401, "Invalid API key")

    def _bulk(self, request: Request) -> Response:
        expected = "ok"
        if request.headers.get("content-type") == "aes128cbc":
            plain = self._opened(request)
            if plain is None:
                return Response(200, json.dumps({"success": False, "message": "Invalid signature"}))
            form = fields(plain.decode())
            expected = urlsafe_b64encode(hashlib.sha256(plain).digest()).decode()
        else:
            if refused := self._unauthorized(request):
                return refused
            if request.query.get("cb") == "1":
                form = {**request.query, "data": zlib.decompress(request.body).decode()}
            else:
                form = {**request.query, **request.form()}
        try:
            items = json.loads(form["data"], parse_constant=lambda _: 1 / 0)
        except (ValueError, ZeroDivisionError, KeyError):
            return error(FORMAT_ERROR)
        for item in items:
            if why := self._item(item, self._reference(form, items)):
                return error(why)
        return Response(200, expected)

    def _reference(self, form: dict[str, str], items: list[Any]) -> int:
        now = int(time.time() + self.ahead)
        for name, base in (("sentat", now), ("offset", now)):
            if name in form:
                return base - int(form[name])
        return int(form["time"]) if "time" in form else now - int(items[-1][0])

    def _item(self, item: Any, reference: int) -> str:
        if not isinstance(item, list) or len(item) < 3:
            return FORMAT_ERROR
        moment, node = reference + int(item[0]), str(item[1])
        if not re.fullmatch(r"[\w .:-]+", node):
            return "invalid node name"
        nodes = {of for of, _ in self.stored}
        if node not in nodes and len(nodes) >= self.most_nodes:
            return (
                f"Error: Reached the maximal allowed number of different NodeIds, limit is {self.most_nodes}. "
                f"Node '{node}' was ignored."
            )
        values: dict[str, float] = {}
        for position, value in enumerate(item[2:], 1):
            if value is None or value == "" or value is False:
                value = 0  # since 11.2.13
            named = value if isinstance(value, dict) else {str(position): value}
            for name, number in named.items():
                if isinstance(number, bool) or not isinstance(number, int | float):
                    return FORMAT_ERROR
                values[re.sub(r"[^\w .-]", "", name)] = number
        if self.poison & set(values.values()):
            return "Input in error"
        for name, number in values.items():
            rows = self.stored.setdefault((node, name), {})
            self.out_of_order += bool(rows) and moment < max(rows)
            rows[moment] = number
        self.accepted.append((moment, node, values))
        return ""

    def _opened(self, request: Request) -> bytes | None:
        user, _, signature = request.headers["authorization"].partition(":")
        key = bytes.fromhex(KEY)
        sealed = urlsafe_b64decode(request.body)
        decryptor = Cipher(AES(key), CBC(sealed[:16])).decryptor()
        padding = PKCS7(128).unpadder()
        plain = padding.update(decryptor.update(sealed[16:]) + decryptor.finalize()) + padding.finalize()
        good = user == USER and signature == hmac.new(key, plain, hashlib.sha256).hexdigest()
        return plain if good else None


def error(message: str) -> Response:
    return Response(200, json.dumps({"success": False, "message": message}))

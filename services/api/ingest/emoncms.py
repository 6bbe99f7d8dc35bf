"""The endpoints of emoncms' input API: input/post, input/bulk and input/get.

Responses are emoncms', but an error has a status of its own. emonHub and IoTaWatt repeat a request forever until they
get "ok": so an item or a value that is wrong is set aside, and the others and the request are accepted.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.messages import Value
from heliograph.store.interface import Reader
from services.api import queries
from services.api.errors import Busy, RequestRefused
from services.api.ingest import bulk, encryption, inputs
from services.api.ingest.bodies import inflate
from services.api.ingest.gate import Gate, shown_key
from services.api.ingest.inputs import Inputs
from services.api.ingest.intake import HttpIntake
from services.api.ingest.options import EmoncmsOptions
from services.api.ingest.reports import Report
from services.api.reader_pool import ReaderPool
from services.api.schemas import json_response

KIND = "emoncms"
MOST_PARAMETERS = 100
STORE_SECONDS = 5.0
SHOWN_BYTES = 200
SPELLINGS = ("fulljson", "json", "csv", "data")
DONE = '{"success": true}'  # as emoncms writes it, for senders that compare texts


class FormRequest(NamedTuple):
    """The parameters of a request from its address and its form, and its body unless that is a form."""

    parameters: dict[str, str]
    body: bytes


class EmoncmsInput:
    """Answers clients of emoncms' input API."""

    def __init__(
        self,
        options: EmoncmsOptions,
        gate: Gate,
        intake: HttpIntake,
        store: ReaderPool,
        now: Callable[[], float],
    ) -> None:
        self._options = options
        self._gate = gate
        self._intake = intake
        self._channels = inputs.NumberedChannels(intake.newest_value)
        self._store = store
        self._now = now

    async def post(self, request: Request) -> Response:
        """Accept the inputs of one node."""
        return await self._answered(request, self._accept_one)

    async def bulk(self, request: Request) -> Response:
        """Accept many readings of many nodes."""
        return await self._answered(request, self._accept_many)

    async def get(self, request: Request) -> Response:
        """Return the newest values of a node, so that a client knows where to continue."""
        try:
            key = request.query_params.get("apikey", "")
            if shown_key(request) or key:  # none is needed, but a wrong one is a mistake that its owner should see
                await self._gate.admit(request, key)
            node = request.path_params.get("node") or request.query_params.get("node", "")
            inputs_of_node = await self._newest(node)
            name = request.path_params.get("input")
            return json_response(inputs_of_node if name is None else self._one_of(inputs_of_node, name))
        except RequestRefused as error:
            return _problem(error)

    async def _answered(self, request: Request, accept: Callable[[FormRequest], Awaitable[Response]]) -> Response:
        shown = None
        try:
            self._gate.enter(KIND, request)
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() == encryption.MEDIA_TYPE:
                plain = await self._decrypted(request)
                shown = plain[:SHOWN_BYTES].decode("utf-8", "replace")
                await accept(_parsed(request, plain, is_form=True))
                return PlainTextResponse(encryption.proof(plain))
            form = await self._admitted(request)
            shown = str({name: text for name, text in form.parameters.items() if name != "apikey"})[:SHOWN_BYTES]
            return await accept(form)
        except RequestRefused as error:
            self._gate.refused(KIND, error, shown)
            return _problem(error)

    async def _admitted(self, request: Request) -> FormRequest:
        """Return the parameters of a request with a key, which may be one of them."""
        is_form, key = not request.query_params.get("cb"), request.query_params.get("apikey", "")
        if shown_key(request) or key or request.method == "GET":
            _, body = await self._gate.admitted_body(request, key)
            return _parsed(request, body, is_form=is_form)
        form = _parsed(request, await self._gate.body(request), is_form=is_form)
        await self._gate.admit(request, form.parameters.get("apikey", ""))
        return form

    async def _decrypted(self, request: Request) -> bytes:
        user, _, signature = request.headers.get("authorization", "").partition(":")
        device = self._options.devices.get(user.strip())
        if device is None:
            await self._gate.discard(request)
            raise RequestRefused("no such device: see [api.emoncms.devices]", 401)
        plain = encryption.decrypt(device.key, await self._gate.body(request), signature)
        self._gate.limit_rate(f"device {user.strip()}")
        return plain

    async def _accept_one(self, form: FormRequest) -> Response:
        parameters = form.parameters
        spelling = next((name for name in SPELLINGS if parameters.get(name)), "")
        text = parameters.get(spelling, "")
        moment: object = None
        if spelling == "fulljson":
            read, moment = inputs.fulljson(text)
        elif spelling:
            read = {"json": inputs.loose, "csv": inputs.csv, "data": inputs.data}[spelling](text)
        else:
            raise RequestRefused(f"one of {', '.join(SPELLINGS)} is missing")
        key = inputs.node_key(parameters.get("node") or "0")
        time = _time(parameters.get("time") or moment)
        report = inputs.report(key, read, time, self._options.nodes, self._intake.names)
        if report is None:
            raise RequestRefused(f"{spelling}: no number in it{_first(read)}")
        report = self._channels.numbers(report)
        self._intake.check(report)
        await self._intake.accept([report])
        self._gate.set_aside(KIND, [(f"node {key[:40]}: {why}", text) for why in read.refused])
        return Response(DONE, media_type="application/json") if spelling == "fulljson" else PlainTextResponse("ok")

    async def _accept_many(self, form: FormRequest) -> Response:
        parameters = form.parameters
        if parameters.get("cb"):
            text: str | bytes = inflate(form.body, self._gate.limit)
        elif parameters.get("c"):
            text = inflate(_unhex(parameters.get("data", "")), self._gate.limit)
        elif "data" in parameters:
            text = parameters["data"]
        else:
            raise RequestRefused("data is missing")
        now = self._now() if self._intake.clock_is_right else None
        content = bulk.parse(text, parameters, self._options.nodes, now, self._intake.names)
        valid: list[Report] = []
        for report in map(self._channels.numbers, content.reports):
            try:
                self._intake.check(report)
                valid.append(report)
            except RequestRefused as error:
                # A device of another service: a human has to decide, and the client keeps the readings until then.
                if error.status == 409:
                    raise
                content.refused.append((f"{report.device}: {error.detail}", str(dict(report.values))))
        if valid:
            await self._intake.accept(valid)
        self._gate.set_aside(KIND, content.refused)
        return PlainTextResponse("ok")

    def _one_of(self, inputs_of_node: object, name: str) -> object:
        if not isinstance(inputs_of_node, dict):
            return inputs_of_node
        try:
            channel = name if name in inputs_of_node else self._intake.names.rule.channel(name)
        except ValueError:
            channel = name
        return inputs_of_node.get(channel, "Input does not exist")

    async def _newest(self, node: str) -> object:
        key = inputs.node_key(node)
        device = inputs.device(key, self._options.nodes, self._intake.names.rule)
        known = dict(self._intake.newest(device))
        try:
            stored = await asyncio.wait_for(self._store.run(self._stored(device)), STORE_SECONDS)
        except (StoreAway, StoreDamaged, TimeoutError) as error:
            if not known:
                raise Busy(f"the store does not answer: {error}", 503, STORE_SECONDS) from None
            stored = {}
        for name, (time, value) in stored.items():
            if name not in known or known[name][0] < time:
                known[name] = time, value
        if not known:
            return "Node does not exist"
        return {
            name: {"time": int(time), "value": value, "processList": ""}
            for name, (time, value) in sorted(known.items())
        }

    def _stored(self, device: str) -> Callable[[Reader], dict[str, tuple[float, Value]]]:
        node, until = self._intake.node, self._now() if self._intake.clock_is_right else math.inf

        def ask(reader: Reader) -> dict[str, tuple[float, Value]]:
            series = [one for one in reader.series() if (one.node, one.device) == (node, device)]
            latest = reader.latest([one.id for one in series], until)
            return {one.channel: (latest[one.id].time, latest[one.id].value) for one in series if one.id in latest}

        return ask


def _parsed(request: Request, body: bytes, *, is_form: bool) -> FormRequest:
    parameters = dict(request.query_params)
    if is_form and body:
        try:
            text = body.decode()
            parameters.update(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS))
        except ValueError as error:
            raise RequestRefused(f"the body is not a form: {error}", 400) from None
    if node := request.path_params.get("node"):
        parameters["node"] = node
    return FormRequest(parameters, b"" if is_form else body)


def _time(given: object) -> float | None:
    if given is None or given == "":
        return None
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given
    if isinstance(given, str):
        return queries.time("time", given)
    raise RequestRefused("time: expected seconds or a date")


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise RequestRefused("data: expected hexadecimal digits, because of c=1") from None


def _first(read: Inputs) -> str:
    return f": {read.refused[0]}" if read.refused else ""


def _problem(error: RequestRefused) -> Response:
    response = Response(
        msgspec.json.encode({"success": False, "message": error.detail}), error.status, media_type="application/json"
    )
    response.headers.update(error.headers)
    return response

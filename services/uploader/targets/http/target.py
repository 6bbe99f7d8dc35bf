"""The target: requests made by a recipe, and what the answers mean for rows."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from services.uploader.options import Secret, TargetOptions, check_url
from services.uploader.target import Answer, Limits, Refused, Row, TargetContext, TryLater, interrupted
from services.uploader.targets.http import presets
from services.uploader.targets.http.requests import Composer, Recipe, Send, check
from services.uploader.targets.shared import http_status
from services.uploader.targets.shared.http_client import HttpClient, HttpResponse, basic

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
MOST_ROWS, MOST_ROWS_OF_A_BATCH = 100, 500


class Options(TargetOptions, frozen=True, tag="http", kw_only=True):
    """A target of kind "http".

    `variables` are names for templates; their values are never shown. An answer is a success if its
    status is among `success_codes` (any 2xx if that is empty) and `success_pattern` is found in its body; if
    `reject_pattern` is found there, the rows are set aside.
    """

    url: str
    preset: Literal["", "solar_protocol", "pimonitor", "oemgateway"] = ""
    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    user: str = ""
    password: Secret = ""
    headers: dict[str, Secret] = msgspec.field(default_factory=dict)
    variables: dict[str, Secret] = msgspec.field(default_factory=dict)
    query: dict[str, Secret] = msgspec.field(default_factory=dict)
    form: dict[str, Secret] = msgspec.field(default_factory=dict)
    json: Any = None
    body: str = ""
    item: Any = None
    send: Send = "row"
    success_codes: tuple[int, ...] = ()
    success_pattern: str = ""
    reject_pattern: str = ""
    ca: str = ""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "success": "success_codes",
        "answer": "success_pattern",
        "refusal": "reject_pattern",
    }

    def __post_init__(self) -> None:
        """Refuse templates with unknown names, and options that the preset does not have."""
        super().__post_init__()
        check_url("url", self.url)
        if sum(map(bool, (self.form, self.json is not None, self.body))) > 1:
            raise ValueError("form: only one of form, json and body is possible")
        if self.send == "batch" and self.item is None:
            raise ValueError('item: is missing; send = "batch" needs the template of one row')
        if self.password and not self.user:
            raise ValueError("user: is empty, but there is a password")
        for option in ("success_pattern", "reject_pattern"):
            try:
                re.compile(getattr(self, option))
            except re.error as error:
                raise ValueError(f"{option}: not a pattern: {error}") from None
        for name in self.variables:
            if not name.isidentifier():
                raise ValueError(f"variables: {name!r} cannot be a name in a template")
        for name, text in self.headers.items():
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"headers: {name!r} cannot be the name of a header")
            if CONTROLS.search(text):
                raise ValueError(f"headers.{name}: a header is one line, without control characters")
        if self.preset:
            for option in ("headers", "query", "form", "json", "body", "item"):
                if getattr(self, option):
                    raise ValueError(f"{option}: the preset {self.preset} has its own")
            presets.variables(self.preset, self.variables, self.timezone)
        else:
            check(self.recipe(), tuple(self.variables))

    def recipe(self) -> Recipe:
        """Return how requests are made."""
        if self.preset:
            preset = presets.PRESETS[self.preset]
            return preset.recipe._replace(url=self.url.rstrip("/") + preset.path if preset.path else self.url)
        return Recipe(
            url=self.url,
            method=self.method,
            headers=self.headers,
            query=self.query,
            form=self.form,
            json=self.json,
            body=self.body,
            item=self.item,
            send=self.send,
        )

    def open(self, context: TargetContext) -> "HttpTarget":
        """Return the target."""
        return HttpTarget(self, context)


class HttpTarget:
    """Sends requests one after the other; a row is taken when all its requests were."""

    def __init__(self, options: Options, context: TargetContext) -> None:
        """Compile what requests and answers look like."""
        recipe = options.recipe()
        preset = presets.PRESETS.get(options.preset)
        self.limits = Limits(
            rows=MOST_ROWS_OF_A_BATCH if recipe.send == "batch" else MOST_ROWS, overwrites=options.method == "PUT"
        )
        variables = dict(options.variables)
        if preset:
            variables = presets.variables(options.preset, variables, options.timezone)
        self._composer = Composer(recipe, options.zone(), variables)
        self._whole = recipe.send == "batch"
        self._success_pattern = re.compile((preset.success_pattern if preset else "") or options.success_pattern)
        self._reject_pattern = (preset.reject_pattern if preset else "") or options.reject_pattern
        self._body_counts = bool(self._success_pattern.pattern or self._reject_pattern)
        self._success_codes = options.success_codes
        self._basic = {"Authorization": basic(options.user, options.password)} if options.user else {}
        self._web = HttpClient(options.timeout, options.ca, context.while_waiting)

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Send requests until one fails for now; rows that are refused are noted on the way."""
        wrong: dict[int, str] = {}
        summary = "nothing to send"
        for request in self._composer.requests(rows, wrong):
            done = 0 if self._whole else request.rows - 1
            try:
                response = self._web.request(
                    request.method,
                    request.url,
                    request.body,
                    {**self._basic, **request.headers},
                    body_counts=self._body_counts,
                )
                self._judge(response)
                summary = response.summary()
            except TryLater as error:
                raise interrupted(error, done, wrong) from None
            except Refused as error:
                if self._whole and len(rows) > 1:
                    raise
                wrong[request.rows - 1] = str(error)
        if wrong:
            raise Refused(next(iter(wrong.values())), wrong)
        return Answer(summary)

    @property
    def last_answer(self) -> str:
        """Return the last answer of the server."""
        return self._web.last_answer

    def close(self) -> None:
        """Close the connection."""
        self._web.close()

    def _judge(self, response: HttpResponse) -> None:
        text = response.body.decode("utf-8", "replace")
        if self._reject_pattern and re.search(self._reject_pattern, text):
            raise Refused(response.summary())
        if response.status not in self._success_codes:
            http_status.check(response)
            if self._success_codes:
                raise TryLater(
                    f"{response.summary()}: none of {', '.join(map(str, self._success_codes))}", after=response.after
                )
        if not self._success_pattern.search(text):
            raise TryLater(f"not the answer of a success: {response.summary()}", after=response.after)

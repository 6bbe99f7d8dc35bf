"""How rows become HTTP requests: templates for the address, the form, the JSON or the text. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlencode, urlsplit
from zoneinfo import ZoneInfo

import msgspec

from heliograph.messages import Value
from services.uploader import templates
from services.uploader.target import MappedChannel, Row
from services.uploader.targets.shared.http_client import FORM
from services.uploader.targets.shared.numbers import number

JSON = "application/json"
BY_ROW = ("time", "iso", "local", "node", "device", "values", "pairs")
BY_CHANNEL = ("channel", "name", "unit", "value")
WRITTEN = "%:/?#[]@!$&'()*+,;=~{}"  # characters of an address that are not escaped
VALUE = "value_"  # $value_pv_power is the value of the channel whose name there is pv_power

Send = Literal["row", "device", "channel", "batch"]


class Recipe(NamedTuple):
    """What one request looks like; each text is a template."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    form: Mapping[str, str] = {}
    json: Any = None
    body: str = ""
    item: Any = None  # of a row, in a batch; the list of them is $items
    send: Send = "row"
    local: str = "%Y-%m-%d %H:%M:%S"  # how $local is written
    safe: str = ""  # characters that are not escaped in the query
    needs: tuple[str, ...] = ()  # channels without which there is no request
    fahrenheit: bool = False  # temperatures are sent in °F, with two digits after the point as all values


class HttpRequest(NamedTuple):
    """One request; `rows`: it is the last one for so many rows from the beginning of the batch."""

    rows: int
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class Missing(Exception):
    """A channel that a template needs has no value in this row."""


class TemplateValues(dict[str, Any]):
    """The values of the names in templates; one that is not there is Missing."""

    def __missing__(self, name: str) -> Any:
        """Raise Missing for a channel's value."""
        raise Missing(name)


class Composer:
    """Makes the requests of a recipe."""

    def __init__(self, recipe: Recipe, zone: ZoneInfo, variables: Mapping[str, str]) -> None:
        """`zone` is that of $local; `variables` are names with a fixed meaning."""
        self._recipe = recipe
        self._zone = zone
        self._variables = variables

    def requests(self, rows: Sequence[Row], wrong: dict[int, str]) -> Iterator[HttpRequest]:
        """Yield requests in the order of the rows; note in `wrong` the rows with values that are not numbers."""
        if self._recipe.send == "batch":
            good = [row for index, row in enumerate(rows) if self._is_good(index, row, wrong)]
            if good:
                names = self._names(good[-1], range(len(good[-1].channels)))
                names["items"] = [_tree(self._recipe.item, self._names(row, range(len(row.channels)))) for row in good]
                yield self._request(len(rows), names)
            return
        for index, row in enumerate(rows):
            if self._is_good(index, row, wrong):
                for indexes in self._groups(row):
                    if {row.channels[column].name for column in indexes}.issuperset(self._recipe.needs):
                        yield self._request(index + 1, self._names(row, indexes))

    def _is_good(self, index: int, row: Row, wrong: dict[int, str]) -> bool:
        try:
            datetime.fromtimestamp(row.time, UTC)
            for value in row.values:
                number(value)
        except (ValueError, OverflowError, OSError) as error:
            wrong[index] = str(error)
            return False
        return True

    def _groups(self, row: Row) -> list[Sequence[int]]:
        if self._recipe.send == "channel":
            return [[column] for column in range(len(row.channels))]
        if self._recipe.send == "row":
            return [range(len(row.channels))]
        devices: dict[tuple[str, str], list[int]] = {}
        for column, mapped in enumerate(row.channels):
            devices.setdefault(mapped[:2], []).append(column)
        return list(devices.values())

    def _names(self, row: Row, indexes: Sequence[int]) -> TemplateValues:
        names = TemplateValues(self._variables)
        moment = datetime.fromtimestamp(row.time, UTC)
        names["time"] = number(round(row.time, 3))
        names["iso"] = moment.isoformat().replace("+00:00", "Z")
        names["local"] = moment.astimezone(self._zone).strftime(self._recipe.local)
        first: MappedChannel = row.channels[indexes[0]]
        names["node"], names["device"] = first.node, first.device
        values = {
            row.channels[column].name: self._converted(row.channels[column], row.values[column]) for column in indexes
        }
        names["values"] = values
        names["pairs"] = "{" + ",".join(f"{name}:{_text(value)}" for name, value in values.items()) + "}"
        names.update({VALUE + name: value for name, value in values.items()})
        if self._recipe.send == "channel":
            names.update(channel=first.channel, name=first.name, unit=first.unit, value=values[first.name])
        return names

    def _converted(self, mapped: MappedChannel, value: Value) -> Value:
        if isinstance(value, str | bool):
            return value
        if self._recipe.fahrenheit:
            value = round(value * 9 / 5 + 32 if mapped.unit == "°C" else value, 2)
        return number(value) or 0

    def _request(self, rows: int, names: TemplateValues) -> HttpRequest:
        recipe = self._recipe
        texts = _texts(names)
        url = _filled(recipe.url, TemplateValues({name: quote(text, safe="") for name, text in texts.items()}))
        if query := _fields(recipe.query, texts):
            url += ("&" if urlsplit(url).query else "?") + urlencode(query, safe=recipe.safe, quote_via=quote)
        headers = _fields(recipe.headers, texts)
        body, kind = b"", ""
        if recipe.form:
            body, kind = urlencode(_fields(recipe.form, texts)).encode(), FORM
        elif recipe.json is not None:
            body, kind = msgspec.json.encode(_tree(recipe.json, names)), JSON
        elif recipe.body:
            body = _filled(recipe.body, texts).encode()
        headers = {name: _safe_header(text) for name, text in headers.items()}
        if kind and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = kind
        return HttpRequest(rows, recipe.method, quote(url, safe=WRITTEN), headers, body)


def check(recipe: Recipe, variables: Sequence[str]) -> None:
    """Raise ValueError, beginning with the option, if a template has unknown names."""
    by_row = (*BY_ROW, *variables)
    known = (*by_row, *(("items",) if recipe.send == "batch" else BY_CHANNEL if recipe.send == "channel" else ()))
    for option, template in recipe._asdict().items():
        if option in ("url", "headers", "query", "form", "json", "body", "item"):
            templates.check_all(option, template, by_row if option == "item" else known, (VALUE,))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _safe_header(text: str) -> str:
    """Return what a header can hold: one line, UTF-8 bytes as Latin-1."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text).strip().encode().decode("latin-1")


def _fields(template: Mapping[str, str], names: TemplateValues) -> dict[str, str]:
    """Fill each field; those that need a channel without a value are left out."""
    fields: dict[str, str] = {}
    for key, text in template.items():
        try:
            fields[key] = templates.filled(text, names)
        except Missing:
            continue
    return fields


def _tree(template: Any, names: TemplateValues) -> Any:
    """Build JSON; members that need a channel without a value are left out."""
    if isinstance(template, dict):
        tree = {}
        for key, value in template.items():
            try:
                tree[key] = _tree(value, names)
            except Missing:
                continue
        return tree
    if isinstance(template, list):
        return [_tree(value, names) for value in template]
    if isinstance(template, str):
        name = templates.alone(template)
        return names[name] if name else templates.filled(template, _texts(names))
    return template


def _texts(names: TemplateValues) -> TemplateValues:
    return TemplateValues({name: _text(value) for name, value in names.items()})


def _filled(template: str, names: TemplateValues) -> str:
    """Fill a text; a channel without a value leaves nothing behind."""
    try:
        return templates.filled(template, names)
    except Missing as missing:
        return _filled(template, TemplateValues({**names, str(missing): ""}))

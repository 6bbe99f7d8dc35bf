import subprocess
import sys
from collections.abc import Mapping

import pytest

from heliograph.redaction import redactor
from services.uploader import targets
from services.uploader.options import TargetOptions, beginning, secrets
from services.uploader.redacted_options import completed, redacted, redactor_for, shown
from tests.conftest import ROOT


def test_options_are_shown_without_secrets() -> None:
    options = targets.parse_options(
        {
            "kind": "influxdb",
            "name": "x",
            "url": "http://h",
            "version": 1,
            "database": "d",
            "user": "u",
            "password": "p5",
        }
    )
    assert secrets(options) == {"p5"}
    without_secrets = shown(options)
    assert (
        without_secrets["password"],
        without_secrets["token"],
        without_secrets["user"],
        without_secrets["kind"],
        without_secrets["from"],
    ) == (
        "…",
        "",
        "u",
        "influxdb",
        "now",
    )
    assert targets.parse_options({**without_secrets, "password": "p5"}) == options


def put(stored: Mapping[str, object], **given: object) -> dict[str, object]:
    """Return what is stored after a put of options as they were shown, with these changes."""
    before = targets.parse_options({"name": "x", **stored})
    return completed({**shown(before), **given}, {"name": "x", **stored})


HTTP = {"kind": "http", "url": "https://h/a?key=s3cret-word&n=1", "headers": {"X-Token": "t0ken"}, "body": "x"}


def test_of_a_url_neither_user_nor_query_are_shown_anywhere() -> None:
    options = targets.parse_options({"name": "x", **HTTP})
    assert shown(options)["url"] == "https://h/a?…"
    assert redacted({"kind": "http", "url": "https://me:pw@h:8/a?b#c"})["url"] == "https://…@h:8/a?…"
    redact = redactor(secrets(options))
    assert redact("GET https://h/a?key=s3cret-word failed") == "GET https://h/a?key=… failed"
    assert redactor_for({"kind": "http", "url": "ftp://me:pass-word@h/?k=q%20uery"})("pass-word, q uery") == "…, …"
    assert put(HTTP)["url"] == HTTP["url"]


def test_what_is_a_name_alone_is_no_secret_and_a_text_in_a_form_or_a_query_is_one() -> None:
    given = {"form": {"time": "${time}", "api_key": "s3cret"}, "query": {"k": "s3cret", "v": "$value_power"}}
    options = targets.parse_options({"kind": "http", "name": "x", "url": "http://h", **given})
    assert shown(options)["form"] == {"time": "${time}", "api_key": "…"}
    assert shown(options)["query"] == {"k": "…", "v": "$value_power"}
    assert secrets(options) == {"s3cret"}
    assert put({"kind": "http", "url": "http://h", **given})["form"] == given["form"]


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        (HTTP, {"url": "https://evil.example/a"}),
        (HTTP, {"url": "http://h/a"}),
        (HTTP, {"url": "https://h:444/a"}),
        (HTTP, {"url": "https://evil.example/a", "headers": {"X-Token": "…"}}),
        ({"kind": "emoncms", "key": "0" * 32}, {"url": "https://evil.example"}),
        ({"kind": "emoncms", "key": "0" * 32, "url": "http://mine"}, {"url": "https://emoncms.org"}),
        ({"kind": "mqtt", "host": "mine", "user": "u", "password": "pw"}, {"host": "evil"}),
        ({"kind": "mqtt", "host": "mine", "user": "u", "password": "pw", "tls": True}, {"tls": False}),
    ],
)
def test_a_kept_secret_never_goes_to_another_server(stored: dict[str, object], given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match='it was given for another server; give it again, or "" for none'):
        put(stored, **given)


def test_a_secret_stays_while_its_server_does_and_goes_when_a_new_one_or_none_is_given() -> None:
    assert put(HTTP, url="https://H:443/b", send="row")["headers"] == {"X-Token": "t0ken"}
    for headers in ({"X-Token": "new"}, {"X-Token": ""}, {}):
        assert put(HTTP, url="https://other/", headers=headers)["headers"] == headers


@pytest.mark.parametrize("kind", targets.known())
def test_every_kind_has_what_a_kind_has(kind: str) -> None:
    options = targets.load(kind)
    assert options.__struct_config__.tag == kind, "the tag of Options is the name of the module"
    assert options.open is not TargetOptions.open, "Options has no open()"


def test_the_error_about_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"there is no 'influx'; did you mean influxdb\? There are emoncms"):
        targets.parse_options({"kind": "influx", "name": "x"})


def test_a_date_begins_at_local_midnight_and_a_time_may_have_an_offset() -> None:
    berlin = targets.parse_options({"kind": "file", "name": "x", "timezone": "Europe/Berlin"}).zone()
    assert beginning("2026-01-01", berlin) == 1_767_222_000.0
    assert beginning("2026-01-01T00:00:00+00:00", berlin) == 1_767_225_600.0
    assert beginning("beginning", berlin) == 0.0
    assert beginning("now", berlin) is None


def test_a_target_is_imported_when_one_of_its_type_is_configured() -> None:
    script = (
        "import sys; from services.uploader import management, uploader; from services.uploader.targets import parse_options\n"
        'parse_options({"kind": "file", "name": "card"})\n'
        'print(*(name.removeprefix("services.uploader.targets.") for name in sys.modules if ".uploader.targets." in name))'
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()} == {"file", "shared"}

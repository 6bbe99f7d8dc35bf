import pytest

from services.uploader import kinds
from services.uploader.options import beginning, secrets, shown


def test_options_are_shown_without_secrets() -> None:
    options = kinds.parsed(
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
    told = shown(options)
    assert (told["password"], told["token"], told["user"], told["kind"], told["from"]) == (
        "…",
        "",
        "u",
        "influxdb",
        "now",
    )
    assert kinds.parsed({**told, "password": "p5"}) == options


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_has_what_a_kind_has(kind: str) -> None:
    module = kinds.load(kind)
    assert module.Options.__struct_config__.tag == kind
    assert callable(module.target)


def test_a_kind_that_there_is_not_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="there is no 'influx'; known are emoncms"):
        kinds.parsed({"kind": "influx", "name": "x"})


def test_a_date_begins_at_local_midnight_and_a_time_may_have_an_offset() -> None:
    berlin = kinds.parsed({"kind": "file", "name": "x", "timezone": "Europe/Berlin"}).zone()
    assert beginning("2026-01-01", berlin) == 1_767_222_000.0
    assert beginning("2026-01-01T00:00:00+00:00", berlin) == 1_767_225_600.0
    assert beginning("beginning", berlin) == 0.0
    assert beginning("now", berlin) is None

import subprocess
import sys

import pytest

from services.uploader import targets
from services.uploader.options import TargetOptions, beginning, secrets
from services.uploader.redacted_options import shown
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


@pytest.mark.parametrize("kind", targets.known())
def test_every_kind_has_what_a_kind_has(kind: str) -> None:
    options = targets.load(kind)
    assert options.__struct_config__.tag == kind, "the tag of Options is the name of the module"
    assert options.open is not TargetOptions.open, "Options has no open()"


def test_the_error_about_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="there is no 'influx'; known are emoncms"):
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

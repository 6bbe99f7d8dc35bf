"""`heliograph store delete`: a dry run, a question, a refusal while storage runs."""

from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from heliograph import store
from heliograph.messages import Block
from services.storage.cli.main import main
from tests.storage.stores import command, done, everything, make

T = 1_763_596_800.0  # 2025-11-20 00:00 UTC
SPAN = ("--from", "2025-11-20T00:01", "--to", "2025-11-20T00:02")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for device in ("meter", "boiler"):
        make(tmp_path, [Block(device, ("power", "energy"), [[T + n * 10, n / 2, n] for n in range(30)])])
    return tmp_path


def test_a_dry_run_shows_what_would_be_deleted_and_deletes_nothing(data: Path) -> None:
    before = everything(data)
    with closing(store.open_writer(data)):  # storage may run
        output = done("delete", "roof/*/power", *SPAN, "--dry-run", "--data", data)
    assert "roof/boiler/power: 6 values, the first at 2025-11-20 00:01:00Z" in output
    assert "roof/meter/power: 6 values" in output
    assert "energy" not in output
    assert everything(data) == before


def test_it_asks_and_deletes(data: Path) -> None:
    before = everything(data)
    arguments = ["delete", "roof/meter/power", *SPAN, "--data", str(data)]
    assert CliRunner().invoke(main, arguments, input="n\n").exit_code == 1
    assert everything(data) == before
    result = CliRunner().invoke(main, arguments, input="y\n")
    assert result.exit_code == 0
    assert "6 values deleted" in result.output
    after = everything(data)
    assert after.pop("roof/meter/power") == [
        (time, value) for time, value in before.pop("roof/meter/power") if not T + 60 <= time < T + 120
    ]
    assert after == before
    assert "no value of 1 series" in done(*arguments, "--yes")
    done("check", "--values", "--data", data)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("roof/meter/power", "--from", "2025-11-21", "--to", "2025-11-20"), "--from is not before --to"),
        (("roof/meter/power", "--from", "yesterday", "--to", "2025-11-20"), "yesterday"),
        (("roof/meter/nothing", *SPAN), "there is no series roof/meter/nothing"),
        (("meter/power", *SPAN), "node/device/channel"),
        (("roof/meter/power",), "--from"),
    ],
)
def test_what_cannot_be_meant_is_refused(data: Path, arguments: tuple[str, ...], sentence: str) -> None:
    before = everything(data)
    result = command("delete", *arguments, "--data", data, "--yes")
    assert result.exit_code != 0
    assert sentence in result.stderr
    assert everything(data) == before


def test_nothing_is_deleted_while_storage_runs(data: Path) -> None:
    before = everything(data)
    with closing(store.open_writer(data)):
        result = command("delete", "roof/meter/power", *SPAN, "--data", data, "--yes")
    assert result.exit_code == 1
    assert "docker compose stop storage" in result.stderr
    assert everything(data) == before


def test_a_year_of_a_clock_that_was_ahead_is_shown_and_deleted(tmp_path: Path) -> None:
    """Case Y7: readings of 2045 in a store of 2025."""
    ahead = 2_379_715_200.0  # 2045-05-30
    with closing(store.open_writer(tmp_path, lambda: False)) as writer:
        for time, value in ((T, 1.0), (ahead, 2719.0)):
            assert writer.write("roof", [Block("meter", ("power",), [[time, value]])]) == []
            writer.commit({})
        writer.settle()
    shown = done("info", "--data", tmp_path)
    assert "history-2045.db" in shown
    assert "2045-05-30" in shown
    with closing(store.open_reader(tmp_path)) as reader:
        assert reader.latest([1], until=T + 86_400)[1].time == T
    done("delete", "*/*/*", "--from", "2045-01-01", "--to", "2046-01-01", "--yes", "--data", tmp_path)
    shown = done("info", "--data", tmp_path)
    assert "2045" not in shown
    with closing(store.open_reader(tmp_path)) as reader:
        assert reader.latest([1])[1].time == T

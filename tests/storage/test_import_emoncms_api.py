"""Feeds over Emoncms' API, from a stand-in that answers as Emoncms 11.16.8 does."""

from pathlib import Path

import pytest

from tests.storage.emoncms_server import KEY, VIRTUAL, EmoncmsFeeds, StoredFeed, fina, series
from tests.storage.stores import command, done, everything, meanings

pytestmark = pytest.mark.slow

T = 1_700_000_000
NAN = float("nan")


def feeds() -> list[StoredFeed]:
    return [
        fina(1, "Power 1", [1.5, NAN, 3.25, 4.0], start=T),
        series(12, "Küche kWh", [(T + 5, 100.5), (T + 6, 100.75), (T + 3600, 101.0)], tag="Haus 1"),
        fina(7, "voltage", [230.5], start=T, unit="furlong"),
    ]


def imported(server: EmoncmsFeeds, folder: Path, *options: object) -> str:
    with server.running() as url:
        result = command(
            *("import", "emoncms", url, "--key", KEY, "--node", "house", "--pause", 0),
            *("--download", folder / "files", "--data", folder / "data", *options),
        )
    return f"{result.exit_code}\n{result.output}"


def test_chosen_feeds_have_the_names_that_the_options_give(tmp_path: Path) -> None:
    imported(EmoncmsFeeds(feeds()), tmp_path, "--feed", "1=pv", "--feed", "12", "--device", "site", "--unit", "pv=kW")
    assert {name: unit for name, (unit, _, _) in meanings(tmp_path / "data").items()} == {
        "house/site/pv": "kW",
        "house/site/kuche_kwh": "kWh",
    }


def test_a_download_that_broke_continues_where_it_was(tmp_path: Path) -> None:
    values = [float(number) for number in range(1000)]
    server = EmoncmsFeeds([fina(1, "power", values, start=T)])
    server.cut_after = 2000
    output = imported(server, tmp_path)
    assert output.startswith("1\n")
    assert "a feed that was not downloaded completely; repeat the import, it continues there" in output
    assert "2,000 bytes of 4,000 arrived" in output
    server.cut_after = 0
    assert imported(server, tmp_path).startswith("0\n")
    assert server.sent == 2000 + 4 + 2000
    assert [value for _, value in everything(tmp_path / "data")["house/emontx/power"]] == values
    server.feeds[0].content += b"\0\0\0\0"
    assert "1 values are new" in imported(server, tmp_path)
    assert server.sent == 2000 + 4 + 2000 + 8


def test_a_server_that_fails_for_a_while_is_asked_again(tmp_path: Path) -> None:
    server = EmoncmsFeeds(feeds(), failures=3)
    assert imported(server, tmp_path).startswith("0\n")
    assert server.requests[:4] == ["/feed/list.json"] * 4


def test_feeds_without_a_file_and_names_that_are_taken_are_reported(tmp_path: Path) -> None:
    server = EmoncmsFeeds(
        [
            fina(1, "Power 1", [1.0], start=T),
            fina(2, "power_1", [2.0], start=T),
            StoredFeed(3, "sum", "emontx", "", VIRTUAL, b""),
        ]
    )
    output = imported(server, tmp_path)
    assert everything(tmp_path / "data") == {"house/emontx/power_1": [(T, 1.0)]}
    assert "'power_1' would be called power_1, which is the name of 'Power 1'" in output
    assert "feed 3 (emontx:sum): a feed that has no file to download: 'virtual feed'" in output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--feed", "x=power"), "is not ID=CHANNEL"),
        (("--counter", "energi"), "there was no value of a channel 'energi'"),
    ],
)
def test_what_the_server_or_the_options_do_not_have_is_an_error(
    tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    output = imported(EmoncmsFeeds(feeds()), tmp_path, *options)
    assert not output.startswith("0\n")
    assert says in output


def test_the_key_is_in_no_address_and_may_be_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMONCMS_KEY", KEY)
    server = EmoncmsFeeds(feeds())
    with server.running() as url:
        done(
            "import",
            "emoncms",
            url,
            "--node",
            "n",
            "--pause",
            0,
            "--data",
            tmp_path / "d",
            "--download",
            tmp_path / "f",
        )
    assert not any(KEY in request for request in server.requests)
    assert command("import", "emoncms", "example.org", "--node", "n", "--data", tmp_path).exit_code == 2

import asyncio
from pathlib import Path

import pytest

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.store.interface import Reader
from services.api import place
from services.api.history import History
from services.api.server import Api

URL = "postgresql://heliograph:s%40cret@db.example.org:5432/readings"


@pytest.mark.parametrize(
    "store",
    [
        "",
        "data",
        "/var/lib/heliograph",
        URL,
        "postgres://db/readings",
        "postgresql:///readings",
        "postgresql://u:p@a:5432,b:5433/readings?target_session_attrs=any",
        "postgresql://[::1]:5432/readings",
        "postgresql://u@/readings?host=/run/postgresql&password=p",
    ],
)
def test_a_store_is_a_folder_or_a_postgresql_address(store: str) -> None:
    assert Api(store=store).store == store


@pytest.mark.parametrize(
    "store",
    [
        "mysql://u:hidden@db/readings",
        "http://u:hidden@db",
        "postgresql://u:hid@den@db/readings",
        "postgresql://u:hid/den@db/readings",
        "postgresql://u:hid#den@db/readings",
        "postgresql://u:hid?den@db/readings",
        "postgresql://u:hid:den@db/readings",
        "postgresql://u:hid%zen@db/readings",
        "postgresql://u:hidden@db:port/readings",
        "postgresql://[u:hidden@db/readings",
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(store: str) -> None:
    with pytest.raises(ValueError, match="expected a folder or postgresql://") as refused:
        Api(store=store)
    assert "hid" not in str(refused.value)
    assert "den" not in str(refused.value).replace("hidden", "")


def test_what_a_database_says_is_shown_without_the_password() -> None:
    hide = place.hider(URL)
    for said in (URL, "s%40cret", 'password "s@cret" is wrong'):
        assert "cret" not in hide(f"cannot connect: {said}")
    assert hide("no route to host") == "no route to host"
    assert "top" not in place.hider("postgresql://u@/d?password=top%20secret")("FATAL: top secret")


def test_the_path_of_a_store_is_no_secret() -> None:
    assert place.hider("/srv/data")("no store in /srv/data") == "no store in /srv/data"


@pytest.mark.parametrize("kind", [StoreAway, StoreDamaged])
def test_a_reader_that_fails_does_not_tell_the_password(kind: type[StoreAway | StoreDamaged]) -> None:
    def fails() -> Reader:
        raise kind(f"{URL} does not answer")

    with History(fails, hide=place.hider(URL)) as history, pytest.raises(kind) as raised:
        asyncio.run(history.ask(lambda reader: reader.series()))
    assert str(raised.value) == "… does not answer"


def test_the_store_is_that_of_the_data_folder_unless_another_is_named(tmp_path: Path, data: Path) -> None:
    for opener in (place.opener("", data), place.opener(str(data), tmp_path)):
        reader = opener()
        assert reader.series()
        reader.close()

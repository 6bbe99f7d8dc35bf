from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import config, store_location
from heliograph.config import Node
from heliograph.errors import ConfigError
from heliograph.store.postgres.schema import DatabaseName
from heliograph.store_location import StoreLocation, check

URL = "postgresql://heliograph:s%40cret@db.example.org:5432/readings"
PATH = Path("config.toml")
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=3)


def configured(store: str, service: str = "api") -> StoreLocation:
    node = config.section(Node, {"node": {"name": "roof", "data": "d", "store": store}}, "node", PATH, service)
    return store_location.configured(node, PATH, service)


@pytest.mark.parametrize(
    "url",
    [
        "",
        URL,
        "postgres://db/readings",
        "postgresql:///readings",
        "postgresql://u:p@a:5432,b:5433/readings?target_session_attrs=any",
        "postgresql://[::1]:5432/readings",
        "postgresql://u@/readings?host=/run/postgresql&password=p",
    ],
)
def test_a_store_is_a_postgresql_database_or_in_the_data_folder(url: str) -> None:
    assert configured(url) == (Path("d"), url)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hidden@db/readings",
        "http://u:hidden@db",
        "hidden/data",
        "postgresql://u:hid@den@db/readings",
        "postgresql://u:hid/den@db/readings",
        "postgresql://u:hid#den@db/readings",
        "postgresql://u:hid?den@db/readings",
        "postgresql://u:hid:den@db/readings",
        "postgresql://u:hid den@db/readings",
        "postgresql://u:hid%zen@db/readings",
        "postgresql://u:hidden@db:port/readings",
        "postgresql://[u:hidden@db/readings",
        "postgresql://u:hidden@[::1/readings",
        "postgresql://u:hidden@db/readings?nonsense=1",
    ],
)
def test_any_other_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^config.toml: \[node\] store: .*expected postgresql://") as refused:
        configured(url)
    assert "hid" not in str(refused.value)
    assert "den" not in str(refused.value)


@given(st.text(min_size=9) | st.text("ab:/?#@%[]&=\n").map("postgresql://".__add__))
def test_any_text_is_a_url_or_refused_in_one_line(text: str) -> None:
    refusal = ""
    try:
        check(text)
    except ValueError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert text not in refusal
    assert refusal or text.startswith(("postgresql://", "postgres://"))


def test_only_a_service_that_needs_the_store_needs_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_STORE", URL)
    assert configured("$API_STORE").url == URL
    node = config.section(Node, {"node": {"store": "$NO_STORE"}}, "node", PATH, "serial_bridge")
    assert node.store == "$NO_STORE"
    with pytest.raises(ConfigError, match=r"^config.toml: \[node\] store: environment variable NO_STORE is not set$"):
        store_location.configured(node, PATH, "api")
    (tmp_path / "api_store").write_text(f"{URL}\n")
    assert configured(f"file:{tmp_path}/{{service}}_store").url == URL
    with pytest.raises(ConfigError, match=r"^config.toml: \[node\] store: cannot read .*storage_store"):
        configured(f"file:{tmp_path}/{{service}}_store", "storage")


def test_an_empty_file_in_place_of_a_url_is_not_the_store_of_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "store.url").touch()
    with pytest.raises(ConfigError, match=r"store.url is empty; write the value into it"):
        configured(f"file:{tmp_path}/store.url")


def test_a_location_is_shown_without_user_and_password() -> None:
    assert str(StoreLocation(Path(), f"{URL}?password=secret")) == "postgresql://db.example.org:5432/readings"
    assert str(StoreLocation(Path(), "postgresql:///solar?host=/run")) == "postgresql:///solar"
    assert str(StoreLocation(Path("data"))) == "data/store"


@given(TEXTS, st.sampled_from(["postgresql://u:{}@h/d", "postgresql://u@h/d?password={}&sslmode=disable"]))
def test_the_errors_of_a_database_are_shown_without_the_password(password: str, url: str) -> None:
    url = url.format(quote(password, safe=""))
    check(url)
    database = DatabaseName(url)
    for written in (password, quote(password, safe=""), url):
        assert written not in database.redact(f"<{written}>")[1:-1] or len(password.strip()) < 3
    assert password not in str(StoreLocation(Path(), url))[len("postgresql://") :] or len(password) < 4

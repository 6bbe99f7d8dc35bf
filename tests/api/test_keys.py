import asyncio
import hashlib
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.api import cli
from services.api.ingest.keys import HashedKey, Keys, digest, hashed, new_key, parse_hash
from services.api.ingest.rate_limits import RateLimits


class Clock:
    """Seconds that a test can let pass."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_key_is_what_emonhub_and_iotawatt_take_for_one() -> None:
    made = new_key()
    assert len(made) == 32
    assert set(made) <= set("0123456789abcdef")
    assert new_key() != made


def test_a_hash_is_of_its_key_and_of_no_other_and_is_salted() -> None:
    made = new_key()
    assert parse_hash(hashed(made)).is_of(digest(made))
    assert not parse_hash(hashed(made)).is_of(digest(new_key()))
    assert hashed(made) != hashed(made)
    assert made not in hashed(made)


def test_what_pimonitor_sends_is_what_is_hashed() -> None:
    assert digest("yourApiKeyHere") == "4ac97645e8e58c6637d0511d16023a7e3087e17414c14a2abaa2217cbded204c"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "scrypt:16384:8:1:00",
        "scrypt:16383:8:1:00:" + "00" * 32,
        "scrypt:1073741824:8:1:00:" + "00" * 32,
        "scrypt:16384:8:1:zz:" + "00" * 32,
        "scrypt:16384:8:1:00:00",
        "scrypt:a:8:1:00:" + "00" * 32,
        "bcrypt:16384:8:1:00:" + "00" * 32,
    ],
)
def test_what_is_no_hash_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is not the hash of a key: `heliograph key`") as caught:
        parse_hash(text)
    assert not text or text not in str(caught.value)


def test_a_key_is_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []

    def is_of(_: HashedKey, key_digest: str) -> bool:
        searched.append(key_digest)
        return key_digest == "right"

    monkeypatch.setattr(HashedKey, "is_of", is_of)
    keys = Keys({"garden": hashed("x")})

    async def ask() -> list[str]:
        return [*await asyncio.gather(*(keys.search("right") for _ in range(5))), await keys.search("wrong")]

    assert keys.known("right") is None
    assert asyncio.run(ask()) == ["garden"] * 5 + [""]
    assert (keys.known("right"), keys.known("wrong"), keys.known("other")) == ("garden", "", None)
    assert searched == ["right", "wrong"]


def test_wrong_keys_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HashedKey, "is_of", lambda *_: False)
    keys = Keys({"garden": hashed("x")})

    async def ask() -> None:
        for number in range(1005):
            await keys.search(str(number))

    asyncio.run(ask())
    assert [keys.known(str(number)) for number in (0, 4, 5, 1004)] == [None, None, "", ""]


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    clock = Clock()
    rates = RateLimits(2, 3, clock)
    assert [rates.take("a") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert rates.take("b") == 0
    clock.seconds += 0.5
    assert [rates.take("a") for _ in range(2)] == [0, 0.5]
    rates.give_back("a")
    assert [rates.take("a") for _ in range(2)] == [0, 0.5]
    clock.seconds += 1000
    assert [rates.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_buckets_do_not_fill_the_memory() -> None:
    rates = RateLimits(0.001, 1, Clock(), remembered=2)
    assert [rates.take(client) for client in "abc"] == [0, 0, 0]
    assert [rates.take(client) > 0 for client in "cba"] == [True, True, False]


def test_the_command_prints_a_key_and_the_line_for_the_configuration(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.main, ["garden"])
    assert result.exit_code == 0
    made = next(line.strip() for line in result.stderr.splitlines() if line.startswith("  "))
    line = tomllib.loads(result.stdout)["api"]["keys"]["garden"]
    assert parse_hash(line).is_of(hashlib.sha256(made.encode()).hexdigest())
    assert made not in result.stdout


def test_a_name_that_would_break_the_configuration_is_refused() -> None:
    result = CliRunner().invoke(cli.main, ['a"b'])
    assert result.exit_code == 2
    assert "NAME" in result.stderr

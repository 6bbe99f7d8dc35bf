import tomllib
from pathlib import Path

import pytest

from heliograph import config
from heliograph.errors import ConfigError
from services.storage.options import Storage
from tests import samples


def section(text: str) -> Storage:
    return config.section(Storage, tomllib.loads(text), "storage", Path("config.toml"), "storage")


def test_the_sample_documents_every_option_with_its_true_default() -> None:
    samples.assert_sample_tells_the_truth(Storage, "storage")


def test_an_absent_section_is_the_sample_as_shipped() -> None:
    shipped, _ = samples.sections("storage")
    assert section("") == samples.loaded(Storage, "storage", shipped)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("commit_seconds = 0", "commit_seconds"),
        ("commit_seconds = 31", "commit_seconds"),
        ("commit_seconds = nan", "commit_seconds"),
        ("commit_seconds = 'often'", "commit_seconds"),
        ("nodes = ['roof/#']", "roof/#"),
        ("nodes = 'roof'", "nodes"),
        ("nodes = [1]", "nodes"),
        ("comit_seconds = 1", "comit_seconds"),
        ("url = 'postgresql://h/d'", "no such option: url; it is now [node] store"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as failure:
        section(f"[storage]\n{text}\n")
    assert key in str(failure.value)
    assert "\n" not in str(failure.value)

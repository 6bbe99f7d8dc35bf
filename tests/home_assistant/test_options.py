from pathlib import Path

import msgspec
import pytest

from heliograph import config
from heliograph.errors import ConfigError
from services.home_assistant.options import HomeAssistant
from tests.samples import assert_sample_tells_the_truth


def test_the_sample_documents_every_option_with_its_true_default() -> None:
    assert_sample_tells_the_truth(HomeAssistant, "home_assistant")


@pytest.mark.parametrize("prefix", ["", "/", "a/", "/a", "home+", "#", "a//b", "a\0"])
def test_a_prefix_that_cannot_begin_a_topic_is_refused(prefix: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="discovery_prefix"):
        msgspec.convert({"discovery_prefix": prefix}, HomeAssistant)


@pytest.mark.parametrize("nodes", [["A"], ["a", "a"], [""]])
def test_nodes_that_cannot_be_are_refused(nodes: list[str]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"node|name"):
        msgspec.convert({"nodes": nodes}, HomeAssistant)


def test_the_former_name_of_an_option_is_refused_with_the_present_one() -> None:
    with pytest.raises(ConfigError, match="prefix; it is now discovery_prefix"):
        config.section(HomeAssistant, {"home_assistant": {"prefix": "x"}}, "home_assistant", Path("config.toml"))

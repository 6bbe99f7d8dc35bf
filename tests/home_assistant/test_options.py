import msgspec
import pytest

from services.home_assistant.options import HomeAssistant
from tests.samples import assert_sample_tells_the_truth


def test_the_sample_tells_the_truth() -> None:
    assert_sample_tells_the_truth(HomeAssistant, "home_assistant")


@pytest.mark.parametrize("prefix", ["", "/", "a/", "/a", "home+", "#", "a//b", "a\0"])
def test_a_prefix_that_cannot_begin_a_topic_is_refused(prefix: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="prefix"):
        msgspec.convert({"prefix": prefix}, HomeAssistant)


@pytest.mark.parametrize("nodes", [["A"], ["a", "a"], [""]])
def test_nodes_that_cannot_be_are_refused(nodes: list[str]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"node|name"):
        msgspec.convert({"nodes": nodes}, HomeAssistant)

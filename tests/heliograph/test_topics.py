from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import topics
from heliograph.topics import DeviceTopic, Parsed, ServiceTopic

names = st.from_regex(r"\A[a-z0-9_][a-z0-9_-]{0,62}\Z")
device_kinds: st.SearchStrategy[DeviceTopic] = st.sampled_from(["state", "info", "availability", "set"])
service_kinds: st.SearchStrategy[ServiceTopic] = st.sampled_from(["status", "journal", "replay", "committed"])


def parsed_or_refused(text: str) -> Parsed | str:
    try:
        return topics.parse(text)
    except ValueError as error:
        return str(error)


HOSTILE = [
    "",
    "a/b",
    "/",
    "+",
    "#",
    "a+",
    "$SYS",
    "A",
    "ü",
    "a b",
    "a\n",
    "\n",
    "a\0",
    "-a",
    "..",
    "a" * 64,
    "\u0661",
    "a.b",
]


@given(names, names, device_kinds)
def test_a_device_topic_is_parsed_as_it_was_built(node: str, device: str, kind: DeviceTopic) -> None:
    assert topics.parse(topics.device(node, device, kind)) == Parsed(node, device, kind)


@given(names, names, service_kinds)
def test_a_service_topic_is_parsed_as_it_was_built(node: str, service: str, kind: ServiceTopic) -> None:
    assert topics.parse(topics.service(node, service, kind)) == Parsed(node, service, kind)


@given(names, names, names)
def test_a_command_is_parsed_as_it_was_built(node: str, service: str, command: str) -> None:
    assert topics.parse(topics.request(node, service, command)) == Parsed(node, service, "request", command)
    assert topics.parse(topics.response(node, service, command)) == Parsed(node, service, "response", command)


@given(names, names, st.from_regex(r"\A[a-z0-9_]{1,64}\Z"))
def test_the_topic_of_a_value_is_parsed_as_it_was_built(node: str, device: str, channel: str) -> None:
    assert topics.parse(topics.value(node, device, channel)) == Parsed(node, device, "value", channel)


@pytest.mark.parametrize("bad", [*(bad for bad in HOSTILE if bad not in ("-a", "a" * 64)), "a" * 65, "a-b"])
def test_a_channel_that_would_change_the_shape_of_the_tree_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a channel"):
        topics.value("x", "y", bad)
    with pytest.raises(ValueError, match="is not a topic of the tree"):
        topics.parse(f"heliograph/x/devices/y/value/{bad}")


@pytest.mark.parametrize("bad", HOSTILE)
def test_names_that_would_change_the_shape_of_the_tree_are_refused(bad: str) -> None:
    assert not topics.is_name(bad)
    builds: list[Callable[[], str]] = [
        lambda: topics.name(bad),
        lambda: topics.device(bad, "x", "state"),
        lambda: topics.device("x", bad, "state"),
        lambda: topics.service(bad, "x", "status"),
        lambda: topics.service("x", bad, "status"),
        lambda: topics.value(bad, "x", "y"),
        lambda: topics.value("x", bad, "y"),
        lambda: topics.request("x", "y", bad),
        lambda: topics.response("x", "y", bad),
    ]
    for build in builds:
        with pytest.raises(ValueError, match="is not a name") as error:
            build()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500


@pytest.mark.parametrize("bad", [bad for bad in HOSTILE if bad != "+"])
def test_filters_take_no_other_wildcards(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        topics.every_device("state", bad)
    with pytest.raises(ValueError, match="is not a name"):
        topics.every_service("status", bad)


def test_filters_are_for_all_nodes_or_one() -> None:
    assert topics.every_device("state") == f"{topics.ROOT}/+/devices/+/state"
    assert topics.every_value("pi") == f"{topics.ROOT}/pi/devices/+/value/+"
    assert topics.every_service("journal", "roof") == f"{topics.ROOT}/roof/services/+/journal"


@pytest.mark.parametrize("bad", [*HOSTILE, "a-b"])
def test_channels_have_no_dash_either(bad: str) -> None:
    assert topics.is_channel(bad) is (bad == "a" * 64)


@given(
    st.text()
    | st.lists(st.sampled_from(["heliograph", "a", "devices", "services", "state", "request", "", "+", "x/y"])).map(
        "/".join
    )
)
def test_any_text_is_a_topic_that_can_be_built_or_a_value_error(text: str) -> None:
    parsed = parsed_or_refused(text)
    if isinstance(parsed, str):
        assert "\n" not in parsed
    else:
        assert all(map(topics.is_name, text.split("/")))
        assert [parsed.node, parsed.owner, parsed.kind, *filter(None, [parsed.command])] == [
            part for level, part in enumerate(text.split("/")) if level not in (0, 2)
        ]


@pytest.mark.parametrize(
    "topic",
    [
        "heliograph/n/devices/d/status",
        "heliograph/n/services/s/state",
        "heliograph/n/services/s/request",
        "heliograph/n/services/s/status/x",
        "heliograph/n/devices/d/state/",
        "/heliograph/n/devices/d/state",
        "other/n/devices/d/state",
        "heliograph/N/devices/d/state",
        "heliograph/+/devices/d/state",
    ],
)
def test_a_topic_outside_of_the_tree_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="is not a topic of the tree"):
        topics.parse(topic)

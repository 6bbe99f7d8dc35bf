from hypothesis import given
from hypothesis import strategies as st

from services.modbus_poller.models import Header
from services.modbus_poller.outstanding import Reuse
from services.modbus_poller.reads import ChannelSpan, ReadRequest, distinct, join, split
from services.modbus_poller.requests import Requests

SPANS = st.lists(
    st.builds(
        ChannelSpan,
        st.sampled_from([3, 4]),
        st.integers(0, 300),
        st.sampled_from([1, 2, 4]),
        st.uuids().map(str),
    ),
    min_size=1,
    max_size=40,
)


@given(SPANS, st.integers(4, 125), st.integers(0, 10), st.lists(st.integers(0, 300)))
def test_every_channel_is_read_once_in_blocks_that_keep_the_limits(
    wanted: list[ChannelSpan], max_registers: int, max_gap: int, split_at: list[int]
) -> None:
    blocks = join(wanted, max_registers=max_registers, max_gap=max_gap, split_at=split_at)
    assert sorted(s for b in blocks for s in b.spans) == sorted(wanted)
    for block in blocks:
        assert block.count <= max_registers
        end = block.address
        for span in block.spans:
            assert span.function == block.function
            assert span.address - end <= max_gap
            end = max(end, span.end)
            assert not any(block.address < at <= span.address for at in split_at)


@given(SPANS)
def test_a_block_can_be_split_until_each_part_works(wanted: list[ChannelSpan]) -> None:
    waiting = join(wanted, max_registers=125, max_gap=10)
    parts = []
    while waiting:
        block = waiting.pop()
        halves = split(block)
        if halves:
            assert halves[0].spans + halves[1].spans == block.spans
            assert halves[0].address + halves[0].count <= halves[1].address
            waiting += halves
        else:
            parts.append(block)
    assert sorted(s for b in parts for s in b.spans) == sorted(wanted)
    for block in parts:
        assert block.count < 4 + 4 * len(block.spans)
        assert len(block.spans) == 1 or block.count < sum(s.count for s in block.spans)


def test_neighbours_are_read_together_and_distant_ones_apart() -> None:
    a, b, c = ChannelSpan(4, 0, 2, "a"), ChannelSpan(4, 6, 2, "b"), ChannelSpan(4, 17, 2, "c")
    assert join([c, a, b], max_registers=20, max_gap=8) == [ReadRequest((a, b)), ReadRequest((c,))]
    assert join([c, a, b], max_registers=20, max_gap=9) == [ReadRequest((a, b, c))]
    assert join([c, a, b], max_registers=18, max_gap=9) == [ReadRequest((a, b)), ReadRequest((c,))]


def test_a_block_is_split_at_its_widest_gap_else_in_the_middle() -> None:
    spans = [ChannelSpan(4, at, 1, str(at)) for at in (0, 1, 2, 3, 6, 7)]
    halves = split(ReadRequest(tuple(spans)))
    assert halves
    assert [h.address for h in halves] == [0, 6]
    halves = split(halves[0])
    assert halves
    assert [h.address for h in halves] == [0, 2]


def test_channels_in_one_register_are_never_split() -> None:
    assert split(ReadRequest((ChannelSpan(4, 5, 1, "a"), ChannelSpan(4, 5, 1, "b")))) is None


def test_a_plan_replaces_a_refused_request() -> None:
    a, b, c = ChannelSpan(4, 0, 1, "a"), ChannelSpan(4, 1, 1, "b"), ChannelSpan(4, 50, 1, "c")
    requests = Requests(Header("M", "D"), rtu=False)
    requests.plan({0.0: [a, b, c]})
    plan = requests.plans[0.0]
    halves = requests.split(plan, plan.requests[0])
    assert list(halves) == [ReadRequest((a,)), ReadRequest((b,))]
    assert not requests.split(plan, halves[1])
    assert plan.requests == [ReadRequest((a,)), ReadRequest((c,))]
    assert list(requests.refused) == ["b"]


@given(SPANS, st.integers(4, 125), st.lists(st.integers(0, 300)))
def test_longer_requests_keep_the_limits_and_those_unlike_all_others_say_so(
    wanted: list[ChannelSpan], max_registers: int, split_at: list[int]
) -> None:
    blocks = join(wanted, max_registers=max_registers, max_gap=4, split_at=split_at)
    longer = distinct(blocks, max_registers=max_registers, split_at=split_at)
    assert [one.spans for one in longer] == [one.spans for one in blocks]
    sizes = [(one.function, one.size) for one in longer]
    for one in longer:
        assert one.count <= max_registers
        assert not any(
            one.address < at < one.address + one.count for at in split_at if at >= max(s.end for s in one.spans)
        )
        assert (one.reuse is Reuse.SAME) == (sizes.count((one.function, one.size)) == 1)
    before = [(one.function, one.size) for one in blocks]
    assert len(set(sizes)) >= len(set(before))


def test_neighbours_of_one_length_differ_by_a_register_or_by_a_pair_where_all_values_are_pairs() -> None:
    words = [ReadRequest((ChannelSpan(3, at, 1, str(at)),)) for at in (0, 50, 100)]
    assert [one.count for one in distinct(words, max_registers=125)] == [1, 2, 3]
    assert [one.count for one in distinct(words, max_registers=125, fixed=[words[1]])] == [2, 1, 3]
    assert [one.count for one in distinct(words, max_registers=125, split_at=[1])] == [1, 2, 3]
    pairs = [ReadRequest((ChannelSpan(3, at, 2, str(at)),)) for at in (0, 50, 100)]
    assert [one.count for one in distinct(pairs, max_registers=125)] == [2, 4, 6]
    bits = [ReadRequest((ChannelSpan(1, at, 1, str(at)),)) for at in (0, 50)]
    assert [one.count for one in distinct(bits, max_registers=125)] == [1, 9]

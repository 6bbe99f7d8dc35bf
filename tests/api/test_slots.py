from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.api.slots import Slots


def test_who_comes_when_all_slots_are_taken_gets_one_of_the_address_with_the_most() -> None:
    evicted: list[str] = []
    slots = Slots[str](4, 3, margin=2, evict=evicted.append)
    assert all(slots.take("a", client) for client in ("a1", "a2", "a3"))
    assert not slots.take("a", "a4")
    assert slots.take("b", "b1")
    assert slots.take("c", "c1")
    assert evicted == ["a1"]
    assert not slots.take("d", "d1") or evicted == ["a1", "a2"]
    assert len(slots) == 4


def test_without_a_margin_the_oldest_that_may_leave_makes_room_for_its_own_address() -> None:
    evicted: list[str] = []
    slots = Slots[str](4, 2, margin=0, evict=evicted.append, may_leave=lambda client: client != "a1")
    assert all(slots.take("a", client) for client in ("a1", "a2", "a3"))
    assert evicted == ["a2"]
    slots.leave("a3")
    slots.leave("a3")
    assert len(slots) == 1


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([0, 2]),
)
def test_slots_are_never_more_than_there_are_and_an_address_with_none_gets_one_before_others_get_two_more(
    events: list[tuple[str, bool]], most: int, each: int, margin: int
) -> None:
    taken: dict[int, str] = {}
    slots = Slots[int](most, each, margin=margin, evict=taken.pop)
    for number, (address, leaves) in enumerate(events):
        if leaves and taken:
            client = next(iter(taken))
            slots.leave(client)
            del taken[client]
        elif slots.take(address, number):
            taken[number] = address
        else:
            held = Counter(taken.values())
            assert held[address] >= each or max(held.values()) < held[address] + max(margin, 1)
        held = Counter(taken.values())
        assert len(slots) == len(taken) <= most
        assert all(count <= each for count in held.values())

from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import Frame, decode, encode
from heliograph.messages import Watermark as Mark
from heliograph.store.interface import Progress
from services.storage.journal_intake import Intake, Verdict

METER = "pi/meter"


def intake(committed: dict[tuple[str, str], Progress] | None = None) -> Intake:
    return Intake(committed or {}, "db-1", 10.0)


def frame(sequence: int, base: int = 1, epoch: str = "a") -> Frame:
    return Frame([], epoch, sequence, base)


def take(box: Intake, *sequences: int) -> None:
    for sequence in sequences:
        assert box.judge(METER, frame(sequence)) is Verdict.TAKE
        assert box.take(METER, frame(sequence)) == 0


def test_the_next_frame_is_taken_once() -> None:
    box = intake()
    take(box, 1, 2, 3)
    assert [box.judge(METER, frame(sequence)) for sequence in (1, 3, 4)] == [
        Verdict.DUPLICATE,
        Verdict.DUPLICATE,
        Verdict.TAKE,
    ]


def test_a_frame_behind_a_gap_waits_for_what_is_missing() -> None:
    box = intake()
    take(box, 1)
    assert box.judge(METER, frame(3)) is Verdict.GAP
    mark = box.mark(METER, "a", gap=True)
    assert (mark.committed, mark.wanted, mark.gap) == (0, 2, True)


def test_a_frame_that_is_the_oldest_its_producer_has_declares_what_is_before_it_lost() -> None:
    box = intake({(METER, "a"): Progress(10, 2)})
    assert box.judge(METER, frame(15, base=14)) is Verdict.GAP
    assert box.judge(METER, frame(15, base=15)) is Verdict.TAKE
    assert box.take(METER, frame(15, base=15)) == 4
    assert box.uncommitted() == {(METER, "a"): Progress(15, 6)}
    assert box.losses() == {METER: 6}


def test_a_producer_without_a_loss_is_not_in_the_losses() -> None:
    box = intake({(METER, "a"): Progress(10, 0), ("pi/radio", "b"): Progress(3, 1), ("pi/radio", "c"): Progress(9, 2)})
    assert box.losses() == {"pi/radio": 3}


def test_epochs_and_producers_do_not_disturb_each_other() -> None:
    box = intake()
    take(box, 1, 2)
    assert box.judge(METER, frame(1, epoch="b")) is Verdict.TAKE
    assert box.judge("pi/radio", frame(1)) is Verdict.TAKE
    assert box.judge("roof/meter", frame(3)) is Verdict.GAP


def test_what_is_taken_is_not_committed_until_it_is() -> None:
    box = intake()
    take(box, 1, 2)
    progress = box.uncommitted()
    take(box, 3)
    box.commit(progress)
    mark = box.mark(METER, "a")
    assert (mark.committed, mark.wanted) == (2, 4)
    assert box.uncommitted() == {(METER, "a"): Progress(3, 0)}
    box.commit(box.uncommitted())
    assert box.uncommitted() == {}


def test_a_start_tells_every_producer_its_newest_epoch_and_asks_for_the_rest() -> None:
    box = intake({(METER, "a"): Progress(10, 0), (METER, "b"): Progress(4, 0), ("pi/radio", "c"): Progress(7, 0)})
    marks = box.marks()
    assert {producer: (mark.epoch, mark.committed, mark.gap) for producer, mark in marks.items()} == {
        METER: ("b", 4, True),
        "pi/radio": ("c", 7, True),
    }
    assert decode(Mark, encode(marks[METER])) == marks[METER]
    box.take(METER, frame(1, epoch="z"))
    assert box.marks()[METER].epoch == "z"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 12), st.booleans()), max_size=80))
def test_no_frame_is_taken_twice_and_every_jump_is_counted(steps: list[tuple[str, int, int, bool]]) -> None:
    box = intake()
    taken: dict[str, list[int]] = {"a": [], "b": []}
    lost = 0
    for epoch, sequence, base, commits in steps:
        item = frame(sequence, base, epoch)
        if box.judge(METER, item) is Verdict.TAKE:
            lost += box.take(METER, item)
            taken[epoch].append(sequence)
        if commits:
            box.commit(box.uncommitted())
            assert box.mark(METER, epoch).committed == max(taken[epoch], default=0)
    for sequences in taken.values():
        assert sequences == sorted(set(sequences))
    assert lost == sum(max(sequences, default=0) - len(sequences) for sequences in taken.values())
    assert box.losses().get(METER, 0) == lost

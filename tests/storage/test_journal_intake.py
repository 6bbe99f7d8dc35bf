from hypothesis import given
from hypothesis import strategies as st

from heliograph.messages import LARGEST_COUNT, Frame, Watermark, decode, encode
from heliograph.store.interface import Progress
from services.storage.journal_intake import JournalIntake, Verdict

METER = "pi/meter"


def intake(committed: dict[tuple[str, str], Progress] | None = None) -> JournalIntake:
    return JournalIntake(committed or {}, "db-1", 10.0)


def frame(sequence: int, base: int = 1, epoch: str = "a") -> Frame:
    return Frame([], epoch, sequence, base)


def accept(box: JournalIntake, *sequences: int) -> None:
    for sequence in sequences:
        assert box.classify(METER, frame(sequence)) is Verdict.ACCEPT
        assert box.accept(METER, frame(sequence)) == 0


def test_the_next_frame_is_taken_once() -> None:
    box = intake()
    accept(box, 1, 2, 3)
    assert [box.classify(METER, frame(sequence)) for sequence in (1, 3, 4)] == [
        Verdict.DUPLICATE,
        Verdict.DUPLICATE,
        Verdict.ACCEPT,
    ]


def test_a_frame_behind_a_gap_waits_for_what_is_missing() -> None:
    box = intake()
    accept(box, 1)
    assert box.classify(METER, frame(3)) is Verdict.GAP
    watermark = box.watermark(METER, "a", gap=True)
    assert (watermark.committed, watermark.wanted, watermark.gap) == (0, 2, True)


def test_of_an_epoch_of_which_nothing_came_yet_the_first_frame_is_wanted() -> None:
    box = intake()
    assert box.classify(METER, frame(3)) is Verdict.GAP
    assert box.watermark(METER, "a", gap=True) == Watermark("a", 0, 1, "db-1", 10.0, True)


def test_a_frame_that_is_the_oldest_its_producer_has_declares_what_is_before_it_lost() -> None:
    box = intake({(METER, "a"): Progress(10, 2)})
    assert box.classify(METER, frame(15, base=14)) is Verdict.GAP
    assert box.classify(METER, frame(15, base=15)) is Verdict.ACCEPT
    assert box.accept(METER, frame(15, base=15)) == 4
    assert box.uncommitted() == {(METER, "a"): Progress(15, 6)}
    assert box.losses() == {METER: 6}


def test_a_producer_without_a_loss_is_not_in_the_losses() -> None:
    box = intake({(METER, "a"): Progress(10, 0), ("pi/radio", "b"): Progress(3, 1), ("pi/radio", "c"): Progress(9, 2)})
    assert box.losses() == {"pi/radio": 3}


def test_epochs_and_producers_do_not_disturb_each_other() -> None:
    box = intake()
    accept(box, 1, 2)
    assert box.classify(METER, frame(1, epoch="b")) is Verdict.ACCEPT
    assert box.classify("pi/radio", frame(1)) is Verdict.ACCEPT
    assert box.classify("roof/meter", frame(3)) is Verdict.GAP


def test_what_is_taken_is_not_committed_until_it_is() -> None:
    box = intake()
    accept(box, 1, 2)
    progress = box.uncommitted()
    accept(box, 3)
    box.commit(progress)
    watermark = box.watermark(METER, "a")
    assert (watermark.committed, watermark.wanted, watermark.gap) == (2, 4, False)
    assert box.uncommitted() == {(METER, "a"): Progress(3, 0)}
    box.commit(box.uncommitted())
    assert box.uncommitted() == {}


def test_a_start_tells_every_producer_its_newest_epoch_and_asks_for_the_rest() -> None:
    box = intake({(METER, "a"): Progress(10, 0), (METER, "b"): Progress(4, 0), ("pi/radio", "c"): Progress(7, 0)})
    watermarks = box.watermarks()
    assert {
        producer: (watermark.epoch, watermark.committed, watermark.gap) for producer, watermark in watermarks.items()
    } == {
        METER: ("b", 4, True),
        "pi/radio": ("c", 7, True),
    }
    assert decode(Watermark, encode(watermarks[METER])) == watermarks[METER]
    box.accept(METER, frame(1, epoch="z"))
    assert box.watermarks()[METER].epoch == "z"


def test_a_store_with_an_absurd_number_says_so_in_words_that_a_producer_understands() -> None:
    box = intake({(METER, "a"): Progress(LARGEST_COUNT, 0)})
    watermark = box.watermarks()[METER]
    assert decode(Watermark, encode(watermark)) == watermark
    assert watermark.committed == LARGEST_COUNT  # more than the producer ever sent: it begins a new epoch


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 12), st.booleans()), max_size=80))
def test_no_frame_is_taken_twice_and_every_jump_is_counted(steps: list[tuple[str, int, int, bool]]) -> None:
    box = intake()
    taken: dict[str, list[int]] = {"a": [], "b": []}
    lost = 0
    for epoch, sequence, base, commits in steps:
        item = frame(sequence, base, epoch)
        if box.classify(METER, item) is Verdict.ACCEPT:
            lost += box.accept(METER, item)
            taken[epoch].append(sequence)
        if commits:
            box.commit(box.uncommitted())
            assert box.watermark(METER, epoch).committed == max(taken[epoch], default=0)
    for sequences in taken.values():
        assert sequences == sorted(set(sequences))
    assert lost == sum(max(sequences, default=0) - len(sequences) for sequences in taken.values())
    assert box.losses().get(METER, 0) == lost

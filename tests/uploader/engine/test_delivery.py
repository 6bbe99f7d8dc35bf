"""What each response of a target means for the rows of a request, request by request."""

from collections.abc import Sequence

import pytest

from services.uploader.engine.batch import Batch, BatchKind
from services.uploader.engine.batch_size import BatchSize
from services.uploader.engine.delivery import MANY, REFUSAL_SECONDS, Delivery
from services.uploader.engine.result import BatchResult
from services.uploader.target import Answer, Limits, Refused, Row, TryLater
from tests.uploader.engine.fakes import NOON, FakeTarget, fake_options, mapped

CHANNELS = (mapped("power"), mapped("voltage"))
NEWEST = Row(NOON + 1000, CHANNELS, (1.0, 2.0), 1000.0)
STUMBLES = TryLater("HTTP 500: panic")


def rows(count: int, first: int = 0) -> list[Row]:
    return [Row(NOON + index, CHANNELS, (1.0, 2.0), float(index)) for index in range(first, first + count)]


class Line:
    """A delivery to a target that answers by a script, with the batch that is left."""

    def __init__(
        self, batch: Sequence[Row], limits: Limits, newest: Row | None = NEWEST, kind: BatchKind = "range"
    ) -> None:
        self.target = FakeTarget(limits)
        self.size = BatchSize(fake_options(), self.target)
        self.delivery = Delivery(self.target, lambda text: text.replace("t0p-secret", "…"), self.size, lambda: newest)
        self.batch = Batch.of(kind, 0.0, 2000.0, batch)
        self.accepted: list[float] = []
        self.rejected: list[tuple[float, str]] = []

    def send(self, *answers: object) -> BatchResult:
        """Send one request, to which and to those that it leads to the target answers so; return the result."""
        self.target.script = list(answers)
        result = self.delivery.send(self.batch, self.size.next(self.batch.pieces[0][0]))
        assert self.target.script == []
        self.batch = result.rest
        self.accepted += [row.time - NOON for row in result.accepted]
        self.rejected += [(one.row.time - NOON, one.reason) for one in result.rejected]
        return result

    def requests(self) -> list[list[float]]:
        """Return the rows of each request since the last call, in s since noon."""
        sent = [[row.time - NOON for row in request] for request in self.target.requests]
        self.target.requests.clear()
        return sent

    def left(self) -> list[float]:
        return [row.time - NOON for piece in self.batch.pieces for row in piece]


def test_after_six_failures_batches_are_halved_and_a_row_is_suspected_until_all_sizes_are_well_again() -> None:
    line = Line(rows(24), Limits(rows=8))
    for size in (*[8] * 6, 4, 2):
        assert line.send(STUMBLES).retry is STUMBLES
        assert [len(request) for request in line.requests()] == [size]
    result = line.send(STUMBLES, None, TryLater("HTTP 500: t0p-secret"))
    assert result.retry is None
    assert line.requests() == [[0], [1000], [0]]
    assert (line.rejected, line.left()) == ([], list(range(1, 24)))  # another row may be refused as well
    line.send(None)
    assert (line.accepted, line.rejected) == ([1], [(0, "HTTP 500: …")])
    assert line.send(STUMBLES).retry  # suspicious still: smaller at once
    line.send(None)
    line.send(None)
    line.send(None)
    assert [len(request) for request in line.requests()] == [1, 2, 1, 2, 4]
    assert line.send(STUMBLES).retry is STUMBLES
    line.send(None)
    assert [len(request) for request in line.requests()] == [8, 8]
    assert line.accepted == list(range(1, 17))


def test_rows_between_one_that_is_refused_and_one_that_has_to_wait_are_not_sent_again() -> None:
    busy = TryLater("HTTP 429", after=7.0, done=3)
    line = Line(rows(5), Limits(rows=5, overwrites=False))
    result = line.send(Refused("bad", {0: "bad"}, later=busy))
    assert result.retry is busy
    assert (line.accepted, line.left()) == ([1, 2], [3, 4])
    line.send(None)
    assert line.requests() == [[0, 1, 2, 3, 4], [3, 4]]
    assert (line.accepted, line.rejected) == ([1, 2, 3, 4], [(0, "bad")])


@pytest.mark.parametrize(
    ("again", "accepted", "reasons"),
    [(None, [0], []), (TryLater("HTTP 500"), [], ["HTTP 500"]), (Refused("bad", None), [], ["bad"])],
)
def test_a_suspected_row_is_sent_once_more_after_another_was_accepted(
    again: object, accepted: list[float], reasons: list[str]
) -> None:
    line = Line(rows(1), Limits(rows=1))
    for _ in range(5):
        line.send(STUMBLES)
    result = line.send(STUMBLES, None, again)
    assert (result.retry, line.left()) == (None, [])
    assert (line.accepted, [reason for _, reason in line.rejected]) == (accepted, reasons)


@pytest.mark.parametrize("probe", [TryLater("away"), Refused("bad"), TryLater("later", after=60.0)])
def test_a_target_that_does_not_accept_another_row_either_is_waited_for(probe: Exception) -> None:
    line = Line(rows(2), Limits(rows=1))
    for _ in range(5):
        line.send(STUMBLES)
    assert line.send(STUMBLES, probe).retry is STUMBLES
    assert (line.accepted, line.rejected, line.left()) == ([], [], [0, 1])


@pytest.mark.parametrize(
    ("limits", "newest"),
    [
        (Limits(rows=1), None),
        (Limits(rows=1), rows(1)[0]),
        (Limits(rows=1, ordered=True), NEWEST),
        (Limits(rows=1, overwrites=False), NEWEST),
    ],
)
def test_without_another_row_that_does_no_harm_a_row_that_fails_is_waited_for(
    limits: Limits, newest: Row | None
) -> None:
    line = Line(rows(2), limits, newest)
    for _ in range(20):
        assert line.send(STUMBLES).retry is STUMBLES
    assert line.requests() == [[0]] * 20


def test_a_target_that_says_when_to_come_back_is_not_suspected_of_stumbling() -> None:
    line = Line(rows(2), Limits(rows=2))
    for _ in range(20):
        assert line.send(TryLater("busy", after=1.0)).retry
    assert line.requests() == [[0, 1]] * 20


def test_of_rows_that_are_too_large_together_half_as_many_are_sent_from_then_on() -> None:
    line = Line(rows(9), Limits(rows=9))
    line.send(TryLater("too large", done=1, smaller=True))
    assert line.accepted == [0]
    line.send(TryLater("too large", smaller=True))
    line.send(TryLater("too large", smaller=True))
    result = line.send(TryLater("t0p-secret is too large", smaller=True))
    assert line.requests() == [list(range(9)), [1, 2, 3, 4], [1, 2], [1]]
    assert result.retry is None
    line.send(None)
    assert (line.accepted, line.rejected) == ([0, 2], [(1, "… is too large")])
    assert line.requests() == [[2]]


def test_a_row_that_was_accepted_before_the_one_that_is_too_large_makes_it_a_dead_letter_at_once() -> None:
    line = Line(rows(3), Limits(rows=2))
    line.send(TryLater("too large", done=1, smaller=True))
    assert (line.accepted, line.rejected, line.left()) == ([0], [(1, "too large")], [2])


@pytest.mark.parametrize("ordered", [False, True])
def test_sixteen_refused_rows_in_a_row_wait_if_the_target_refuses_all_of_them(ordered: bool) -> None:
    line = Line(rows(20), Limits(rows=1, ordered=ordered))
    for number in range(MANY - 1):
        assert line.send(Refused(f"no 'field{number}' at {number}.5 t0p-secret")).retry is None
    assert line.rejected == []
    probe = [] if ordered else [Refused("no")]
    for _ in range(3):  # later it is asked with one row, not with sixteen
        retry = line.send(Refused("no 'x' at 9 t0p-secret"), *probe).retry
        assert retry is not None
        assert retry.after == REFUSAL_SECONDS == 300.0
        why = (
            "it refused many rows in a row for one reason" if ordered else "it refuses everything, even the newest row"
        )
        assert str(retry) == f"{why}: no 'x' at 9 …"
        assert (line.rejected, line.left()) == ([], list(range(20)))


def test_of_a_target_that_needs_order_a_refusal_for_another_reason_begins_the_count_again() -> None:
    line = Line(rows(40), Limits(rows=1, ordered=True))
    for reason in (*["one"] * 15, "two", *["one"] * 15):
        assert line.send(Refused(reason)).retry is None
    assert line.send(Refused("one")).retry


def test_sixteen_bad_rows_are_dead_letters_once_the_newest_row_was_accepted() -> None:
    line = Line(rows(20), Limits(rows=1))
    for _ in range(MANY - 1):
        line.send(Refused("bad"))
    assert line.send(Refused("bad"), None).retry is None
    assert [time for time, _ in line.rejected] == list(range(16))
    line.requests()
    line.send(Refused("bad"))  # of this batch no other row is doubted
    assert ([time for time, _ in line.rejected], line.requests()) == (list(range(17)), [[16]])


def test_sixteen_refused_rows_wait_while_the_target_is_away() -> None:
    line = Line(rows(20), Limits(rows=1))
    for _ in range(MANY - 1):
        line.send(Refused("bad"))
    away = TryLater("away")
    assert line.send(Refused("bad"), away).retry is away
    assert (line.rejected, sorted(line.batch.positions())) == ([], list(range(20)))


def test_sixteen_refused_rows_are_dead_letters_where_no_other_row_can_be_sent() -> None:
    line = Line(rows(20), Limits(rows=1, overwrites=False))
    for _ in range(MANY):
        assert line.send(Refused("bad")).retry is None
    assert [time for time, _ in line.rejected] == list(range(16))


def test_a_refused_request_that_names_no_row_is_sent_in_halves() -> None:
    line = Line(rows(5), Limits(rows=4))
    result = line.send(Refused("t0p-secret is bad"))
    assert (result.response, result.retry) == ("… is bad", None)
    line.send(Refused("bad"))
    line.send(None)
    line.send(Refused("t0p-secret: bad"))
    line.send(None)
    line.send(None)
    assert line.requests() == [[0, 1, 2, 3], [0, 1], [0], [1], [2, 3], [4]]
    assert (line.accepted, line.rejected) == ([0, 2, 3, 4], [(1, "…: bad")])


def test_of_the_rows_that_a_target_names_each_has_its_reason_and_the_others_were_accepted() -> None:
    line = Line(rows(4), Limits(rows=4))
    result = line.send(Refused("partial t0p-secret", {2: "c t0p-secret", 0: "a"}))
    assert (line.accepted, line.rejected, line.left()) == ([1, 3], [(0, "a"), (2, "c …")], [])
    assert result.response == "partial …"


def test_of_a_row_whose_other_values_were_accepted_the_refused_ones_are_a_dead_letter_at_once() -> None:
    line = Line(rows(30), Limits(rows=1))
    (letter,) = line.send(Refused("partial", {0: "type"}, {0: (1,)})).rejected
    assert (letter.row.channels, letter.row.values, letter.id) == (CHANNELS[1:], (2.0,), 0)
    line.requests()
    for _ in range(29):  # the target accepts something: it does not refuse everything
        line.send(Refused("bad"))
    assert line.requests() == [[number] for number in range(1, 30)]
    assert [time for time, _ in line.rejected] == list(range(30))


@pytest.mark.parametrize("ordered", [False, True])
def test_a_dead_letter_that_is_refused_again_stays_whole_under_its_number(ordered: bool) -> None:
    rejected = [row._replace(position=float(40 + number)) for number, row in enumerate(rows(20))]
    line = Line(rejected, Limits(rows=1, ordered=ordered), kind="dead_letters")
    (letter,) = line.send(Refused("partial", {0: "type"}, {0: (1,)})).rejected
    assert (letter.row, letter.id, letter.reason) == (rejected[0], 40, "partial")
    for _ in range(19):
        assert line.send(Refused("bad")).retry is None
    assert [time for time, _ in line.rejected] == list(range(20))


def test_what_a_target_answers_is_shown_without_secrets_and_its_pause_is_kept() -> None:
    line = Line(rows(1), Limits(rows=1))
    result = line.send(Answer("thank you, t0p-secret", 5.0))
    assert (result.response, result.pause) == ("thank you, …", 5.0)


def test_a_batch_without_rows_needs_no_request() -> None:
    line = Line(rows(1), Limits(rows=1))
    result = line.delivery.send(Batch.of("range", 0.0, 9.0, []), 10)
    assert (result.rest.upto, result.accepted, result.settles(), line.requests()) == (9.0, (), True, [])

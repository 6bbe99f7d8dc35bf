"""When the failures of a target are a problem of the node."""

from services.uploader.engine.outage import PROBLEM_SECONDS, Outage


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def failing(clock: Clock) -> Outage:
    outage = Outage("hook", lambda text: text.replace("secret", "***"), clock)
    outage.trying()
    return outage


def test_a_target_that_accepts_nothing_for_a_while_is_a_problem_until_it_does() -> None:
    clock = Clock()
    outage = failing(clock)
    clock.now += PROBLEM_SECONDS - 1
    outage.failed("no answer to secret")
    assert outage.problem() == ""
    clock.now += 1
    assert outage.problem() == "target hook accepts nothing: no answer to ***"
    outage.trying()
    assert outage.problem(), "the next try has not ended yet"
    outage.over()
    assert outage.problem() == ""


def test_a_failure_soon_after_a_success_is_no_problem_however_long_the_target_worked_before() -> None:
    clock = Clock()
    outage = failing(clock)
    outage.over()
    clock.now += 1000
    outage.trying()
    outage.failed("connection refused")
    assert outage.problem() == ""


def test_what_something_else_reports_is_no_problem_of_the_target() -> None:
    clock = Clock()
    outage = failing(clock)
    outage.failed("there is no store", is_problem=False)
    clock.now += 1000
    assert outage.problem() == ""


def test_an_unexpected_error_is_a_problem_without_its_text() -> None:
    clock = Clock()
    outage = failing(clock)
    outage.raised(ValueError("secret"), "")
    clock.now += PROBLEM_SECONDS
    assert outage.problem() == "target hook accepts nothing: an unexpected error, see the log: ValueError"

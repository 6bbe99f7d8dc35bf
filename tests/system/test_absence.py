import time
from collections.abc import Callable
from typing import Any

import pytest

AWAY_SECONDS = 5.0
FULL_AWAY_SECONDS = 60.0


@pytest.fixture
def away(request: pytest.FixtureRequest) -> float:
    return FULL_AWAY_SECONDS if request.config.getoption("--full") else AWAY_SECONDS


def started(site: Callable[..., Any], away: float) -> Any:
    node = site(int(200 * (away + 6)), 200)
    node.start("storage")
    node.start("numbered")
    return node


def assert_exactly_once(node: Any) -> None:
    stored = node.stored()
    assert sorted(stored) == list(range(node.count))
    assert node.declared_lost() == 0


@pytest.mark.timeout(300)
def test_a_broker_that_is_away_for_a_while_costs_no_reading(
    site: Callable[..., Any], eventually: Callable[..., Any], away: float
) -> None:
    node = started(site, away)
    eventually(node.stores, 60)
    node.kill("broker")
    time.sleep(away)
    node.start("broker")
    eventually(node.complete, 120)
    assert_exactly_once(node)


@pytest.mark.timeout(300)
def test_a_storage_that_is_away_for_a_while_costs_no_reading(
    site: Callable[..., Any], eventually: Callable[..., Any], away: float
) -> None:
    node = started(site, away)
    eventually(node.stores, 60)
    node.kill("storage")
    time.sleep(away)
    node.start("storage")
    eventually(node.complete, 120)
    assert_exactly_once(node)


@pytest.mark.timeout(300)
def test_a_producer_that_restarts_while_broker_and_storage_are_away_costs_no_reading(
    site: Callable[..., Any], eventually: Callable[..., Any], away: float
) -> None:
    node = started(site, away)
    eventually(node.stores, 60)
    node.kill("storage")
    node.kill("broker")
    time.sleep(away / 2)
    node.kill("numbered")
    node.start("numbered")
    time.sleep(away / 2)
    node.start("broker")
    node.start("storage")
    eventually(node.complete, 120)
    assert_exactly_once(node)


def test_a_clean_stop_and_start_of_everything_costs_no_reading(
    site: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    node = started(site, AWAY_SECONDS)
    eventually(node.stores, 60)
    assert node.stop("numbered") == 0
    assert node.stop("storage") == 0
    node.start("numbered")
    node.start("storage")
    eventually(node.complete, 60)
    assert_exactly_once(node)

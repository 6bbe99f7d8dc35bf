"""Files of a store that are not what they are called, older copies, and files that are gone: reported, and healed as far as bytes allow."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from heliograph.store import folder, recovery
from tests.heliograph.test_recovery import Content, content, opened, write

YEAR = "history-2024.db"  # the newest of the store, which readings come for


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store with two sealed years, and the same one three days later."""
    older, newer = tmp_path_factory.mktemp("older"), tmp_path_factory.mktemp("newer")
    with closing(opened(newer)) as writer:
        write(writer, "meter", 0, 10)
        write(writer, "meter", 1, 30)
        writer.settle()
    shutil.copytree(newer, older, dirs_exist_ok=True)
    with closing(opened(newer, 5.0)) as writer:
        write(writer, "meter", 4, 50)
        writer.settle()
    return older, newer


@pytest.fixture
def data(copies: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(copies[1], tmp_path / "data")


def started(data: Path) -> list[str]:
    """Start storage, which gets a reading of the newest year, twice; return what it says then."""
    for day in (5.5, 5.75):
        with closing(opened(data, 6.0)) as writer:
            write(writer, "new", day)
            writer.settle()
            problems = writer.problems()
    return problems


def old_of(points: Content) -> Content:
    return {name: values for name, values in points.items() if "/new/" not in name}


def test_a_store_in_which_nothing_was_exchanged_says_nothing(data: Path) -> None:
    before = content(data)
    assert started(data) == []
    assert old_of(content(data)) == before


def test_an_older_copy_of_a_year_is_noticed_and_what_it_lacks_comes_back(data: Path, copies: tuple[Path, Path]) -> None:
    before = content(data)
    newer = data / "newer.db"
    shutil.move(folder(data) / YEAR, newer)
    shutil.copy(folder(copies[0]) / YEAR, folder(data))
    (problem,) = started(data)
    assert problem.startswith(f"{YEAR} is an older copy of that year")
    assert f"as {YEAR}.damaged-1-1 " in problem
    assert old_of(content(data)) != before
    shutil.move(newer, folder(data) / f"{YEAR}.damaged-1-1")
    assert started(data) == [problem]
    assert old_of(content(data)) == before


def test_a_year_that_is_gone_stays_a_problem_when_readings_begin_it_from_scratch(data: Path) -> None:
    before = content(data)
    there = data / "there.db"
    shutil.move(folder(data) / YEAR, there)
    (problem,) = started(data)
    assert problem.startswith(f"{YEAR} was missing when readings came for that year")
    shutil.move(there, folder(data) / f"{YEAR}.damaged-1-1")
    assert started(data) == [problem]
    assert old_of(content(data)) == before


def exchanged(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


@pytest.mark.parametrize("change", [exchanged, shutil.move])
def test_a_year_under_the_name_of_another_is_stored_again_as_what_it_is(
    data: Path, change: Callable[[Path, Path], object]
) -> None:
    before = content(data)
    other = YEAR if change is exchanged else "history-2019.db"
    change(folder(data) / "history-2023.db", folder(data) / other)
    assert any("is not what it is called" in sentence for sentence in recovery.disagreements(folder(data)))
    assert started(data) == []
    assert old_of(content(data)) == before


def test_a_year_of_another_store_is_stored_by_its_names_and_what_it_replaced_is_reported(
    data: Path, tmp_path: Path
) -> None:
    before = content(data)
    with closing(opened(tmp_path / "other")) as writer:
        write(writer, "attic", 1, 70)
        write(writer, "meter", 1, 80)
        writer.settle()
    shutil.copy(folder(tmp_path / "other") / YEAR, folder(data))
    (problem,) = started(data)
    assert problem.startswith(f"{YEAR} is of another store")
    after = content(data)
    assert len(after["roof/attic/power"]) == 10
    assert before["roof/meter/power"][:10] == after["roof/meter/power"][:10]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("hot.db", YEAR),
        ("catalog.db", YEAR),
        ("hot.db", "catalog.db"),
        (YEAR, "catalog.db"),
        ("catalog.db", "hot.db"),
        (YEAR, "hot.db"),
    ],
)
def test_a_file_under_the_name_of_another_kind_is_moved_aside_and_reported(
    data: Path, source: str, target: str
) -> None:
    before = content(data)
    shutil.copy(folder(data) / source, folder(data) / target)
    problems = started(data)
    assert [problem for problem in problems if problem.startswith(target)]
    after = old_of(content(data))
    assert all(set(after[name]) <= set(before[name]) for name in after)
    assert target == YEAR or after == before

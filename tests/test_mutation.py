"""The mutants of the sampler that is run by hand, `python -m tests.mutation`."""

import tomllib
from pathlib import Path

from tests.mutation import mutants
from tests.mutation.mutants import Mutant

ROOT = Path(__file__).parents[1]
SOURCE = """
def clamp(value: int, most: int = 10) -> int:
    if value > most and value:
        log.warning("ä: %d", value + 1)
        value = most
    for one in range(value):
        if one == 3:
            continue
        note(one)
    return min(value, most)
""".encode()


def lines(mutant: Mutant) -> str:
    """The lines of the source that a mutant changed."""
    before, after = SOURCE.decode().split("\n"), mutant.applied(SOURCE).decode().split("\n")
    return " ".join(new.strip() for old, new in zip(before, after, strict=True) if old != new)


def test_every_kind_of_fault_is_made_once_and_log_lines_and_annotations_are_left_alone() -> None:
    assert [lines(mutant) for mutant in mutants.sample(mutants.find(SOURCE), 100, "any")] == [
        "def clamp(value: int, most: int = 11) -> int:",
        "def clamp(value: int, most: int = 9) -> int:",
        "if value >= most and value:",
        "if value > most or value:",
        "if not (value > most and value):",
        "if value <= most and value:",
        "pass",
        "if one != 3:",
        "if one == 4:",
        "if one == 2:",
        "pass",
        "break",
        "pass",
        "return None",
        "return max(value, most)",
    ]


def test_a_sample_follows_from_its_seed_and_has_at_most_a_fifth_of_a_kind() -> None:
    candidates = [
        Mutant(kind, at, at, at, b"") for at, kind in enumerate(["number"] * 50 + ["flag"] * 50 + list("abcdefgh"))
    ]
    drawn = mutants.sample(candidates, 10, "7")
    assert drawn == mutants.sample(list(candidates), 10, "7") != mutants.sample(candidates, 10, "8")
    assert sum(one.kind == "number" for one in drawn) == 2
    assert sum(one.kind == "flag" for one in drawn) <= 2
    assert [one.line for one in drawn] == sorted(one.line for one in drawn)
    assert len(mutants.sample(candidates[:50], 10, "7")) == 10


def test_the_modules_that_are_sampled_and_their_tests_exist() -> None:
    table = tomllib.loads((ROOT / "tests/mutation/modules.toml").read_text())
    for module, tests in table.items():
        assert tests, module
        for path in (module, *tests):
            file, _, name = path.partition("::")
            assert (ROOT / file).is_file(), path
            assert f"def {name}" in (ROOT / file).read_text(), path

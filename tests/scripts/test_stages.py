from pathlib import Path

import pytest

from scripts import stages
from scripts.stages import Stage, StageResult, summary

FAILING = "def test_a() -> None:\n    assert 1 == 2\n\n\ndef test_b() -> None:\n    pass\n"
SKIPPED = "import pytest\n\n\n@pytest.mark.skip('no engine here')\ndef test_a() -> None:\n    pass\n"
PASSING = "def test_a() -> None:\n    pass\n"


def make(folder: Path, name: str, content: str) -> Stage:
    (folder / f"test_{name}.py").write_text(content)
    return Stage(name, (f"test_{name}.py", "-q", "--rootdir=.", "-p", "no:cacheprovider"))


@pytest.mark.slow
def test_every_stage_runs_also_after_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # four starts of pytest, each in half the time
    made = [make(tmp_path, *one) for one in [("first", FAILING), ("second", SKIPPED), ("third", PASSING)]]
    made.append(Stage("fourth", ("--no-such-option",)))
    monkeypatch.setattr(stages, "STAGES", made)
    monkeypatch.setattr(stages, "run", lambda stage, run=stages.run: run(stage, tmp_path))
    assert stages.main() == 1
    lines = capfd.readouterr().out.partition("scripts/test:\n")[2].splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["first", "FAILED"],
        ["second", "left"],
        ["third", "passed"],
        ["fourth", "FAILED"],
        ["all", "FAILED"],
    ]
    assert "1 passed, 1 failed" in lines[0]
    assert lines[1].endswith("no engine here")
    assert lines[3].endswith("pytest ended with 4")
    assert lines[4].endswith("2 passed, 1 failed, 1 skipped")


@pytest.mark.parametrize(("strict", "is_well"), [(False, True), (True, False)])
def test_only_ci_takes_a_stage_that_was_left_out_for_a_failure(strict: bool, is_well: bool) -> None:
    results = [
        StageResult("fast", 0, 1.0, passed=5),
        StageResult("containers", 0, 1.0, skipped=3, reasons=("no engine",)),
    ]
    text, verdict = summary(results, strict=strict)
    assert verdict is is_well
    assert "left out" in text
    assert "no engine" in text


def test_a_skipped_test_in_a_stage_that_ran_is_named_with_its_reason() -> None:
    text, is_well = summary(
        [StageResult("fast", 0, 1.0, passed=5, skipped=1, reasons=("no micropython",))], strict=True
    )
    assert is_well
    assert "skipped: no micropython" in text

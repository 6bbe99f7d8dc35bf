"""Runs all stages of the tests, also after one that fails, and prints their sum: what scripts/test does."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from cli.programs import ROOT

NO_TESTS_COLLECTED = 5  # pytest's exit status
INTERRUPTED = 130
# Every process collects all tests: more of them than cores cost more than they save, unless the tests wait for servers.
BUSY = ("--numprocesses=logical", "--maxprocesses=4", "--dist=loadfile")
WAITING = ("--numprocesses=4", "--dist=loadfile")
OTHER_FOLDERS = ("tests/system", "tests/containers", "tests/counterparts")  # the last ones run by hand
MAIN_TESTS = ("tests", *(f"--ignore={folder}" for folder in OTHER_FOLDERS))


@dataclass(frozen=True)
class Stage:
    """One run of pytest."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StageResult:
    """What came of a stage. `reasons` says why tests were skipped, or why there are no counts."""

    stage: str
    exit_status: int
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def is_failed(self) -> bool:
        """Whether pytest reported a failure, or did not get as far."""
        return self.exit_status != 0

    @property
    def is_left_out(self) -> bool:
        """Whether all tests were skipped."""
        return not self.is_failed and not self.passed and self.skipped > 0


STAGES = (
    Stage("fast", (*MAIN_TESTS, "-m", "not slow", *BUSY)),
    Stage("with servers", (*MAIN_TESTS, "-m", "slow", *WAITING)),
    Stage(
        "without numpy",
        (*map(str, sorted(ROOT.glob("tests/heliograph/test_store*.py"))), "tests/heliograph/test_cells.py", *BUSY),
        {"PYTHONPATH": "tests/no_numpy"},
    ),
    Stage("whole sites", ("tests/system",)),
    Stage("containers", ("tests/containers",)),
)


def run(stage: Stage, folder: Path = ROOT) -> StageResult:
    """Run one stage in a folder and return what came of it; pytest prints to the terminal meanwhile."""
    with tempfile.TemporaryDirectory() as reports:
        report = Path(reports) / "report.xml"
        start = time.monotonic()
        command = [sys.executable, "-m", "pytest", *stage.arguments, f"--junit-xml={report}"]
        with subprocess.Popen(command, cwd=folder, env={**os.environ, **stage.environment}) as pytest:
            try:
                pytest.wait()
            except KeyboardInterrupt:
                pytest.wait()  # it was interrupted, too, and ends its servers
                raise
        return _result(stage.name, pytest.returncode, time.monotonic() - start, report)


def _result(name: str, exit_status: int, seconds: float, report: Path) -> StageResult:
    if not report.exists():
        reason = "it found no tests" if exit_status == NO_TESTS_COLLECTED else f"pytest ended with {exit_status}"
        return StageResult(name, exit_status, seconds, reasons=(reason,))
    cases = list(ElementTree.parse(report).iter("testcase"))
    skips = [skip for case in cases if (skip := case.find("skipped")) is not None]
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    return StageResult(
        name,
        exit_status,
        seconds,
        passed=len(cases) - failed - len(skips),
        failed=failed,
        skipped=len(skips),
        reasons=tuple(sorted({skip.get("message", "") for skip in skips})),
    )


def summary(results: Sequence[StageResult], *, strict: bool) -> tuple[str, bool]:
    """Return a table of the results, and whether all is well; if `strict` a stage that was left out is not."""
    lines = ["", "scripts/test:"]
    for result in results:
        counts = _counts(result.passed, result.failed, result.skipped)
        if result.is_failed:
            verdict, text = "FAILED", counts or "; ".join(result.reasons)
        elif result.is_left_out:
            verdict, text = "left out", "; ".join(result.reasons)
        else:
            verdict, text = "passed", counts
        lines.append(f"  {result.stage:<14}  {verdict:<8}  {result.seconds:>5.0f} s  {text}")
        if result.skipped and not result.is_left_out:
            lines += [f"{'':<36}skipped: {reason}" for reason in result.reasons]
    totals = [sum(getattr(result, name) for result in results) for name in ("passed", "failed", "skipped")]
    is_well = not any(result.is_failed or (strict and result.is_left_out) for result in results)
    verdict, seconds = "passed" if is_well else "FAILED", sum(result.seconds for result in results)
    lines.append(f"  {'all':<14}  {verdict:<8}  {seconds:>5.0f} s  {_counts(*totals)}")
    return "\n".join(lines), is_well


def _counts(passed: int, failed: int, skipped: int) -> str:
    counts = {"passed": passed, "failed": failed, "skipped": skipped}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def main() -> int:
    """Run every stage; return the exit status: 1 if a stage failed, in CI also if one was left out."""
    results: list[StageResult] = []
    interrupted = False
    try:
        for stage in STAGES:
            sys.stdout.write(f"\n=== {stage.name}\n")
            sys.stdout.flush()
            results.append(run(stage))
    except KeyboardInterrupt:
        interrupted = True
    text, is_well = summary(results, strict=os.environ.get("CI") == "true")
    sys.stdout.write(f"{text}\n")
    return INTERRUPTED if interrupted else int(not is_well)


if __name__ == "__main__":
    sys.exit(main())

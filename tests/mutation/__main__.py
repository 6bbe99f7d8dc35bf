"""How strong are the tests? Puts small faults into modules, one at a time, and looks which of them no test finds."""

import argparse
import random
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from difflib import unified_diff
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tests.mutation import mutants
from tests.mutation.mutants import Mutant
from tests.mutation.trial import ROOT, BaselineFailed, Copy, Verdict

MODULES = Path(__file__).with_name("modules.toml")
OUTCOMES = ("found", "time-out", "survived")


class Result(NamedTuple):
    """What became of a sample of a module's mutants."""

    module: str
    possible: int
    tried: dict[Mutant, Verdict]

    @property
    def row(self) -> list[str]:
        """The module's row in the table."""
        outcomes = Counter(verdict.outcome for verdict in self.tried.values())
        return [self.module, *map(str, (self.possible, len(self.tried), *(outcomes[one] for one in OUTCOMES)))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Sample modules; return 1 if mutants survived, 2 if tests fail without one."""
    table: dict[str, list[str]] = tomllib.loads(MODULES.read_text())
    options = _options(table, arguments)
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    print(f"seed {seed}", flush=True)
    results = []
    with ExitStack() as stack:
        folders = [
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutation-"))) for _ in range(options.processes)
        ]
        copies = [Copy(folder, () if options.slow else ("-m", "not slow")) for folder in folders]
        for module in options.modules or table:
            tests = options.tests or table[module]
            source = (ROOT / module).read_bytes()
            possible = [one for one in mutants.find(source) if options.first <= one.line <= options.last]
            sample = mutants.sample(possible, options.count, f"{seed} {module}")
            try:
                tried = _tried(copies, module, source, sample, tests)
            except BaselineFailed as error:
                print(f"{module}: its tests fail without a mutant:\n{error}")
                return 2
            results.append(Result(module, len(possible), tried))
            for mutant, verdict in tried.items():
                if verdict.outcome != "found":
                    print(f"\n{verdict.outcome} ({mutant.kind}):\n{difference(module, source, mutant)}")
    print(f"\n{report(results)}\nseed {seed}")
    return int(any(verdict.outcome == "survived" for result in results for verdict in result.tried.values()))


def report(results: Sequence[Result]) -> str:
    """Return the table of results, with a row for all."""
    rows = [["module", "possible", "tried", *OUTCOMES], *(result.row for result in results)]
    rows.append(["all", *(str(sum(int(row[at]) for row in rows[1:])) for at in range(1, len(rows[0])))])
    width = max(len(row[0]) for row in rows)
    return "\n".join("  ".join([f"{row[0]:{width}}", *(f"{cell:>8}" for cell in row[1:])]) for row in rows)


def difference(module: str, source: bytes, mutant: Mutant) -> str:
    """Return what a mutant changes, as a diff."""
    before, after = source.decode().splitlines(), mutant.applied(source).decode().splitlines()
    return "\n".join(unified_diff(before, after, module, module, n=1, lineterm=""))


def _options(table: dict[str, list[str]], arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation",
        description=__doc__,
        epilog=f"The tests of each module are in {MODULES.relative_to(ROOT)}. They run in a copy of the tree.",
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="path of a module; without any, all of the table")
    parser.add_argument("--count", type=int, default=24, help="how many mutants of each module to try (%(default)s)")
    parser.add_argument("--seed", type=int, help="draws the sample; without it another one every time")
    parser.add_argument("--processes", type=int, default=2, help="how many mutants to try at once (%(default)s)")
    parser.add_argument("--slow", action="store_true", help="run also tests that start servers or processes")
    parser.add_argument("--lines", default="", metavar="FIRST-LAST", help="only mutants that begin in these lines")
    parser.add_argument("--tests", nargs="+", metavar="TEST", help="these tests in place of those of the table")
    options = parser.parse_args(arguments)
    for module in options.modules:
        if not (ROOT / module).is_file() or not (options.tests or module in table):
            parser.error(f"{module} is not in {MODULES.relative_to(ROOT)}, which has {', '.join(table)}")
    first, _, last = options.lines.partition("-")
    try:
        options.first, options.last = int(first or 1), int(last or first or sys.maxsize)
    except ValueError:
        parser.error(f"--lines is like 10-20, not {options.lines}")
    return options


def _tried(
    copies: Sequence[Copy], module: str, source: bytes, sample: Sequence[Mutant], tests: list[str]
) -> dict[Mutant, Verdict]:
    effort = copies[0].measure(tests)
    print(f"\n{module}: {len(sample)} mutants; the tests take {effort.wall:.0f} s without one", flush=True)
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def verdict_on(mutant: Mutant) -> Verdict:
        copy = free.get()
        try:
            return copy.try_out(module, mutant.applied(source), tests, effort)
        finally:
            free.put(copy)

    verdicts: dict[Mutant, Verdict] = {}
    with ThreadPoolExecutor(len(copies)) as pool:
        trials = {pool.submit(verdict_on, mutant): mutant for mutant in sample}
        for trial in as_completed(trials):
            mutant, verdict = trials[trial], trial.result()
            verdicts[mutant] = verdict
            position = f"{len(verdicts)}/{len(sample)} {module}:{mutant.line} {mutant.kind}"
            print(f"{position}: {verdict.outcome} {verdict.test}".rstrip(), flush=True)
    return {mutant: verdicts[mutant] for mutant in sample}


if __name__ == "__main__":
    sys.exit(main())

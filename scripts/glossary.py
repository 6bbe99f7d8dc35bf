"""Report the words that we do not use: python -m scripts.glossary [PATH…]; docs/glossary.md has the list and its exceptions."""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

ROOT = Path(__file__).parents[1]
GLOSSARY = Path("docs/glossary.md")
SUFFIXES = {".py", ".md", ".toml", ".js", ".html", ".css", ".yaml", ".conf", ".sh", ""}
_NAME_ONLY = " (name)"
_WHOLE_FILE = "*"  # as the phrase of an exception
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Finding(NamedTuple):
    """One use of a word that we do not use."""

    path: Path
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        """Return the finding as compilers write theirs."""
        return f"{self.path}:{self.line}: {self.word!r}: write {self.instead}"


class WordList:
    """The words of the glossary's table, and the exceptions from it; `unused` are those that no text has needed so far."""

    def __init__(self, glossary: str) -> None:
        words = {row[0]: row[1] for row in _table(glossary, "Words we do not use", 2)}
        self._names = {word.removesuffix(_NAME_ONLY): term for word, term in words.items() if word.endswith(_NAME_ONLY)}
        self._words = {word: term for word, term in words.items() if not word.endswith(_NAME_ONLY)}
        self._pattern = re.compile(rf"\b({'|'.join(map(_spelling, self._words))})\b")
        self.unused = {(_spelled(phrase), pattern) for phrase, pattern, _ in _table(glossary, "Exceptions", 3)}
        self._exceptions = sorted(self.unused)

    def findings(self, path: Path, text: str) -> Iterator[Finding]:
        """Yield what is to be replaced in a file, line by line; `path` is relative to the repository."""
        allowed = [
            (re.compile(rf"\b{re.escape(phrase)}\b", re.IGNORECASE), (phrase, pattern))
            for phrase, pattern in self._exceptions
            if not pattern or path.match(pattern)
        ]
        if (_WHOLE_FILE, str(path)) in self._exceptions:
            self.unused.discard((_WHOLE_FILE, str(path)))
            return
        for number, line in enumerate(text.splitlines(), 1):
            plain = _spelled(line)
            for phrase, exception in allowed:
                plain, uses = phrase.subn(" ", plain)
                if uses:
                    self.unused.discard(exception)
            for match in self._pattern.finditer(plain):
                word = match[0].lower()
                yield Finding(path, number, word, self._words[word])
        if path.suffix == ".py":
            for name, number in _names(text):
                if name in self._names:
                    yield Finding(path, number, name, self._names[name])


def _table(page: str, heading: str, columns: int) -> Iterator[Sequence[str]]:
    """Yield the rows of the first table below a heading, without the table's own heading."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip().strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    for row in rows[2:]:
        cells = [cell.strip() for cell in row]
        if len(cells) != columns:
            raise click.ClickException(f"{GLOSSARY}: {heading}: expected {columns} columns, found {row}")
        yield cells


def _spelled(text: str) -> str:
    """Return a text with its identifiers as words: `lastSeen` and `last_seen` as `last seen`."""
    return " ".join(_HUMP.sub(" ", text).replace("_", " ").replace("-", " ").split())


def _spelling(word: str) -> str:
    """Return a pattern for a word in any case, or for a phrase whose first letter may be a capital: `is None` is Python."""
    if " " not in word:
        return f"(?i:{re.escape(word)})"
    return f"[{word[0]}{word[0].upper()}]{re.escape(word[1:])}"


def _names(text: str) -> Iterator[tuple[str, int]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.string.strip("_").lower(), token.start[0]


def tracked(paths: Sequence[str]) -> list[Path]:
    """Return the files of the repository below these paths that people write; raise click.ClickException for no repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        raise click.ClickException(listing.stderr.strip())
    files = (Path(name) for name in listing.stdout.split("\0") if name)
    return [path for path in files if path.suffix in SUFFIXES and path != GLOSSARY and (ROOT / path).is_file()]


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--count", is_flag=True, help="Print only how often each word was found.")
def main(paths: tuple[str, ...], count: bool) -> None:
    """Report the words that docs/glossary.md asks to replace, in the whole repository or below PATHS."""
    words = WordList((ROOT / GLOSSARY).read_text())
    findings = [
        finding for path in tracked(paths or (".",)) for finding in words.findings(path, (ROOT / path).read_text())
    ]
    if not paths and words.unused:
        raise click.ClickException(
            f"{GLOSSARY}: remove the exceptions that excuse nothing: {', '.join(phrase for phrase, _ in words.unused)}"
        )
    if count:
        totals: dict[str, int] = {}
        for finding in findings:
            totals[finding.word] = totals.get(finding.word, 0) + 1
        for word, total in sorted(totals.items(), key=lambda item: -item[1]):
            click.echo(f"{total:6} {word}")
    else:
        for finding in findings:
            click.echo(finding)
    if findings:
        click.echo(f"glossary: {len(findings)} words to replace; add exceptions to {GLOSSARY}, with a reason", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

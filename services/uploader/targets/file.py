"""Files of CSV, a value per line, or of line protocol; a new file each day, month or year.

```toml
[[uploader.targets]]
name = "card"
kind = "file"
# folder = ""                             # data/uploader/NAME of the node; a target that is added while it runs has no other
# format = "csv"                          # a value per line; "lines": line protocol
# rotate = "day"                          # a file for each, in UTC; "month", "year"; "never": one for all
# max_files = 0                           # so many of the newest files are kept; 0: all
```

Written: `NAME-2026-01-31.csv` (`.lp`), each batch as a whole or not at all: before it begins, the sizes of the files are noted in
a file of their own, to which they are cut after a crash.

| answer | rows |
| --- | --- |
| everything is on the disk | taken |
| the disk refuses | kept |
"""

import csv
import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from heliograph import config, durable
from heliograph.export_formats import csv_text
from services.uploader.options import TargetOptions
from services.uploader.target import Answer, Limits, Row, TargetContext, TryLater
from services.uploader.targets.shared.line_writer import LineNames, LineWriter

log = logging.getLogger(__name__)

HEADING = ("time", "node", "device", "name", "value", "unit")
TAIL_BYTES = 100_000
PERIODS = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y", "never": "all"}
ENDINGS = {"csv": "csv", "lines": "lp"}


class Options(TargetOptions, frozen=True, kw_only=True, tag="file"):
    """A target of kind "file"."""

    folder: str = ""
    format: Literal["csv", "lines"] = "csv"
    rotate: Literal["day", "month", "year", "never"] = "day"
    max_files: int = 0

    RENAMED: ClassVar[Mapping[str, str]] = {"keep": "max_files"}

    def __post_init__(self) -> None:
        """Refuse a folder of a home, and a negative number of files."""
        super().__post_init__()
        config.check_path(self.folder, "folder")
        if self.max_files < 0:
            raise ValueError(f"max_files: {self.max_files} is not a number of files; 0 keeps all")

    def open(self, context: TargetContext) -> "FileTarget":
        """Return the target."""
        return FileTarget(self, context)


class FileTarget:
    """A folder of files, each named after its day, month or year in UTC."""

    limits = Limits(overwrites=False)

    def __init__(self, options: Options, context: TargetContext) -> None:
        self._folder = Path(options.folder) if options.folder else context.folder
        self._options = options
        self._sizes = self._folder / f".{options.name}.sizes"
        self._lines = LineWriter(LineNames("$device", "$name", {"node": "$node"}, ()), 1000)
        self._checked = False

    def upload(self, rows: Sequence[Row]) -> Answer:
        """Append rows to their files."""
        texts: dict[Path, list[Row]] = {}
        for row in rows:
            texts.setdefault(self._path(row.time), []).append(row)
        try:
            self._check()
            sizes = {path.name: path.stat().st_size if path.exists() else 0 for path in texts}
            _write(self._sizes, msgspec.json.encode(sizes), "wb")
            self._checked = False  # until it is known that the sizes are right
            for path, some in texts.items():
                _write(path, self._content(some, is_new=not sizes[path.name]), "ab")
            self._sizes.unlink()
        except OSError as error:
            raise TryLater(f"{self._folder}: {error.strerror or error}") from None
        self._finish()
        return Answer(f"{len(rows)} rows in {', '.join(path.name for path in texts)}")

    def _finish(self) -> None:
        """Do what is left when the rows are in their files: an error here must not send them again."""
        try:
            durable.sync(self._folder)
            self._checked = True
            self._rotate()
        except OSError as error:
            log.error("%s: %s; the rows are written", self._folder, error.strerror or error)

    def newest(self) -> float | None:
        """Return the time of the last line of the newest file."""
        try:
            self._check()
            files = self._files()
            return self._last_time(files[-1]) if files else None
        except OSError as error:
            raise TryLater(f"{self._folder}: {error.strerror or error}") from None

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _check(self) -> None:
        """Cut files to their sizes before a batch that was not finished."""
        if self._checked:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._sizes.exists():
            for name, size in _sizes(self._sizes.read_bytes()).items():
                path = self._folder / name
                if not size:
                    path.unlink(missing_ok=True)
                elif path.exists():
                    os.truncate(path, size)
                    durable.sync(path)
            self._sizes.unlink()
        durable.sync(self._folder)  # the file with the sizes is gone for good before rows follow
        self._checked = True

    def _path(self, time: float) -> Path:
        part = datetime.fromtimestamp(time, UTC).strftime(PERIODS[self._options.rotate])
        return self._folder / f"{self._options.name}-{part}.{ENDINGS[self._options.format]}"

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._options.name}-[0-9a]*.{ENDINGS[self._options.format]}"))

    def _rotate(self) -> None:
        if self._options.max_files:
            for path in self._files()[: -self._options.max_files]:
                path.unlink()

    def _content(self, rows: Iterable[Row], *, is_new: bool) -> bytes:
        if self._options.format == "lines":
            return self._lines.body(rows)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if is_new:
            writer.writerow(HEADING)
        for row in rows:
            time = datetime.fromtimestamp(row.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            for mapped, value in zip(row.channels, row.values, strict=True):
                writer.writerow((time, mapped.node, mapped.device, mapped.name, csv_text(value), mapped.unit))
        return text.getvalue().encode()

    def _last_time(self, path: Path) -> float | None:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        if not lines:
            return None
        try:
            if self._options.format == "lines":
                return int(lines[-1].rpartition(" ")[2]) / 1000
            return datetime.fromisoformat(lines[-1].partition(",")[0]).timestamp()
        except ValueError:
            return None


def _sizes(text: bytes) -> dict[str, int]:
    """Return the sizes that were noted; nothing was written after a note that is incomplete."""
    try:
        return msgspec.json.decode(text, type=dict[str, int])
    except msgspec.DecodeError:
        return {}


def _write(path: Path, content: bytes, mode: Literal["ab", "wb"]) -> None:
    is_new = not path.exists()
    with path.open(mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        durable.sync(path.parent)

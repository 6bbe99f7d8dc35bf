"""Records of CSV files, cell by cell (RFC 4180): which cells are in quotes makes a difference."""

import re

# The group is atomic, not possessive: see heliograph/line_protocol.py.
_CELL = r'(?:"((?>[^"]*(?:""[^"]*)*))"([^{d}\0]*+)|(?!")([^{d}\0]*+))({d}|\Z)'
DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r"sep=(.)")  # the first line of files that Excel shall read


class Quoted(str):
    """The text of a cell that is in quotes, without them."""

    __slots__ = ()


class Unfinished(ValueError):
    """The record ends within quotes; it may continue in the next line."""


class Splitter:
    """Splits records into cells; `width` is how many each must have, None if any number will do.

    Without a delimiter it is the one that a first line like `sep=;` names, else the one of `DELIMITERS` that the first
    record has most of; no comma if numbers have a decimal comma.
    """

    def __init__(self, delimiter: str = "", *, decimal_comma: bool = False) -> None:
        self.width: int | None = None
        self._delimiters = DELIMITERS.replace(",", "") if decimal_comma else DELIMITERS
        self._delimiter = ""
        self._is_first = True
        if delimiter:
            self._use(delimiter)

    def _use(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._cell = re.compile(_CELL.replace("{d}", re.escape(delimiter)))

    def split(self, text: str) -> list[str]:
        """Return the cells of a record, none for an empty one; raise Unfinished or ValueError.

        Within one line, a quote in the wrong position is an ordinary character; a record of several lines is refused then.
        """
        if not text.strip():
            return []
        if self._is_first:
            self._is_first = False
            if mark := _SEPARATOR.fullmatch(text.strip()):
                if not self._delimiter:
                    self._use(mark[1])
                return []
        if not self._delimiter:
            self._use(max(self._delimiters, key=text.count))
        cells = self._split(text) if '"' in text or "\0" in text else text.split(self._delimiter)
        if self.width not in (None, len(cells)):
            raise ValueError("a row with more or fewer cells than the header")
        return cells

    def _split(self, text: str) -> list[str]:
        cells: list[str] = []
        position, delimiter = 0, self._delimiter
        while delimiter:
            cell = self._cell.match(text, position)
            if not cell:
                raise (Unfinished if text[position : position + 1] == '"' else ValueError)(
                    "a quoted cell that does not end"
                )
            quoted, rest, plain, delimiter = cell.groups()
            if "\n" in text and (rest or (plain and '"' in plain)):
                raise ValueError("a quote within a cell that is not in quotes")
            if quoted is not None:
                plain = Quoted(quoted.replace('""', '"'))
            cells.append(plain + rest if rest else plain)
            position = cell.end()
        return cells


def is_unfinished(line: str) -> bool:
    """Whether a quoted cell that began before a line continues after it."""
    return line.count('"') % 2 == 0

"""Columns of CSV files: what their cells are, judged by many of them before the first is taken."""

import re
from collections.abc import Sequence

from heliograph import export_formats, units
from heliograph.messages import Value
from services.storage.importers.shared.csv_cells import Quoted

# Words for a missing value. In a column of texts, those of WORDS are texts.
SYMBOLS = frozenset(("", "nan", "+nan", "-nan", "null", "n/a", "n.a.", "#n/a", "#n/v", "-nan(ind)"))
WORDS = frozenset(("none", "na", "unavailable", "unknown"))
BOOLEANS = {"true": True, "false": False, "on": True, "off": False}
_DASHES = re.compile(r"-+")
_GERMAN = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?")  # 1.234,5
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")  # no number where the comma is decimal
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:[,'\u2019\u202f\u00a0 ]\d{3})+(?:[.,]\d+)?")
_WITH_UNIT = re.compile(r"[+-]?\d+(?:[.,]\d+)?\s*(\S{1,8})")
_EXACT_DIGITS = 15  # of a whole number, which a float has exactly


class CellError(ValueError):
    """A cell that is no value of its column; the message says why, and is the same for all such cells."""


class Column:
    """One channel of a file. `judge` has to see cells of it before `value` is called.

    `is_text` is what the options say, `stored_text` what the store knows; None if they do not. In an `exact` column
    whatever is in quotes is a text, unless the values are known not to be texts.
    """

    def __init__(
        self, name: str, *, is_text: bool | None, stored_text: bool | None, exact: bool, decimal_comma: bool
    ) -> None:
        self.name = name
        self.refusal = ""  # why none of the values is taken
        self._given = is_text
        self._stored = stored_text
        self._text = bool(is_text)
        self._exact = exact
        self._exact_texts = exact and (is_text if is_text is not None else stored_text) is not False
        self._comma = decimal_comma
        self._judged = bool(is_text)
        self._are_numbers = False  # in the plain way of writing them

    def judge(self, cells: Sequence[str]) -> None:
        """Decide by these cells what the values are: texts, or numbers and states, or neither (`refusal`)."""
        if self._judged:
            return
        plain = [
            cell.strip()
            for cell in cells
            if not (self._exact_texts and cell.__class__ is Quoted) and not is_missing(cell)
        ]
        quoted = self._exact_texts and any(cell.__class__ is Quoted for cell in cells)
        self._judged = bool(plain) or quoted
        if quoted:
            self._text = bool(self._stored)
            return
        numbers = [cell for cell in plain if self._number(cell) is not None]
        like = [cell for cell in plain if self._number(cell) is None and _is_like_a_number(cell)]
        states = sum(cell.lower() in BOOLEANS for cell in plain)
        numeric = len(numbers) + len(like)
        known = self._stored if self._given is None else self._given
        # a few odd cells are mistakes where the others show that this is how numbers are written
        odd = 2 * len(like) <= len(plain) and any("." in cell and not _GERMAN.fullmatch(cell) for cell in numbers)
        if known and plain and numeric == len(plain):
            self.refusal = (
                f"the store has texts of {self.name}, and here it is numbers: --text {self.name}, if they are texts"
            )
        elif not known and like and 2 * numeric > len(plain) and not odd:
            self.refusal = f"{_hint(like, comma=self._comma)}, or --text {self.name} if these are texts"
        elif known is not None:
            self._text = known
        else:
            self._text = numeric + states < len(plain) and 2 * numeric <= len(plain)
        self._are_numbers = bool(plain) and not (self._text or self.refusal or self._comma)

    def value(self, cell: str) -> Value | None:
        """Return what a cell means; None if it is empty. Raises CellError for one that is not a value of this column."""
        if (
            self._are_numbers and cell.__class__ is str and ("." in cell or len(cell) <= _EXACT_DIGITS)
        ):  # most cells of most files
            try:
                plain = float(cell)
            except ValueError:
                pass
            else:
                if plain == plain and "_" not in cell:
                    return plain
        if not self._judged:
            self.judge([cell])
        if self.refusal:
            if is_missing(cell):
                return None
            raise CellError(self.refusal)
        if self._exact_texts and cell.__class__ is Quoted:
            return export_formats.unguarded(str(cell))
        cell = cell.strip()
        if self._text:
            if not self._given and not self._exact and (cell.lower() in SYMBOLS or _DASHES.fullmatch(cell)):
                return None
            return (export_formats.unguarded(cell) if self._exact else cell) or None
        number = self._number(cell)
        if number is not None:
            return number if number == number else None
        if is_missing(cell):
            return None
        word = cell.lower()
        if word in BOOLEANS:
            return BOOLEANS[word]
        hint = f" ({_hint([cell], comma=self._comma)})" if _is_like_a_number(cell) else ""
        raise CellError(f"not a number of {self.name}{hint}")

    def _number(self, cell: str) -> float | None:
        """Return a number, a whole one as int if a float has not all its digits; None for anything else."""
        if self._comma:
            if "." in cell and not _GERMAN.fullmatch(cell):
                return None
            cell = cell.replace(".", "").replace(",", ".")
        try:
            number = float(cell)
        except ValueError:
            return None
        if "_" in cell:  # Python's 1_000 is a number nowhere else
            return None
        if len(cell) > _EXACT_DIGITS and cell.lstrip("+-").isdecimal() and len(cell) < 300:
            return int(cell)
        return number


def is_missing(cell: str) -> bool:
    """Whether a cell has no value, in a column that is not one of texts."""
    word = cell.strip().lower()
    return word in SYMBOLS or word in WORDS or bool(_DASHES.fullmatch(word))


def _is_like_a_number(cell: str) -> bool:
    """Whether a cell would be a number if it were written otherwise, or is one with a unit."""
    if any(form.fullmatch(cell) for form in (_COMMA, _GERMAN, _THOUSANDS, _POINT)):
        return True
    match = _WITH_UNIT.fullmatch(cell)
    if not match:
        return False
    try:
        return bool(units.spelled(match[1]))
    except ValueError:
        return False


def _hint(cells: Sequence[str], *, comma: bool) -> str:
    cell = next((cell for cell in cells if not _COMMA.fullmatch(cell)), cells[0])
    if not comma and (_COMMA.fullmatch(cell) or _GERMAN.fullmatch(cell)):
        return "numbers with a decimal comma? --decimal-comma"
    if comma and _POINT.fullmatch(cell):
        return "numbers with a decimal point? without --decimal-comma"
    return "numbers with a unit or with groups of digits? Write them without"

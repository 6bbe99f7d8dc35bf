import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.redaction import redactor

SECRET = "p@ss/w+rd?ä 'x\""
# The forms that a secret may have in an error text; each can be decoded.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "path": quote,
    "query": lambda text: quote(text, safe=""),
    "small letters": lambda text: _small_codes(quote(text, safe="")),
    "form": quote_plus,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 in URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "Python": repr,
    "SQL": lambda text: "'" + text.replace("'", "''") + "'",
    "HTML": html.escape,
    "broken into lines": lambda text: text.replace(" ", "\n  "),
}


def _small_codes(text: str) -> str:
    return "".join(c.lower() if text[max(0, i - 2) : i + 1].find("%") >= 0 else c for i, c in enumerate(text))


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(
    secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=3).filter(lambda s: len(s.strip()) >= 3),
    other=st.text("abc…", min_size=3),
)
def test_no_spelling_of_a_secret_is_shown(spelling: str, secret: str, other: str) -> None:
    written = SPELLINGS[spelling](secret)
    shown = redactor([other, secret])(f"<{written}>")
    assert shown.startswith("<")
    assert shown.endswith(">")
    assert secret not in shown[1:-1]
    assert written.strip("='\"") not in shown[1:-1] or not written.strip("='\"")


@pytest.mark.parametrize("user", ["", "u", "me", "you"])
def test_the_password_of_basic_authentication_is_not_shown(user: str) -> None:
    header = base64.b64encode(f"{user}:{SECRET}".encode()).decode()
    left = redactor([SECRET])(f"Authorization: Basic {header}").removeprefix("Authorization: Basic ")
    head, _, tail = left.partition("…")
    assert base64.b64encode(f"{user}:".encode()).decode().startswith(head[: len(head) - 1])
    assert len(tail.rstrip("=")) <= 1


def test_a_text_becomes_one_line_and_keeps_what_is_not_secret() -> None:
    redact = redactor([SECRET, "", "ab"])
    assert redact(f"refused: {SECRET}!\nreally\tabsurd") == "refused: …! really absurd"
    assert redact("") == ""


def test_secrets_that_overlap_are_hidden_together() -> None:
    redact = redactor(["abcd", "cdef", "bcde"])
    assert redact("xabcdefx cdefx abcd") == "x…x …x …"

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.redaction import redactor
from tests.secret_spellings import SECRETS, SPELLINGS, is_shown

SECRET = "p@ss/w+rd?ä 'x\""


@given(secret=SECRETS, other=st.text("abc…", min_size=3))
def test_no_spelling_of_a_secret_is_shown(secret: str, other: str) -> None:
    redact = redactor([other, secret])
    assert not [spelling for spelling in SPELLINGS if is_shown(spelling, secret, redact)]


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

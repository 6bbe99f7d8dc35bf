"""The spellings in which a secret may come back in the text of an error."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=3).filter(lambda text: len(text.strip()) >= 3)
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "path": quote,
    "query": lambda text: quote(text, safe=""),
    "lower case": lambda text: _small_codes(quote(text, safe="")),
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


def is_shown(spelling: str, secret: str, redact: Callable[[str], str]) -> bool:
    """Whether a text still has a secret in this spelling after redaction."""
    written = SPELLINGS[spelling](secret)
    shown = redact(f"<{written}>")
    assert shown.startswith("<")
    assert shown.endswith(">")
    bare = written.strip("='\"")
    return secret in shown[1:-1] or (bool(bare) and bare in shown[1:-1])

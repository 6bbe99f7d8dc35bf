"""Words that can be shown: without the secrets of a target, in whatever spelling they may come back."""

import base64
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "…"
SHORTEST = 3  # shorter ones stand in ordinary words, and are no secrets


def hider(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return what replaces secrets in a text, as they are, percent-encoded, or in base64; and makes it one line."""
    spellings: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            spellings |= {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
            spellings.add(base64.b64encode(secret.encode()).decode().rstrip("="))
    ordered = sorted(spellings, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in ordered:
            text = text.replace(secret, HIDDEN)
        return " ".join(text.split())

    return hide

"""No spelling of a secret is shown, whichever service shows the text."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings

from heliograph.store.postgres.schema import DatabaseName
from services.uploader import targets
from services.uploader.options import secret_names
from services.uploader.redacted_options import redactor_for
from tests.secret_spellings import SECRETS, SPELLINGS, is_shown

Redactor = Callable[[str], str]


def of_target(kind: str, option: str) -> Callable[[str], Redactor]:
    return lambda secret: redactor_for({"kind": kind, "name": "x", option: secret})


def of_database(url: str) -> Callable[[str], Redactor]:
    return lambda secret: DatabaseName(url.format(quote(secret, safe=""))).redact


USERS = {
    **{
        f"{kind} {name}": of_target(kind, name) for kind in targets.known() for name in secret_names(targets.load(kind))
    },
    **{url: of_database(url) for url in ("postgresql://u:{}@h/d", "postgresql://u@h/d?sslmode=disable&password={}")},
}


@pytest.mark.parametrize("user", sorted(USERS))
@settings(max_examples=20)
@given(secret=SECRETS.filter(lambda text: "\0" not in text))
def test_no_spelling_of_a_secret_is_shown(user: str, secret: str) -> None:
    redact = USERS[user](secret)
    assert not [spelling for spelling in SPELLINGS if is_shown(spelling, secret, redact)]

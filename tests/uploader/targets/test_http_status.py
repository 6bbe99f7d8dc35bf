import pytest

from services.uploader.target import Refused, TryLater
from services.uploader.targets.shared import http_status
from services.uploader.targets.shared.http_client import HttpResponse

SET_ASIDE = {400, 406, 409, 411, 414, 415, 421, 422}  # as docs/targets.md has them


def outcome(status: int, **headers: str) -> object:
    """How a response is understood: whether the rows are taken, set aside, sent in smaller batches, or kept."""
    try:
        http_status.check(HttpResponse(status, headers, b"because"))
    except Refused:
        return "set aside"
    except TryLater as error:
        return "smaller" if error.smaller else "kept"
    return "taken"


def test_every_status_is_understood_as_the_documentation_says() -> None:
    for status in range(100, 600):
        expected = "taken" if 200 <= status < 300 else "set aside" if status in SET_ASIDE else "kept"
        assert outcome(status) == ("smaller" if status == 413 else expected), status


def test_a_wrong_key_or_address_comes_with_advice() -> None:
    with pytest.raises(TryLater, match=r"HTTP 401: because \(check the key or the password\)"):
        http_status.check(HttpResponse(401, {}, b"because"))
    with pytest.raises(TryLater, match="HTTP 302: it moved to /login: check url"):
        http_status.check(HttpResponse(302, {"location": "/login"}, b""))


def test_a_query_that_is_refused_says_nothing_about_rows() -> None:
    for status in SET_ASIDE:
        with pytest.raises(TryLater):
            http_status.check_answered(HttpResponse(status, {}, b"no such query"))

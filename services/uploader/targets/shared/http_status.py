"""What the status of an HTTP answer means for the rows that were sent."""

from services.uploader.target import Refused, TryLater
from services.uploader.targets.shared.http_client import HttpResponse

WRONG_DATA = {400, 406, 409, 411, 414, 415, 421, 422}
ADVICE = {
    401: "check the key or the password",
    402: "the account's allowance is used up",
    403: "check the rights of the key",
    404: "check url",
    405: "check url",
    407: "a proxy asks for a password",
}


def check(response: HttpResponse) -> None:
    """Return if a request was carried out; raise Refused if it would fail again, else TryLater.

    A person has to mend a wrong key or address: until then the rows are kept.
    """
    if response.ok:
        return
    if response.status == 413:
        raise TryLater(response.summary(), after=response.after, smaller=True)
    if response.status in WRONG_DATA:
        raise Refused(response.summary())
    if 300 <= response.status < 400:
        raise TryLater(
            f"HTTP {response.status}: it moved to {response.headers.get('location', 'elsewhere')}: check url"
        )
    advice = ADVICE.get(response.status)
    raise TryLater(f"{response.summary()} ({advice})" if advice else response.summary(), after=response.after)


def check_answered(response: HttpResponse) -> None:
    """Return if a query was answered; raise TryLater if it was not, for that means nothing for rows."""
    try:
        check(response)
    except Refused as error:
        raise TryLater(str(error)) from None

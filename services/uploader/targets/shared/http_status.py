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
    407: "a proxy wants a password",
}


def check(reply: HttpResponse) -> None:
    """Return if a request was carried out; raise Refused for what no repetition cures, else TryLater.

    A wrong key or address is for a human to mend: until then the rows are kept.
    """
    if reply.ok:
        return
    if reply.status == 413:
        raise TryLater(reply.said(), after=reply.after, smaller=True)
    if reply.status in WRONG_DATA:
        raise Refused(reply.said())
    if 300 <= reply.status < 400:
        raise TryLater(f"HTTP {reply.status}: it moved to {reply.headers.get('location', 'elsewhere')}: check url")
    advice = ADVICE.get(reply.status)
    raise TryLater(f"{reply.said()} ({advice})" if advice else reply.said(), after=reply.after)


def check_answered(reply: HttpResponse) -> None:
    """Return if a question was answered; raise TryLater if it was not, for that says nothing about rows."""
    try:
        check(reply)
    except Refused as error:
        raise TryLater(str(error)) from None

"""What the doctor finds."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that is wrong, in a sentence, and what to do; `code` and `service` are as in /api/v1/health."""

    code: str
    summary: str
    action: str
    service: str = ""

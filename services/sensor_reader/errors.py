"""What can come in place of a value, named after what to do next.

* Disturbed  the driver could not measure this time: ask again
* Gone       there is no such sensor now: wait until it is plugged in again
* NotAValue  an answer that cannot be what was measured: set it aside
"""


class Disturbed(Exception):
    """The driver did not get a good answer; `what` is the bad one, if there is one to show."""

    def __init__(self, why: str, what: str = "") -> None:
        super().__init__(why)
        self.what = what


class Gone(Exception):
    """The kernel has no such sensor any more."""


class NotAValue(Exception):
    """An answer came that is none; `what` shows it."""

    def __init__(self, why: str, what: str) -> None:
        super().__init__(why)
        self.what = what

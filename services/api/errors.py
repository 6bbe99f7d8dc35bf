"""What the API answers when it does not answer the question."""

from heliograph.errors import HeliographError


class Refused(HeliographError):
    """The question is wrong; the message says what is wrong and what would be right."""

    def __init__(self, detail: str, status: int = 422) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status

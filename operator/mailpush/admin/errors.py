"""What an endpoint answers instead."""


class AdminError(Exception):
    """It cannot be done. The sentence goes to whoever asked.

    `retry_after`: seconds after which asking again makes sense; None where it makes none.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after = retry_after

"""The passcrypts of the other pods and of the operator, as a test says."""

from mailpush.listener.users.passcrypts import PasscryptsUnknownError


class SamePasscrypts:
    """All have the same, until the test says otherwise.

    `others`: pods that show another one. `given`: the operator's fingerprint. `unknown`: the API does not say.
    """

    def __init__(self) -> None:
        self.others: list[str] = []
        self.given: str | None = None
        self.unknown = ""
        self.asked = 0

    async def differing(self, _fingerprint: str) -> list[str]:
        self._ask()
        return self.others

    async def keeping_elsewhere(self, _place: str) -> list[str]:
        self._ask()
        return self.others

    async def is_given(self, fingerprint: str) -> bool:
        self._ask()
        return self.given in (None, fingerprint)

    def _ask(self) -> None:
        self.asked += 1
        if self.unknown:
            raise PasscryptsUnknownError(self.unknown)

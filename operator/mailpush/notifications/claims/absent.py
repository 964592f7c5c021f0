"""In place of claims in a Redis that the settings name wrongly: mails wait, and the pod goes on."""

from typing import Final

from mailpush.notifications.claims.store import Claim, ClaimResult, ClaimsUnavailable

INVALID: Final = "invalid"
"""A pod's word for it on its Lease."""


class AbsentClaims:
    """
    Args:
        why: a sentence.
    """

    def __init__(self, why: str) -> None:
        self._why = why

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        raise ClaimsUnavailable(self._why)

    async def done(self, claim: Claim) -> bool:
        raise ClaimsUnavailable(self._why)

    async def withdraw(self, claim: Claim) -> None:
        raise ClaimsUnavailable(self._why)

    async def close(self) -> None:
        return

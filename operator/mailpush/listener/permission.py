"""What this process may do now: send, and write (protocol P5, P14)."""

from mailpush.sharding.rights import Right
from mailpush.work.clock import Clock, boottime


class Permission:
    """Asked before each effect. `claim_only`: a claim that all pods see decides who sends (Redis is configured)."""

    def __init__(self, right: Right, *, claim_only: bool, clock: Clock = boottime) -> None:
        self._right = right
        self._claim_only = claim_only
        self._clock = clock
        self._ended = False

    def may_send(self) -> bool:
        """With the right; without it only what each notification's claim allows."""
        return not self._ended and (self._claim_only or self._right.holds(self._clock()))

    def may_write(self) -> bool:
        """With the right alone: statuses, and what begins or ends at a mail server."""
        return not self._ended and self._right.holds(self._clock())

    def end(self) -> None:
        """Nothing is sent or written from now on; the journal keeps what is owed."""
        self._ended = True

    def remaining(self) -> float:
        """Seconds of the right, without another renewal of the Lease."""
        return self._right.remaining(self._clock())

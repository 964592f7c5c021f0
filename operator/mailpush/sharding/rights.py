"""How long a process may act without asking anybody (protocol P5).

Times are seconds of one clock that also runs while the machine sleeps: CLOCK_BOOTTIME. The caller reads it.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Right:
    """The right of one process, from renewal to renewal. It has none before the first."""

    renew_every: float = 3.0
    lasts: float = 10.0
    tick_within: float = 3.0
    _sent_at: float | None = field(default=None, init=False)
    _ticked_at: float | None = field(default=None, init=False)

    def renewed(self, sent_at: float) -> None:
        """A renewal *sent* at `sent_at` has succeeded. Answers may overtake each other: the latest sending counts."""
        if self._sent_at is None or sent_at > self._sent_at:
            self._sent_at = sent_at

    def ticked(self, at: float) -> None:
        """The main loop is alive at `at`."""
        if self._ticked_at is None or at > self._ticked_at:
            self._ticked_at = at

    def ended(self) -> None:
        """The Lease is another's or nobody's: the right ends now and does not come back."""
        self._sent_at = None
        self.lasts = 0.0

    def may_renew(self, now: float) -> bool:
        """Whether the main loop has ticked lately: a process that hangs must not keep its slots."""
        return self._ticked_at is not None and now - self._ticked_at <= self.tick_within

    def renewal_due_in(self, now: float) -> float:
        """Seconds until the next renewal is to be sent, 0 when it is due."""
        return 0.0 if self._sent_at is None else max(0.0, self._sent_at + self.renew_every - now)

    def holds(self, now: float) -> bool:
        """Whether the process may act now; to be asked before each effect, not only on a timer."""
        return self._sent_at is not None and now - self._sent_at < self.lasts

    def remaining(self, now: float) -> float:
        """Seconds of the right that are left."""
        return 0.0 if self._sent_at is None else max(0.0, self._sent_at + self.lasts - now)

"""How the last callbacks were answered: whether Dovecot calls at all, and whether something is wrong with its calls."""

from collections import Counter, deque
from typing import Final

from mailpush.work.clock import Clock, boottime

RECENT: Final = 20
TOO_MANY: Final = 3
"""Callbacks of the last twenty that cannot be used: fewer may be anybody's who found the port."""
CALM_SECONDS: Final = 60.0
CALM_CALLS: Final = 5
TROUBLES: Final = frozenset({"unauthorized", "unknown_user_form", "malformed"})
"""Outcomes after which nobody is notified, and which an administrator can mend at Dovecot."""
WELL: Final = frozenset({"accepted", "other_event"})


MISSED_SECONDS: Final = 10.0
"""For so long no callback was refused any more, before their mails are looked for."""
STRANGERS_SECONDS: Final = 600.0
"""The shortest time between two looks for the mails of refused callbacks, which anybody can send."""


class CallRecord:
    """`called`: a callback came that could be used, since this process runs."""

    def __init__(self, clock: Clock = boottime) -> None:
        self._clock = clock
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._trouble_at = 0.0
        self._missed_at: float | None = None
        self._strangers_at = float("-inf")
        self.called = False

    def unanswered(self) -> None:
        """A callback had no answer. Dovecot sends it once more, and nobody knows whether with more success."""
        self._missed_at = self._clock()

    def missed(self) -> bool:
        """Whether callbacks were refused or not answered, and are no more; said once."""
        now = self._clock()
        if self._missed_at is None or now - self._missed_at < MISSED_SECONDS or self.trouble:
            return False
        self._missed_at = None
        return True

    def note(self, outcome: str) -> None:
        """`outcome`: as `mailpush_callbacks_total` has it."""
        if outcome in TROUBLES:
            self._recent.append(outcome)
            self._trouble_at = now = self._clock()
            if self.trouble and now - self._strangers_at >= STRANGERS_SECONDS:
                self._missed_at = self._strangers_at = now
        elif outcome in WELL:
            self.called = True
            self._recent.append(outcome)
            calm = self._clock() - self._trouble_at >= CALM_SECONDS
            if calm and TROUBLES.isdisjoint(list(self._recent)[-CALM_CALLS:]) and len(self._recent) >= CALM_CALLS:
                self._recent.clear()

    @property
    def trouble(self) -> str:
        """The commonest outcome of callbacks that could not be used, where there were too many; else empty."""
        troubles = Counter(outcome for outcome in self._recent if outcome in TROUBLES)
        if troubles.total() < TOO_MANY:
            return ""
        return max(troubles, key=lambda outcome: (troubles[outcome], outcome))

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


class CallRecord:
    """`called`: a callback came that could be used, since this process runs."""

    def __init__(self, clock: Clock = boottime) -> None:
        self._clock = clock
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._trouble_at = 0.0
        self.called = False

    def note(self, outcome: str) -> None:
        """`outcome`: as `mailpush_callbacks_total` has it."""
        if outcome in TROUBLES:
            self._recent.append(outcome)
            self._trouble_at = self._clock()
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

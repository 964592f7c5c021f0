"""How far one folder of a push user is told: what has been seen, what is on its way, and what has come out of turn."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mailpush.listener.catchup.store import Checkpoint

MOST_AHEAD: Final = 1000
"""UIDs out of turn that are remembered. A look asks the claims about the others."""
_NONE: Final[frozenset[int]] = frozenset()


@dataclass(slots=True)
class Track:
    """A folder that this pod tells of. An empty set costs 216 bytes, and a pod has 50,000 users: hence `_NONE`."""

    slot: int
    uidvalidity: int
    next: int = 1
    """Every mail below it has been seen."""
    owed: int | None = None
    """The lowest UID that the server still owes."""
    whole: bool = False
    """Whether `next` is known: callbacks alone do not say what came before the first of them."""
    came_at: float = 0.0
    under_way: set[int] | frozenset[int] = _NONE
    ahead: set[int] | frozenset[int] = _NONE
    """UIDs above `next` that callbacks have told of."""
    saved: Checkpoint | None = None
    saved_at: float = 0.0

    @property
    def checkpoint(self) -> Checkpoint:
        lowest = min(self.under_way, default=self.next)
        return Checkpoint(self.uidvalidity, min(lowest, self.next if self.owed is None else self.owed))

    @property
    def incomplete(self) -> bool:
        """Whether mails may have come that nobody has told of."""
        return not self.whole or bool(self.ahead)

    def begins(self, uid: int) -> None:
        """The mail is on its way to the targets."""
        self.under_way = {*self.under_way, uid} if isinstance(self.under_way, frozenset) else self.under_way | {uid}

    def ends(self, uid: int) -> bool:
        """The mail is told, or never will be; gives whether it was on its way."""
        if uid not in self.under_way:
            return False
        self.under_way = (set(self.under_way) - {uid}) or _NONE
        return True

    def came(self, uid: int, now: float) -> None:
        """A callback has told of it."""
        self.came_at = now
        if self.whole and uid < self.next:
            return
        self.ahead = set(sorted({*self.ahead, uid})[-MOST_AHEAD:])
        self._advance()

    def seen(self, next: int, owed: Iterable[int]) -> None:
        """Somebody has looked: every mail below `next` is seen, and of those `owed` are still to come."""
        self.next = max(next, self.next) if self.whole else next
        self.owed, self.whole = min(owed, default=None), True
        self._advance()

    def missing(self, stored: Checkpoint | None, uidnext: int) -> list[int] | None:
        """The UIDs below `uidnext` that nobody has told of, as far as this is known; None where nothing is known.

        `stored`: the checkpoint of an earlier owner; it counts until this one has looked.
        """
        if self.whole:
            low = self.next if self.owed is None else min(self.owed, self.next)
        elif stored is not None and stored.uidvalidity == self.uidvalidity:
            low = stored.low
        else:
            return None
        told = self.ahead | self.under_way
        return [uid for uid in range(low, uidnext) if uid not in told]

    def _advance(self) -> None:
        if not self.whole:
            return
        ahead = {uid for uid in self.ahead if uid >= self.next}
        while self.next in ahead:
            ahead.discard(self.next)
            self.next += 1
        self.ahead = ahead or _NONE

    def due(self, now: float, again: float) -> bool:
        """Whether it is to be written, at the latest `again` seconds after the last time."""
        return self.whole and (self.saved != self.checkpoint or now - self.saved_at >= again)

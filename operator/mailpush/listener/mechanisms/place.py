"""Up to where a folder's mails are notified, and those that the server still owes."""

from dataclasses import dataclass, field
from typing import Final

MOST_AT_ONCE: Final = 200
"""UIDs of which one look at the folder notifies. More at once is a restore or a migration, not mail that arrives."""


@dataclass(slots=True)
class Place:
    """A listener's place in its folder, which its successor goes on from."""

    uidvalidity: int | None = None
    next: int = 0
    """The first UID that was not seen yet."""
    owed: dict[int, int] = field(default_factory=dict)
    """UIDs that were seen and not settled, with how often the server was asked for them."""
    unread: bool = True
    """Whether the checkpoint, which says what came before the first look, is still to be read."""
    first: int = 0
    """The first UID that the first look did not find there yet."""

    def resume(self, uidvalidity: int, low: int, uidnext: int) -> int:
        """Takes the checkpoint: mails from `low` on are news. Returns how many UIDs are passed over.

        Before the first look, the folder is then as if it had been looked at when the checkpoint was written; later,
        what came before the first look is owed as well.
        """
        self.unread = False
        if self.uidvalidity is None:
            self.uidvalidity, self.next = uidvalidity, min(low, uidnext)
            return 0
        missed = max(0, self.first - low) if self.uidvalidity == uidvalidity else 0
        room = max(0, min(missed, MOST_AT_ONCE - len(self.owed)))
        self.owed.update(dict.fromkeys(range(self.first - room, self.first), 0))
        return missed - room

    def advance(self, uidvalidity: int, uidnext: int) -> int:
        """Takes what the folder is now. Returns how many UIDs are passed over, as too many came at once.

        The first look, or a new UIDVALIDITY, only finds the place: what is there is old, or nobody knows what is new.
        """
        if self.uidvalidity != uidvalidity:
            self.uidvalidity, self.next, self.owed, self.first = uidvalidity, uidnext, {}, uidnext
            return 0
        came = max(0, uidnext - self.next)
        new = range(uidnext - min(came, MOST_AT_ONCE), uidnext)
        excess = sorted(self.owed)[: max(0, len(self.owed) + len(new) - MOST_AT_ONCE)]
        for uid in excess:
            del self.owed[uid]
        self.owed.update(dict.fromkeys(new, 0))
        self.next += came
        return came - len(new) + len(excess)

    def asking(self, uid: int) -> None:
        """Call before the server is asked: a connection that breaks by the answer must not be broken for ever."""
        self.owed[uid] += 1

    def postpone(self, uid: int) -> None:
        """The server has given the mail, and this pod has no room for it: it is asked for again as a new one."""
        self.owed[uid] = 0

    @property
    def postponed(self) -> bool:
        """Whether a mail is to be asked for as a new one."""
        return not all(self.owed.values())

    def settle(self, uid: int) -> None:
        """The mail is notified, or will never be."""
        self.owed.pop(uid, None)

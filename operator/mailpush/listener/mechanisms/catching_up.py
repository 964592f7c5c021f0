"""Where a folder's listener begins, and how far it has come (protocol P16, P18)."""

from collections.abc import Callable

from mailpush.imap.client import Fetch
from mailpush.listener.catchup.checkpoints import Progress
from mailpush.listener.catchup.store import CheckpointsUnavailable, Folder
from mailpush.listener.mechanisms.place import Place
from mailpush.notifications.notification import NewMail
from mailpush.work.clock import Clock


class CatchingUp:
    """Of one listener. It takes each look at the folder, and says which mails of a gap are news.

    Args:
        max_age: seconds. A mail that came in a gap and longer ago is no news; nor is what a restore brings back.
        now: Unix seconds.
    """

    def __init__(
        self, progress: Progress, folder: Folder, place: Place, max_age: Callable[[], float], now: Clock
    ) -> None:
        self._progress = progress
        self._folder = folder
        self._place = place
        self._max_age = max_age
        self._now = now
        self._gap_below = 0
        """The first UID that did not come while nobody listened."""

    @property
    def waits(self) -> bool:
        """Whether the store of checkpoints has not answered yet, so that mails may still be missing."""
        return self._place.unread

    async def look(self, uidvalidity: int, uidnext: int, *, after_a_gap: bool) -> int:
        """Takes what the folder is now. Returns how many UIDs are passed over, as too many came at once."""
        place, passed = self._place, 0
        if place.unread:
            passed = await self._resume(uidvalidity, uidnext)
            after_a_gap = True
        passed += place.advance(uidvalidity, uidnext)
        if after_a_gap:
            self._gap_below = place.next
        self.note()
        return passed

    def note(self) -> None:
        """Says how far the listener has come. Not before it knows where it should have begun."""
        place = self._place
        if not place.unread and place.uidvalidity is not None:
            self._progress.at(self._folder, place.uidvalidity, place.next, place.owed)

    def is_news(self, message: Fetch) -> bool | None:
        """Whether a mail that came in a gap is to be told; None for one that came while this listener was there."""
        if message.uid >= self._gap_below:
            return None
        return is_news(message, self._now(), self._max_age())

    def begins(self, mail: NewMail) -> None:
        """The mail is about to be told."""
        self._progress.under_way(mail)

    def not_kept(self, mail: NewMail) -> None:
        """There was no room for it; the place owes it."""
        self._progress.over(mail)

    async def _resume(self, uidvalidity: int, uidnext: int) -> int:
        try:
            checkpoint = await self._progress.load(self._folder)
        except CheckpointsUnavailable:
            return 0  # the next look asks again
        if checkpoint is None or checkpoint.uidvalidity != uidvalidity:
            self._place.unread = False
            return 0
        return self._place.resume(uidvalidity, checkpoint.low, uidnext)


def is_news(message: Fetch, now: float, max_age: float) -> bool:
    """Whether a mail that nobody was told of when it came is to be told now: unseen, not deleted, and young enough.

    `now`: Unix seconds, as the mail server's date of arrival. `max_age`: seconds.
    """
    flags = {flag.lower() for flag in message.flags or ()}
    if not flags.isdisjoint({"\\seen", "\\deleted"}):
        return False
    return message.arrived is None or now - message.arrived <= max_age

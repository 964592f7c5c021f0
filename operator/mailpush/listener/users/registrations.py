"""What is registered for one user at mail servers, and what of it is still to be taken away.

A mailbox is noted in the PushUser's status before it is registered, and is taken out when the registration is gone. So
a changed login, server or loginSource leaves behind what any later owner of the user can find and take away.
"""

import asyncio
import time
from typing import Final

import structlog

from mailpush.api.pushuser import Registration
from mailpush.decision.places import Place, is_same, may_be_same
from mailpush.listener.mechanisms.base import Listener
from mailpush.listener.users.farewell import ERRORS, SOON, Attempt, Left, failed, mark_of, way_in
from mailpush.listener.users.registration_book import Changes, RegistrationBook
from mailpush.listener.users.user import User, UserKey
from mailpush.notifications.callback import BY_LOGIN, registered_user
from mailpush.properties.settings import Settings
from mailpush.work.clock import Clock

DOVECOT: Final = "dovecot"
UNKNOWN_SECONDS: Final = 30.0
"""How long a registration that nobody knows may be one that an earlier owner has made and this pod has not read yet."""

log = structlog.get_logger(__name__)


class Registrations:
    """Those of one user. `here` is the user's mailbox now. Whatever is registered elsewhere is left over, and also that
    one where it is not `wanted`.
    """

    def __init__(self, key: UserKey, book: RegistrationBook, clock: Clock = time.monotonic) -> None:
        self._key = key
        self._book = book
        self._clock = clock
        self._since = clock()
        self._uid = ""
        self._known: dict[str, Registration] = {}
        self._written: set[str] = set()
        self._gone: set[str] = set()
        """Taken out by this process: a status that is read late may still have them."""
        self._fresh: set[str] = set()
        """Noted by this process, and not yet made as far as it knows."""
        self._ways: dict[str, Listener] = {}
        """Into mailboxes that were registered by this process."""
        self._here: Place | None = None
        self._wanted = False
        self._trouble: Left | None = None
        self._failures = 0
        self._due = 0.0
        self._tried: Attempt | None = None
        self.shared = False
        """Whether the last one stays, for another PushUser of the user."""
        self._own: set[str] = set()
        """Marks of mailboxes that are the user's, or may be."""
        self._others: set[str] = set()
        """Values of mailboxes that are not."""

    # -- what is known

    def see(self, user: User, settings: Settings, here: Place | None, *, wanted: bool) -> None:
        """Takes in what the PushUser's status has. `here`: the user's mailbox; `wanted`: it may be registered."""
        if user.uid != self._uid:
            self._uid = user.uid
            self._written.clear()  # the PushUser was made anew, and nothing of this stands there
        for key, one in user.status.registrations.items():
            if key not in self._gone:
                self._known.setdefault(key, one)
                self._written.add(key)
        self._here, self._wanted = here, wanted
        self._sort(settings)

    def assume(self, user: User, place: Place | None) -> None:
        """For a user who was registered by a version that noted nothing."""
        if place is not None and not self._known and place.key not in self._gone:
            self._known[place.key] = self._registration(place, registered_user(*self._key))

    def _sort(self, settings: Settings) -> None:
        here = self._here
        left = self.left(settings)
        similar = {key for key, one in left.items() if here is None or may_be_same(one, here, settings)}
        self._own |= {mark_of(left[key]) for key in similar} | ({here.key} if here is not None else set())
        self._others = {one.value for key, one in left.items() if key not in similar}
        self._own -= {mark_of(one) for key, one in left.items() if key not in similar}

    def left(self, settings: Settings) -> dict[str, Registration]:
        """What is to be taken away, by key."""
        here = self._here if self._wanted else None
        return {key: one for key, one in self._known.items() if here is None or not is_same(one, here, settings)}

    @property
    def own_mark(self) -> str:
        """For a mail that this pod sees in the user's mailbox itself, so that any owner knows it for the user's."""
        return self._here.key if self._here is not None and self._others else ""

    def are_own(self, mark: str) -> bool | None:
        """Whether mails that a server announces by the registration with `mark` are the user's; None: ask again soon.

        What cannot be told apart is the user's: no mail is lost by it.
        """
        if mark == BY_LOGIN:
            return True
        if registered_user(*self._key, mark) in self._others:
            return False
        if not mark or mark in self._own:
            return True
        return None if self._clock() - self._since < UNKNOWN_SECONDS else False

    # -- noted

    async def note(self, user: User, settings: Settings, place: Place) -> str:
        """Notes that the user is about to be registered at `place`, and gives the mark to do it with.

        Raises:
            KubeError: it is not noted, so it must not be done.
        """
        others = {key: one for key, one in self._known.items() if not is_same(one, place, settings)}
        plain = registered_user(*self._key)
        taken = any(one.value == plain for one in others.values())
        mark = place.key if taken else ""
        wanted = self._registration(place, registered_user(*self._key, mark))
        changes: dict[str, Registration | None] = {
            key: None for key in self._known if key not in others and key != place.key
        }
        if self._known.get(place.key) != wanted or place.key not in self._written:
            changes[place.key] = wanted
        changes |= {key: one for key, one in others.items() if key not in self._written}
        if changes:
            new = not (self._known.keys() - others.keys())
            await self._write(user, changes)
            if new:
                self._fresh.add(place.key)
        self._sort(settings)
        return mark

    def made(self) -> bool:
        """The registration of the user's mailbox exists. Gives whether there is more to be done about it."""
        self._fresh.clear()
        key = self._here.key if self._here is not None else ""
        return self._known.keys() != {key} or bool(mark_of(self._known[key]))

    async def never_made(self, user: User, place: Place) -> None:
        """The mail server can have none at all. Raises KubeError."""
        if place.key in self._fresh:
            await self._write(user, {place.key: None})

    def by(self, place: Place, listener: Listener) -> None:
        """`listener` registers the user at `place`: it has the login, which the Secret may have no more later."""
        self._ways[place.key] = listener

    def _registration(self, place: Place, value: str) -> Registration:
        return Registration(server=place.server, address=place.address, login=place.login, value=value)

    async def _write(self, user: User, changes: Changes) -> None:
        await self._book.write(user, changes)
        for key, one in changes.items():
            if one is None:
                self._known.pop(key, None)
                self._ways.pop(key, None)
                self._gone.add(key)
                self._written.discard(key)
                self._fresh.discard(key)
            else:
                self._known[key] = one
                self._gone.discard(key)
                self._written.add(key)

    # -- taken away

    async def clear(self, attempt: Attempt, *, similar: bool, seconds: float) -> float | None:
        """As `withdraw`, when it is due: gives the seconds until it is to be called again, None where nothing is left.

        Whatever may help, such as another password, makes it due at once.
        """
        if not self.left(attempt.settings):
            self._trouble, self._failures = None, 0
            return None
        now = self._clock()
        if self._tried is not None and self._tried.is_as(attempt) and now < self._due:
            return self._due - now
        if self._tried is None or not self._tried.is_as(attempt):
            self._failures = 0
        elif self._book.farewells.locked():
            return SOON.after(1)  # a server that hangs must not hold up all users
        async with self._book.farewells:
            self._trouble = await self.withdraw(attempt, similar=similar, seconds=seconds)
        self._tried = attempt
        if self._trouble is None:
            self._failures = 0
            return None
        self._failures += 1
        pause = self._trouble.pause.after(self._failures)
        self._due = self._clock() + pause
        return pause

    @property
    def trouble(self) -> Left | None:
        """What `clear` could not take away."""
        return self._trouble

    async def withdraw(self, attempt: Attempt, *, similar: bool, seconds: float) -> Left | None:
        """Takes away what is left; gives the first that it could not, None where nothing is left that it may take.

        Args:
            similar: also at mailboxes that may be the user's own: not before that one is registered, or a mail that
                comes in between is announced by nobody.
        """
        settings, here = attempt.settings, self._here
        trouble: Left | None = None
        for key, one in self.left(settings).items():
            if here is not None and not similar and may_be_same(one, here, settings):
                continue
            try:
                async with asyncio.timeout(seconds):
                    left = await self._withdraw(attempt, key, one)
                    if left is None and key in self._known:
                        await self._write(attempt.user, {key: None})
            except ERRORS as error:
                left = failed(one, error, seconds)
                if left.refused:
                    self._ways.pop(key, None)  # its password is not the right one any more
            trouble = trouble or left
        self._sort(settings)
        return trouble

    async def _withdraw(self, attempt: Attempt, key: str, one: Registration) -> Left | None:
        self.shared = await attempt.siblings.need(attempt.user)
        if self.shared:
            log.info("registration_stays", push_user=attempt.user.name, reason="another PushUser of this user needs it")
            return None
        way = self._ways.get(key) or way_in(attempt, one)
        if isinstance(way, Left):
            return way
        await way.unregister()
        return None

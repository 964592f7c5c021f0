"""All users of the slots that this pod owns: started, kept right, stopped; and the mails that are theirs."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

import structlog

from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.store import MemoryCheckpoints
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mechanisms.base import Health
from mailpush.listener.mechanisms.dovecot import DovecotListener, DovecotMechanism
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.listeners import Listeners
from mailpush.listener.users.metrics import ListenerCount
from mailpush.listener.users.registration_book import NoBook, RegistrationBook
from mailpush.listener.users.servers import ServerUser, server_reports
from mailpush.listener.users.siblings import NoSiblings, OtherPushUsers
from mailpush.listener.users.site import Site
from mailpush.listener.users.status import UserOutcome
from mailpush.listener.users.status_writer import StatusWriter, WritePermission
from mailpush.listener.users.user import UserKey
from mailpush.listener.users.user_listener import NOT_KNOWN_NOW, UserListener
from mailpush.listener.users.watch import Users
from mailpush.notifications.dispatcher import Dispatched, Undelivered
from mailpush.notifications.notification import NewMail
from mailpush.notifications.open_deliveries import SlotSet
from mailpush.sharding.leases import ServerReport
from mailpush.sharding.slots import slot_of
from mailpush.work.queue import WorkQueue

WORKERS: Final = 32
SETTLE_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0
RIGHT_SECONDS: Final = 1.0
AT_ONCE: Final = 500
"""Listeners that are looked at in one turn: less than a millisecond."""

log = structlog.get_logger(__name__)


class Dispatching(Protocol):
    """The part of the dispatcher that the supervisor uses."""

    def dispatch(self, mail: NewMail, clients: tuple[str, ...]) -> Dispatched: ...

    async def settle(self, slots: SlotSet, grace: float) -> list[Undelivered]: ...


class Keeping(Protocol):
    """The part of the inbox that the supervisor uses."""

    def offer(self, mail: NewMail) -> bool: ...

    def give_back(self, rest: Undelivered) -> None: ...


class Checkpointing(Protocol):
    """The part of the checkpoints that the supervisor uses."""

    def own(self, slots: Iterable[int], epoch: int) -> None: ...

    async def release(self, slots: Collection[int]) -> None: ...

    def came(self, mail: NewMail) -> None: ...

    def denied(self, mail: NewMail) -> None: ...

    def forget(self, key: UserKey) -> None: ...


class Supervisor:
    """Owns one UserListener per user of the owned slots.

    Args:
        inbox: keeps the mails that mechanisms see, and those that still have open notifications when this pod
            releases their users.
        gone: told each user who was here and is gone for good, as far as the watch says.
        came: called for each listener that is made.
        permission: whether the pod has its right (P5). Without it what runs goes on, and nothing begins or ends.
    """

    def __init__(
        self,
        users: Users,
        credentials: Credentials,
        statuses: StatusWriter,
        dispatcher: Dispatching,
        *,
        inbox: Keeping,
        permission: WritePermission,
        siblings: OtherPushUsers | None = None,
        book: RegistrationBook | None = None,
        checkpoints: Checkpointing | None = None,
        gone: Callable[[UserKey], None] = lambda _key: None,
        came: Callable[[], None] = lambda: None,
    ) -> None:
        self._gone = gone
        self._checkpoints = checkpoints or Checkpoints(MemoryCheckpoints())
        self._users = users
        self._credentials = credentials
        self._statuses = statuses
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._permission = permission
        self._siblings = siblings or NoSiblings()
        self._book = book or NoBook()
        self._site: Site | None = None
        self._epochs: dict[int, int] = {}
        """The owned slots, with the epoch of the map under which they came."""
        self._warming: frozenset[int] = frozenset()
        """The slots that are about to come, whose users are known already."""
        self._listeners = Listeners(came)
        self._work: WorkQueue[UserKey] = WorkQueue("listeners", workers=WORKERS)
        self._work.start(self._reconcile)
        self._count = ListenerCount()

    # -- what is to run

    def apply(self, site: Site) -> None:
        """Takes new settings in one step; listeners that they do not concern go on undisturbed."""
        self._site = site
        self.look_at_all()

    def user_changed(self, key: UserKey) -> None:
        """The PushUser has come, changed or gone."""
        if slot_of(*key) in self._epochs:
            self._work.add(key)

    def start_slots(self, slots: Iterable[int], epoch: int) -> None:
        """Takes the slots. Returns at once; the listeners start in the background."""
        slots = list(slots)
        self._checkpoints.own(slots, epoch)
        for slot in slots:
            self._epochs.setdefault(slot, epoch)
            self._look_at(slot)
        self._statuses.owns(len(self._epochs))

    def warm_slots(self, slots: frozenset[int]) -> None:
        """These slots are about to come, and no others: what their users take is read, and nothing of them begins."""
        for slot in self._warming - slots - self._epochs.keys():
            for key in self._users.in_slot(slot):
                user = self._users.get(key)
                self._credentials.forget(key, user.name if user is not None else None)
        if self._site is not None:
            coming = (self._users.get(key) for slot in slots - self._warming for key in self._users.in_slot(slot))
            self._credentials.warm((user for user in coming if user is not None), self._site.settings)
        self._warming = slots

    async def stop_slots(self, slots: Iterable[int]) -> None:
        """Releases the slots. Nothing of their users has an effect after this has returned."""
        ending = frozenset(slots)
        for slot in ending:
            self._epochs.pop(slot, None)
        self._statuses.owns(len(self._epochs))
        keys = self._listeners.in_slots(ending)
        await asyncio.gather(
            self._statuses.drop(keys),
            *(self._stop(key) for key in keys),
        )
        for rest in await self._dispatcher.settle(ending, SETTLE_SECONDS):
            self._inbox.give_back(rest)
        await self._checkpoints.release(ending)

    async def close(self) -> None:
        """The end of the process: all slots as in `stop_slots`."""
        await self.stop_slots(list(self._epochs))
        await self._work.close()

    # -- a mail has arrived

    def take(self, mail: NewMail) -> TakeResult:
        """Offers a mail to this pod's own users."""
        key = (mail.context_id, mail.user_id)
        if slot_of(*key) not in self._epochs:
            return TakeResult.NOT_MINE
        listener = self._listeners.get(key)
        if listener is None or listener.clients is None:  # not decided yet, so ask again soon
            return TakeResult.UNKNOWN if self._users.get(key) is None else TakeResult.NOT_MINE
        if (refused := listener.refuses(mail)) is not None:
            if refused is TakeResult.DENIED:
                self._checkpoints.denied(mail)
            return refused
        if self._dispatcher.dispatch(mail, listener.clients).refused:
            return TakeResult.BUSY  # it stays with whoever offers it, in a journal
        self._checkpoints.came(mail)
        return TakeResult.TAKEN

    # -- what is the case

    def listening(self) -> list[UserKey]:
        """Users for whom a listener runs."""
        return [key for key, listener in self._listeners.items() if listener.listening]

    def sweepable(self, key: UserKey) -> DovecotListener | None:
        """What looks into the user's mailbox for mails that no callback has told of."""
        listener = self._listeners.get(key)
        return listener.sweepable if listener is not None else None

    def all_sweepable(self) -> list[tuple[UserKey, DovecotListener]]:
        """Of each user who has one."""
        return [(key, one) for key, listener in self._listeners.items() if (one := listener.sweepable) is not None]

    def owns(self, slot: int) -> bool:
        """Whether this pod has the slot."""
        return slot in self._epochs

    def look_at_all(self) -> None:
        """What all users share has changed: each is looked at again."""
        for slot in self._epochs:
            self._look_at(slot)

    def look_at_waiting(self) -> None:
        """The credential storage does well again: those are looked at who wait for it. A pod may have 50,000 others."""
        for key, listener in self._listeners.items():
            if listener.outcome is None or listener.outcome.reason in NOT_KNOWN_NOW:
                self._work.add(key)

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Users by `assigned`, `listening`, `failed`; and the denied ones by reason."""
        counts, denied = self._listeners.counts()
        assigned = sum(len(self._users.in_slot(slot)) for slot in self._epochs)
        return {"assigned": assigned, **counts}, denied

    async def servers(self) -> dict[str, ServerReport]:
        """How the mail servers do, of users who are to be listened for.

        Looks at so many listeners between two turns of others as holds no callback up.
        """
        users: list[ServerUser] = []
        for number, listener in enumerate(list(self._listeners.values()), 1):
            if listener.server is not None and listener.clients:
                users.append(ServerUser(listener.server, listener.failure))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return server_reports(users)

    def registered(self) -> int:
        """Users for whom Dovecot is to call this installation."""
        return self._count.listening(DovecotMechanism.name)

    async def idle(self) -> None:
        """Waits until every listener that is known to be wanted has begun."""
        await self._work.idle()

    # -- inside

    def _look_at(self, slot: int) -> None:
        keys = list(self._users.in_slot(slot))
        if self._site is not None:
            users = (user for key in keys if (user := self._users.get(key)) is not None)
            self._credentials.expect(users, self._site.settings)
        for key in keys:
            self._work.add(key)

    async def _reconcile(self, key: UserKey) -> None:
        site = self._site
        slot = slot_of(*key)
        if site is None or slot not in self._epochs:
            return
        if not self._permission.may_write():
            # A pod that was paused would unregister users who have another owner, and were registered anew by it.
            self._work.add_after(key, RIGHT_SECONDS)
            return
        user = self._users.get(key)
        listener = self._listeners.get(key)
        if user is None:
            if listener is not None:
                await self._statuses.drop([key])
                await listener.stop()
                self._listeners.pop(key, None)
                self._forget(key, listener)
                self.user_gone(key)
            return
        if listener is None:
            listener = UserListener(key, self._epochs[slot], self, self._siblings, self._credentials, book=self._book)
            self._listeners[key] = listener
        elder = user.status.duplicate_of or self._users.elder_of(user, site.settings)
        again = await listener.reconcile(user, site, elder)
        if again is not None:
            self._work.add_after(key, again)

    async def _stop(self, key: UserKey) -> None:
        await self._work.interrupt(key)
        listener = self._listeners.pop(key, None)
        if listener is None:
            return
        self._forget(key, listener)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await listener.stop()
        except TimeoutError:
            # `stopped` is set, so whatever still hangs there reports nothing any more.
            log.exception("listener_hangs", context=key[0], user=key[1])

    def _forget(self, key: UserKey, listener: UserListener) -> None:
        """The user has left, and with him his password."""
        self._count.forget(key)
        self._credentials.forget(key, listener.push_user)

    # -- what the listeners report

    def reported(self, key: UserKey, outcome: UserOutcome, health: Health | None) -> None:
        if slot_of(*key) not in self._epochs:
            return  # being released: the status is the next owner's
        self._listeners.observed(key)
        if outcome.mechanism is not None and health is not None:
            self._count.observe(key, outcome.mechanism, health)
        else:
            self._count.forget(key)
        self._statuses.submit(key, outcome)

    def look_again(self, key: UserKey) -> None:
        """The mechanism has given up, so the next is to have its turn."""
        self._work.add(key)

    def user_gone(self, key: UserKey) -> None:
        """The user's password is needed no more, and what comes from now on is no news for who registers later."""
        self._checkpoints.forget(key)
        self._gone(key)

    def mail_seen(self, mail: NewMail) -> bool:
        """A mechanism has seen a mail. It goes the way of a callback's, so that no end of this process loses it, and
        it follows its user to another pod.
        """
        return self._inbox.offer(mail)

"""A listener begins where the last one of its folder, wherever it ran, has ended."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.store import Checkpoint, CheckpointsUnavailable, Folder, MemoryCheckpoints
from mailpush.listener.mechanisms.base import Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.imapidle import UNREAD_SECONDS, ImapIdleListener, ImapIdleMechanism
from mailpush.listener.mechanisms.place import MOST_AT_ONCE
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from tests.sites.checkpoints import stored
from tests.sites.imapserver import FakeImap, Message, Waits, fake_imap
from tests.sites.seen import SeenMails
from tests.sites.waiting import until

INBOX = Folder(1, 3, "INBOX")
SETTINGS = ImapIdleSettings(enabled=True, supports_permanent_listeners=True, delay=5000)
NOW = datetime(2026, 11, 26, 18, 0, tzinfo=UTC).timestamp()
HALF_AN_HOUR_AGO, TWO_HOURS_AGO = "26-Nov-2026 17:30:00 +0000", "26-Nov-2026 17:00:00 +0100"


class Store(MemoryCheckpoints):
    away = False

    async def of_user(self, context_id: int, user_id: int) -> dict[str, Checkpoint]:
        if self.away:
            raise CheckpointsUnavailable("away")
        return await super().of_user(context_id, user_id)


class Pod:
    """A process that owns the user, until it is killed."""

    def __init__(self, imap: FakeImap, store: Store, epoch: int) -> None:
        self.imap = imap
        self.mails = SeenMails()
        self.waits = Waits()
        self.clock = [0.0]
        self.checkpoints = Checkpoints(store, clock=lambda: self.clock[0])
        self.checkpoints.own([slot_of(1, 3)], epoch)
        around = Surroundings(
            ConnectBudget(), progress=self.checkpoints, now=lambda: NOW, timeout=60, sleep=self.waits.sleep
        )
        mailbox = Mailbox(1, 3, imap.address, imap.login())
        self.listener: ImapIdleListener = ImapIdleMechanism(around, SETTINGS, 1000).listener(
            mailbox, lambda _user, _health: None, self.mails.keep
        )

    async def start(self) -> None:
        await self.listener.start()
        await until(lambda: self.listener.health.state is State.LISTENING)

    def told(self, *uids: int) -> None:
        """The targets have these."""
        for uid in uids:
            self.checkpoints.over(NewMail(1, 3, "INBOX", uid, self.imap.uidvalidity))

    async def write(self) -> None:
        await self.checkpoints._write(list(self.checkpoints._changed))

    @property
    def uids(self) -> list[int]:
        return [mail.uid for mail in self.mails]


MakePod = Callable[[], Pod]


@pytest.fixture
async def imap() -> AsyncIterator[FakeImap]:
    async with fake_imap() as server:
        yield server


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def pod(imap: FakeImap, store: Store) -> AsyncIterator[MakePod]:
    made: list[Pod] = []

    def make() -> Pod:
        made.append(Pod(imap, store, epoch=len(made) + 1))
        return made[-1]

    yield make
    for each in made:
        await each.listener.stop()


async def test_mails_that_came_while_nobody_owned_the_user_are_told(imap: FakeImap, pod: MakePod) -> None:
    first, second = pod(), pod()
    imap.put(Message(1), Message(2))
    await first.start()
    await first.write()
    await first.listener.stop()
    imap.put(
        Message(3),
        Message(4, flags="\\Seen"),
        Message(5, flags="\\Deleted"),
        Message(6, arrived=HALF_AN_HOUR_AGO),
        Message(7, arrived=TWO_HOURS_AGO),
        Message(8),
    )
    await second.start()
    assert second.uids == [3, 6, 8], "neither what is old, nor what was read or deleted meanwhile"
    assert imap.uidnext == 9


async def test_mails_that_a_killed_pod_had_not_told_yet_are_told_by_the_next(imap: FakeImap, pod: MakePod) -> None:
    first, second, third = pod(), pod(), pod()
    await first.start()
    imap.deliver(Message(1), Message(2), Message(3))
    await until(lambda: len(first.mails) == 3)
    first.told(1, 3)
    await first.write()
    await first.listener.stop()
    await second.start()
    assert second.uids == [2, 3], "3 is known as told by its claim, not by the checkpoint"
    second.told(2, 3)
    await second.write()
    await second.listener.stop()
    await third.start()
    assert third.uids == []


async def test_without_a_checkpoint_what_is_there_is_old(imap: FakeImap, pod: MakePod, store: Store) -> None:
    imap.put(*(Message(uid) for uid in range(1, 400)))
    one = pod()
    await one.start()
    assert one.uids == []
    await one.write()
    assert await stored(store, INBOX) == Checkpoint(1, 400)


async def test_a_restored_mailbox_announces_nothing(imap: FakeImap, pod: MakePod) -> None:
    first, second = pod(), pod()
    imap.put(Message(1))
    await first.start()
    await first.write()
    await first.listener.stop()
    imap.uidvalidity = 2
    imap.put(Message(2), Message(3))
    await second.start()
    assert second.uids == []


async def test_of_very_many_the_last_are_told(imap: FakeImap, pod: MakePod) -> None:
    first, second = pod(), pod()
    await first.start()
    await first.write()
    await first.listener.stop()
    imap.put(*(Message(uid) for uid in range(1, 2 * MOST_AT_ONCE + 1)))
    await second.start()
    assert second.uids == list(range(MOST_AT_ONCE + 1, 2 * MOST_AT_ONCE + 1))


async def test_a_store_that_is_away_is_not_one_without_a_checkpoint(imap: FakeImap, pod: MakePod, store: Store) -> None:
    """Who begins meanwhile tells what comes, writes nothing, and tells what it has missed as soon as it can."""
    first, second = pod(), pod()
    await first.start()
    await first.write()
    await first.listener.stop()
    imap.put(Message(1), Message(2, arrived=TWO_HOURS_AGO))
    store.away = True
    await second.start()
    imap.deliver(Message(3))
    await until(lambda: second.uids == [3])
    second.told(3)
    await imap.idling()
    await second.write()
    assert (await MemoryCheckpoints.of_user(store, 1, 3)).get("INBOX") == Checkpoint(1, 1), "nothing is written yet"
    store.away, second.clock[0] = False, 60.0
    imap.deliver(Message(4))
    await until(lambda: sorted(second.uids) == [1, 3, 4])
    assert UNREAD_SECONDS < 60, "no mail is needed for it"
    second.told(1, 4)
    await imap.idling()
    await second.write()
    assert await stored(store, INBOX) == Checkpoint(1, 5)


async def test_a_mail_that_finds_no_room_stays_owed(imap: FakeImap, pod: MakePod, store: Store) -> None:
    one = pod()
    await one.start()
    one.mails.room = 0
    imap.deliver(Message(1))
    await until(lambda: imap.fetched)
    await imap.idling()
    await one.write()
    assert await stored(store, INBOX) == Checkpoint(1, 1)

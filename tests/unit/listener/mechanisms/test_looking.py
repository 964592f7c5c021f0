"""A mailbox whose server calls for each mail is looked into for mails that no callback has told of."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from mailpush.api.catchup import CatchUp, Sweep
from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.store import Checkpoint, CheckpointsUnavailable, Folder, MemoryCheckpoints
from mailpush.listener.mechanisms.base import Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.dovecot import DovecotListener, DovecotMechanism
from mailpush.listener.mechanisms.place import MOST_AT_ONCE
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from tests.sites.checkpoints import stored
from tests.sites.imapserver import FakeImap, Message, Waits, fake_imap
from tests.sites.seen import SeenMails
from tests.sites.waiting import until

INBOX = Folder(1, 3, "INBOX")
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

    def __init__(self, imap: FakeImap, store: Store, epoch: int = 1, settings: CatchUp | None = None) -> None:
        self.imap = imap
        self.mails = SeenMails()
        self.waits = Waits()
        self.gaps: list[tuple[int, int]] = []
        self.clock = [0.0]
        self.checkpoints = Checkpoints(store, clock=lambda: self.clock[0])
        self.checkpoints.own([slot_of(1, 3)], epoch)
        self.checkpoints.notify(self.gaps.append)
        around = Surroundings(
            ConnectBudget(),
            progress=self.checkpoints,
            catch_up=lambda: settings or CatchUp(),
            now=lambda: NOW,
            timeout=60,
            sleep=self.waits.sleep,
        )
        mailbox = Mailbox(1, 3, imap.address, imap.login(), server_name="mail")
        listener = DovecotMechanism(around).listener(mailbox, lambda _user, _health: None, self.mails.keep)
        assert isinstance(listener, DovecotListener)
        self.listener = listener

    async def start(self) -> "Pod":
        await self.listener.start()
        await until(lambda: self.waits.asked)
        assert self.listener.health.state is State.LISTENING
        return self

    async def look(self) -> None:
        asked = len(self.waits.asked)
        assert self.listener.hurry()
        await until(lambda: len(self.waits.asked) > asked)

    def called(self, *uids: int, over: bool = True) -> None:
        """The callbacks of these mails come, and the targets have them."""
        for uid in uids:
            mail = NewMail(1, 3, "INBOX", uid, self.imap.uidvalidity)
            self.checkpoints.came(mail)
            if over:
                self.checkpoints.over(mail)

    async def killed(self) -> None:
        """After what it writes each second."""
        await self.checkpoints._write(list(self.checkpoints._changed))
        await self.listener.stop()

    @property
    def uids(self) -> list[int]:
        return [mail.uid for mail in self.mails]


@pytest.fixture
async def imap() -> AsyncIterator[FakeImap]:
    async with fake_imap() as server:
        server.put(Message(4))
        yield server


@pytest.fixture
def store() -> Store:
    return Store()


async def test_a_mail_whose_callback_a_lost_pod_has_taken_along_is_told_by_the_next_owner(
    imap: FakeImap, store: Store
) -> None:
    lost = await Pod(imap, store).start()
    imap.put(Message(5), Message(6), Message(7))
    lost.called(5, 7)
    await lost.killed()
    owner = await Pod(imap, store, 2).start()
    # The claims know 7, which the next owner cannot.
    assert owner.uids == [6, 7]
    assert [mail.found for mail in owner.mails] == ["mail", "mail"]
    assert imap.fetched == [(6, 7)]
    await owner.listener.stop()


async def test_a_mail_that_is_on_its_way_when_its_pod_dies_is_found(imap: FakeImap, store: Store) -> None:
    lost = await Pod(imap, store).start()
    imap.put(Message(5), Message(6))
    lost.called(5, over=False)
    lost.called(6)
    await lost.killed()
    owner = await Pod(imap, store, 2).start()
    assert owner.uids == [5, 6]
    await owner.listener.stop()


async def test_where_every_callback_came_nothing_is_fetched(imap: FakeImap, store: Store) -> None:
    pod = await Pod(imap, store).start()
    imap.put(Message(5), Message(6))
    pod.called(6, 5)
    await pod.look()
    assert (pod.uids, imap.fetched) == ([], [])
    await pod.killed()
    assert await stored(store, INBOX) == Checkpoint(1, 7)


async def test_a_mailbox_that_nobody_has_looked_into_announces_nothing(imap: FakeImap, store: Store) -> None:
    pod = await Pod(imap, store).start()
    assert pod.uids == []
    await pod.killed()
    assert await stored(store, INBOX) == Checkpoint(1, 5)


async def test_a_restored_mailbox_announces_nothing(imap: FakeImap, store: Store) -> None:
    await (await Pod(imap, store).start()).killed()
    imap.uidvalidity, imap.messages, imap.uidnext = 2, [Message(uid) for uid in range(1, 9)], 9
    pod = await Pod(imap, store, 2).start()
    assert pod.uids == []
    await pod.killed()
    assert await stored(store, INBOX) == Checkpoint(2, 9)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (Message(5, arrived=HALF_AN_HOUR_AGO), True),
        (Message(5, arrived=TWO_HOURS_AGO), False),
        (Message(5, flags="\\Seen"), False),
        (Message(5, flags="\\Deleted"), False),
    ],
)
async def test_only_young_unseen_mails_are_news(imap: FakeImap, store: Store, message: Message, told: bool) -> None:
    await (await Pod(imap, store).start()).killed()
    imap.put(message)
    pod = await Pod(imap, store, 2).start()
    assert pod.uids == ([5] if told else [])
    await pod.listener.stop()


async def test_how_old_is_a_setting(imap: FakeImap, store: Store) -> None:
    await (await Pod(imap, store).start()).killed()
    imap.put(Message(5, arrived=TWO_HOURS_AGO))
    pod = await Pod(imap, store, 2, CatchUp(max_age=3 * 3600)).start()
    assert pod.uids == [5]
    await pod.listener.stop()


async def test_of_very_many_the_last_are_told(imap: FakeImap, store: Store) -> None:
    await (await Pod(imap, store).start()).killed()
    imap.put(*(Message(uid) for uid in range(5, 5 + 3 * MOST_AT_ONCE)))
    pod = await Pod(imap, store, 2).start()
    assert pod.uids == list(range(5 + 2 * MOST_AT_ONCE, 5 + 3 * MOST_AT_ONCE))
    await pod.listener.stop()


async def test_switched_off_nobody_looks(imap: FakeImap, store: Store) -> None:
    pod = await Pod(imap, store, settings=CatchUp(sweep=Sweep(enabled=False))).start()
    assert "STATUS" not in imap.commands
    await pod.killed()
    assert await stored(store, INBOX) is None


async def test_a_store_that_is_away_is_not_one_without_a_checkpoint(imap: FakeImap, store: Store) -> None:
    await (await Pod(imap, store).start()).killed()
    imap.put(Message(5))
    store.away = True
    pod = await Pod(imap, store, 2).start()
    assert (pod.uids, pod.listener.looked_at) == ([], 0.0)
    store.away, pod.clock[0] = False, 60.0
    await pod.look()
    assert pod.uids == [5]
    assert pod.listener.looked_at > 0
    await pod.listener.stop()


async def test_a_server_that_gives_no_status_registers_all_the_same(imap: FakeImap, store: Store) -> None:
    imap.refuses_status = True
    pod = await Pod(imap, store).start()
    assert pod.listener.health.reason == "Registered"
    assert pod.listener.looked_at > 0, "it would not be better the next time"
    await pod.listener.stop()


async def test_a_mail_that_finds_no_room_is_looked_for_again(imap: FakeImap, store: Store) -> None:
    await (await Pod(imap, store).start()).killed()
    imap.put(Message(5), Message(6))
    pod = Pod(imap, store, 2)
    pod.mails.room = 1
    await pod.start()
    assert pod.uids == [5, 6]
    pod.mails.room = 9
    await pod.look()
    assert pod.uids == [5, 6, 6]
    await pod.listener.stop()


async def test_a_mail_that_the_server_does_not_give_holds_up_no_other(imap: FakeImap, store: Store) -> None:
    await (await Pod(imap, store).start()).killed()
    imap.put(Message(5), Message(6))
    imap.grudges[5] = "NO"
    pod = await Pod(imap, store, 2).start()
    assert pod.uids == [6]
    await pod.killed()
    assert await stored(store, INBOX) == Checkpoint(1, 6), "6 is on its way"


async def test_a_gap_between_callbacks_is_noticed(imap: FakeImap, store: Store) -> None:
    pod = await Pod(imap, store).start()
    pod.called(5)
    assert pod.gaps == []
    pod.called(7)
    assert pod.gaps == [(1, 3)]
    assert pod.checkpoints.incomplete((1, 3))
    pod.called(6)
    assert not pod.checkpoints.incomplete((1, 3))
    await pod.listener.stop()


async def test_who_was_unregistered_is_not_told_of_what_came_meanwhile(imap: FakeImap, store: Store) -> None:
    pod = await Pod(imap, store).start()
    pod.checkpoints.forget((1, 3))
    await pod.killed()
    assert await stored(store, INBOX) is None
    imap.put(Message(5))
    pod = await Pod(imap, store, 2).start()
    assert pod.uids == []
    await pod.listener.stop()


async def test_a_denied_mail_is_no_news_later(imap: FakeImap, store: Store) -> None:
    pod = await Pod(imap, store).start()
    imap.put(Message(5))
    pod.checkpoints.denied(NewMail(1, 3, "INBOX", 5, 1))
    await pod.killed()
    assert (await stored(store, INBOX)) == Checkpoint(1, 6)

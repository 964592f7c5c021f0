from collections.abc import AsyncIterator, Callable

import pytest

from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.listener.mechanisms import imapidle
from mailpush.listener.mechanisms.base import Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.imapidle import ImapIdleListener, ImapIdleMechanism
from mailpush.listener.mechanisms.place import MOST_AT_ONCE
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.notifications.notification import NewMail
from tests.sites.imapserver import FakeImap, Message, Waits, fake_imap
from tests.sites.seen import SeenMails
from tests.sites.waiting import until

Make = Callable[..., ImapIdleListener]
SETTINGS = ImapIdleSettings(enabled=True, supports_permanent_listeners=True, delay=5000)


@pytest.fixture
async def imap() -> AsyncIterator[FakeImap]:
    async with fake_imap() as server:
        yield server


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def mails() -> SeenMails:
    return SeenMails()


@pytest.fixture
async def make(imap: FakeImap, waits: Waits, mails: SeenMails) -> AsyncIterator[Make]:
    made: list[ImapIdleListener] = []

    def listener(*, idle_seconds: float = 1000, push_mode: str = "always") -> ImapIdleListener:
        settings = SETTINGS.model_copy(update={"push_mode": push_mode})
        mechanism = ImapIdleMechanism(
            Surroundings(ConnectBudget(), timeout=60, sleep=waits.sleep), settings, idle_seconds
        )
        mailbox = Mailbox(1, 3, imap.address, imap.login())
        made.append(mechanism.listener(mailbox, lambda _user, _health: None, mails.keep))
        return made[-1]

    yield listener
    for each in made:
        await each.stop()


async def test_tells_a_mail_that_arrives_and_none_that_was_there(imap: FakeImap, make: Make, mails: SeenMails) -> None:
    imap.put(Message(7, "old"))
    listener = make()
    await listener.start()
    await imap.idling()
    assert (listener.health.state, listener.health.reason) == (State.LISTENING, "Idling")
    imap.deliver(Message(9, "=?utf-8?Q?gr=C3=BC=C3=9Fe?="))
    await until(lambda: mails)
    assert mails == [
        NewMail(1, 3, "INBOX", uid=9, uidvalidity=1, email="bob@example.org", displayname="Bob", subject="grüße")
    ]
    await imap.idling()
    imap.deliver(Message(10))
    await until(lambda: len(mails) == 2)
    assert "SELECT" not in imap.commands, "the folder is only examined, so no flag changes"


async def test_tells_after_a_reconnect_what_came_meanwhile(
    imap: FakeImap, make: Make, waits: Waits, mails: SeenMails
) -> None:
    listener = make()
    await listener.start()
    await imap.idling()
    imap.drop()
    await until(lambda: waits.asked)
    assert waits.asked[0] >= 5, "delay_ms lies between two attempts"
    imap.put(Message(1), Message(2, flags="\\Seen"), Message(3, flags="\\Deleted"), Message(4))
    waits.end()
    await imap.idling()
    assert [mail.uid for mail in mails] == [1, 4], "neither read nor deleted ones"


async def test_a_new_uidvalidity_is_a_new_baseline(imap: FakeImap, make: Make, waits: Waits, mails: SeenMails) -> None:
    await make().start()
    await imap.idling()
    imap.drop()
    await until(lambda: waits.asked)
    imap.uidvalidity = 2
    imap.put(Message(1), Message(2))
    waits.end()
    await imap.idling()
    assert mails == []
    imap.deliver(Message(3))
    await until(lambda: mails)
    assert [(mail.uidvalidity, mail.uid) for mail in mails] == [(2, 3)]


async def test_a_mail_is_not_lost_when_the_connection_breaks_while_it_is_read(
    imap: FakeImap, make: Make, waits: Waits, mails: SeenMails
) -> None:
    await make().start()
    await imap.idling()
    imap.break_fetch = True
    imap.deliver(Message(1))
    await until(lambda: waits.asked)
    assert mails == []
    imap.break_fetch = False
    waits.end()
    await until(lambda: mails)
    assert [mail.uid for mail in mails] == [1]


@pytest.mark.parametrize(("push_mode", "uids"), [("always", [1, 2]), ("newmail", [2])])
async def test_push_mode_newmail_leaves_out_what_was_read(
    imap: FakeImap, make: Make, mails: SeenMails, push_mode: str, uids: list[int]
) -> None:
    await make(push_mode=push_mode).start()
    await imap.idling()
    imap.deliver(Message(1, flags="\\Seen"), Message(2))
    await until(lambda: [mail.uid for mail in mails][-1:] == [2])
    assert [mail.uid for mail in mails] == uids


async def test_a_flood_is_no_mail_that_arrives(imap: FakeImap, make: Make, mails: SeenMails) -> None:
    await make().start()
    await imap.idling()
    imap.deliver(*(Message(uid) for uid in range(1, 1001)))
    await until(lambda: mails and mails[-1].uid == 1000)
    assert len(mails) == MOST_AT_ONCE


async def test_idle_is_begun_anew_before_the_server_ends_it(imap: FakeImap, make: Make, mails: SeenMails) -> None:
    await make(idle_seconds=0.01).start()
    await until(lambda: imap.commands.count("IDLE") >= 3)
    imap.put(Message(1))
    await until(lambda: mails)
    assert imap.commands.count("LOGIN") == 1
    assert [mail.uid for mail in mails] == [1], "also what the server did not tell of"


async def test_a_mail_that_the_pod_has_no_room_for_is_announced_again(
    imap: FakeImap, make: Make, mails: SeenMails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imapidle, "NO_ROOM_SECONDS", 0.01)
    listener = make()
    await listener.start()
    await imap.idling()
    mails.room = 2
    imap.deliver(*(Message(uid) for uid in (1, 2, 3, 4)))
    await until(lambda: len(mails) >= 10)
    assert [mail.uid for mail in mails[:4]] == [1, 2, 3, 4]
    assert {mail.uid for mail in mails[4:]} == {3, 4}, "what is kept is not announced again"
    mails.room = 2
    await until(lambda: mails.room == 0)
    await until(lambda: not listener._place.owed)
    assert [mail.uid for mail in mails[-2:]] == [3, 4]
    assert imap.commands.count("LOGIN") == 1
    assert listener.health.state is State.LISTENING


@pytest.mark.parametrize(
    ("capabilities", "refuse"), [("IMAP4rev1", frozenset()), ("IMAP4rev1 IDLE", frozenset({"IDLE"}))]
)
async def test_a_server_without_idle_is_named(
    imap: FakeImap, make: Make, waits: Waits, capabilities: str, refuse: frozenset[str]
) -> None:
    imap.capabilities, imap.refuse = capabilities, refuse
    listener = make()
    await listener.start()
    await until(lambda: waits.asked)
    assert (listener.health.state, listener.health.reason) == (State.FAILED, "NoIdle")


async def test_stopping_ends_the_connection(imap: FakeImap, make: Make) -> None:
    listener = make()
    await listener.start()
    await imap.idling()
    await listener.stop()
    await until(lambda: not imap._idling)
    assert listener.health.state is State.STOPPED

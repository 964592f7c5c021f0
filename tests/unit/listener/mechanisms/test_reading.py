"""Mails that a server does not give, and servers that do not hold IDLE: bounds in commands, connections and rounds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.listener.mechanisms.base import Health, Listener, Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.imapidle import ImapIdleMechanism
from mailpush.listener.mechanisms.reading import TRIES
from mailpush.listener.mechanisms.repeating import Surroundings
from tests.sites.imapserver import FakeImap, Message, fake_imap
from tests.sites.seen import SeenMails
from tests.sites.waiting import until

SETTINGS = ImapIdleSettings(enabled=True, supports_permanent_listeners=True)


class Time:
    """Goes on only where somebody sleeps, and then at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)
        await asyncio.sleep(0)


class Scene:
    """One listener at a FakeImap."""

    def __init__(self, imap: FakeImap) -> None:
        self.imap = imap
        self.time = Time()
        self.mails = SeenMails()
        self.said: list[Health] = []
        self.around = Surroundings(ConnectBudget(), timeout=60, clock=self.time.clock, sleep=self.time.sleep)
        self.listener = self.new()

    def new(
        self, settings: ImapIdleSettings = SETTINGS, after: Listener | None = None, password: str = "secret"
    ) -> Listener:
        mechanism = ImapIdleMechanism(self.around, settings)
        mailbox = Mailbox(1, 3, self.imap.address, self.imap.login(password))
        return mechanism.listener(mailbox, lambda _user, health: self.said.append(health), self.mails.keep, after)

    @property
    def uids(self) -> list[int]:
        return [mail.uid for mail in self.mails]


@pytest.fixture
async def imap() -> AsyncIterator[FakeImap]:
    async with fake_imap() as server:
        yield server


@pytest.fixture
async def scene(imap: FakeImap) -> AsyncIterator[Scene]:
    scene = Scene(imap)
    yield scene
    await scene.listener.stop()


def not_read(outcome: str) -> float:
    return REGISTRY.get_sample_value("mailpush_imapidle_not_read_total", {"outcome": outcome}) or 0.0


@pytest.mark.parametrize("grudge", ["no header", "NIL"])
async def test_a_mail_whose_header_is_not_given_is_told_without_it_and_the_others_whole(
    imap: FakeImap, scene: Scene, grudge: str
) -> None:
    await scene.listener.start()
    await imap.idling()
    imap.grudges[2] = grudge
    imap.deliver(Message(1), Message(2), Message(3))
    await until(lambda: len(scene.mails) == 3)
    assert sorted(scene.uids) == [1, 2, 3]
    assert {mail.uid: mail.subject for mail in scene.mails} == {1: "hello", 2: None, 3: "hello"}
    imap.deliver(Message(4))
    await until(lambda: 4 in scene.uids)
    assert imap.commands.count("LOGIN") == 1
    assert sum(2 in uids for uids in imap.fetched) <= TRIES


async def test_a_mail_of_which_nothing_is_given_holds_up_no_other_and_is_skipped(imap: FakeImap, scene: Scene) -> None:
    skipped = not_read("skipped")
    await scene.listener.start()
    await imap.idling()
    imap.grudges[2] = "NO"
    imap.deliver(Message(1), Message(2), Message(3))
    await until(lambda: {1, 3} <= set(scene.uids))
    for uid in range(4, 10):
        await imap.idling()
        imap.deliver(Message(uid))
        await until(lambda: uid in scene.uids)  # noqa: B023
    assert not_read("skipped") == skipped + 1
    assert sorted(scene.uids) == [1, 3, 4, 5, 6, 7, 8, 9]
    assert imap.commands.count("LOGIN") == 1, "a refusal is no reason for a new connection"
    assert sum(2 in uids for uids in imap.fetched) <= TRIES + 1


@pytest.mark.parametrize(
    ("grudge", "told"), [("BYE", [1, 3, 4]), ("flood", [1, 3, 4]), ("no header, BYE", [1, 2, 3, 4])]
)
async def test_a_mail_that_ends_the_connection_does_so_a_few_times_and_no_more(
    imap: FakeImap, scene: Scene, grudge: str, told: list[int]
) -> None:
    await scene.listener.start()
    await imap.idling()
    imap.grudges[2] = grudge
    imap.deliver(Message(1), Message(2), Message(3))
    await until(lambda: {1, 3} <= set(scene.uids))
    await imap.idling()
    imap.deliver(Message(4))
    await until(lambda: 4 in scene.uids)
    await imap.idling()
    assert sorted(scene.uids) == told, "none of them twice"
    assert imap.commands.count("LOGIN") <= TRIES + 1


async def test_a_mail_that_is_gone_before_it_was_read_is_no_mail(imap: FakeImap, scene: Scene) -> None:
    await scene.listener.start()
    await imap.idling()
    imap.put(Message(1), Message(2))
    del imap.messages[0]
    imap.deliver(Message(3))
    await until(lambda: 3 in scene.uids)
    assert scene.uids == [2, 3]
    assert len(imap.fetched) == 1


@pytest.mark.parametrize("refuses_status", [False, True], ids=["STATUS says it", "the highest UID says it"])
async def test_a_server_that_does_not_say_uidnext_is_listened_to(
    imap: FakeImap, scene: Scene, refuses_status: bool
) -> None:
    imap.says_uidnext, imap.refuses_status = False, refuses_status
    imap.put(Message(7))
    await scene.listener.start()
    await imap.idling()
    imap.deliver(Message(9))
    await until(lambda: scene.uids == [9])
    assert scene.listener.health.state is State.LISTENING


async def test_a_keyword_with_a_bracket_hides_nothing(imap: FakeImap, scene: Scene) -> None:
    await scene.listener.start()
    await imap.idling()
    imap.deliver(Message(1, flags="[todo a[b"), Message(2))
    await until(lambda: scene.uids == [1, 2])
    assert imap.commands.count("LOGIN") == 1


HOUR = 3600.0


@pytest.mark.parametrize("misbehaviour", ["ends at once", "lies"])
async def test_a_server_that_does_not_hold_idle_is_asked_once_a_minute_and_the_status_says_so(
    imap: FakeImap, scene: Scene, misbehaviour: str
) -> None:
    imap.idle = misbehaviour
    await scene.listener.start()
    await until(lambda: scene.time.now >= HOUR)
    rounds = imap.commands.count("IDLE")
    assert 60 <= rounds <= 150
    assert imap.commands.count("LOGIN") == 1
    assert (scene.listener.health.state, scene.listener.health.reason) == (State.UNVERIFIED, "IdleNotHeld")
    imap.drop()
    imap.put(Message(1))
    await until(lambda: scene.uids == [1])
    await until(lambda: imap.commands.count("LOGIN") == 2)
    assert [health.reason for health in scene.said].count("Idling") == 1, "the status does not flutter"
    imap.idle = ""
    await until(lambda: imap._idling)
    imap.deliver(Message(2))
    await until(lambda: scene.uids == [1, 2])


async def test_a_server_that_announces_a_mail_a_round_is_asked_once_a_second(imap: FakeImap, scene: Scene) -> None:
    imap.idle = "floods"
    await scene.listener.start()
    await until(lambda: scene.time.now >= 60)
    assert imap.commands.count("IDLE") <= 70


CHANGES: list[dict[str, Any]] = [{"delay": 1}, {"push_mode": "newmail"}]


async def test_a_successor_goes_on_from_the_place_of_its_predecessor(imap: FakeImap, scene: Scene) -> None:
    await scene.listener.start()
    await imap.idling()
    imap.deliver(Message(1))
    await until(lambda: scene.uids == [1])
    for number, changes in enumerate(CHANGES, 2):
        await scene.listener.stop()
        imap.put(Message(number))
        scene.listener = scene.new(SETTINGS.model_copy(update=changes), scene.listener)
        await scene.listener.start()
        await until(lambda: number in scene.uids)  # noqa: B023
    await imap.idling()
    assert scene.uids == [1, 2, 3]


async def test_a_successor_is_owed_what_its_predecessor_was(imap: FakeImap, scene: Scene) -> None:
    await scene.listener.start()
    await imap.idling()
    imap.grudges[2] = "NO"
    imap.deliver(Message(1), Message(2))
    await until(lambda: scene.uids == [1])
    await imap.idling()
    await scene.listener.stop()
    del imap.grudges[2]
    scene.listener = scene.new(after=scene.listener)
    await scene.listener.start()
    await until(lambda: scene.uids == [1, 2])


@pytest.mark.parametrize("change", ["folder", "uidvalidity"])
async def test_a_successor_that_watches_something_else_begins_anew(imap: FakeImap, scene: Scene, change: str) -> None:
    await scene.listener.start()
    await imap.idling()
    await scene.listener.stop()
    imap.put(Message(1))
    imap.uidvalidity = 2 if change == "uidvalidity" else 1
    settings = SETTINGS.model_copy(update={"folder": "Archive"} if change == "folder" else {})
    scene.listener = scene.new(settings, scene.listener)
    await scene.listener.start()
    await imap.idling()
    assert scene.uids == []

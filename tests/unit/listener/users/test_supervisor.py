"""The users of the owned slots, and whose a mail is."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, cast

import pytest

from mailpush.kube.client import Kube
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mechanisms.base import Health, State
from mailpush.listener.users import listeners as listeners_module
from mailpush.listener.users import supervisor as supervisor_module
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.status import UserOutcome
from mailpush.listener.users.status_writer import StatusWriter
from mailpush.listener.users.supervisor import Supervisor
from mailpush.listener.users.user import User, UserKey
from mailpush.listener.users.user_listener import UserListener
from mailpush.listener.users.watch import Users
from mailpush.notifications.dispatcher import Dispatched, Undelivered
from mailpush.notifications.notification import NewMail
from mailpush.notifications.open_deliveries import SlotSet
from mailpush.properties.settings import Settings
from mailpush.sharding.leases import ServerReport
from mailpush.sharding.slots import slot_of
from tests.sites.fakekube import FakeKube
from tests.unit.listener.people import BY_SECRET, CLIENT, FakeSite, Permitted, push_user

THREE, FOUR = slot_of(1, 3), slot_of(1, 4)


class Statuses:
    def __init__(self) -> None:
        self.last: dict[UserKey, UserOutcome] = {}
        self.slots = 0

    def owns(self, slots: int) -> None:
        self.slots = slots

    def submit(self, key: UserKey, outcome: UserOutcome) -> None:
        self.last[key] = outcome

    async def drop(self, keys: Any) -> None:
        for key in keys:
            self.last.pop(key, None)


class Dispatcher:
    def __init__(self) -> None:
        self.dispatched: list[tuple[NewMail, tuple[str, ...]]] = []
        self.open: list[NewMail] = []
        self.refuses = 0
        self.settled: SlotSet = ()

    def dispatch(self, mail: NewMail, clients: tuple[str, ...]) -> Dispatched:
        self.dispatched.append((mail, clients))
        return Dispatched(1, self.refuses)

    async def settle(self, slots: SlotSet, grace: float) -> list[Undelivered]:
        self.settled = slots
        return [Undelivered(mail, (CLIENT,), 1.0) for mail in self.open if slot_of(*mail.id[:2]) in slots]


class Inbox:
    def __init__(self) -> None:
        self.offered: list[NewMail] = []
        self.has_room = True
        self.given_back: list[Undelivered] = []

    def offer(self, mail: NewMail) -> bool:
        if self.has_room:
            self.offered.append(mail)
        return self.has_room

    def give_back(self, rest: Undelivered) -> None:
        self.given_back.append(rest)


class NotedCredentials(Credentials):
    """Notes whose are read before they come, and whose are forgotten."""

    def __init__(self, secrets: UserSecretReader) -> None:
        super().__init__(secrets)
        self.warmed: list[UserKey] = []
        self.forgotten: list[UserKey] = []

    def warm(self, users: Iterable[User], settings: Settings) -> None:
        self.warmed += [user.key for user in users]

    def forget(self, key: UserKey, push_user: str | None) -> None:
        self.forgotten.append(key)
        super().forget(key, push_user)


class Scene:
    def __init__(self) -> None:
        self.users = Users("main")
        self.statuses = Statuses()
        self.dispatcher = Dispatcher()
        self.fake = FakeSite()
        self.inbox = Inbox()
        self.permission = Permitted()
        self.secrets = UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: 0.0)
        self.credentials = NotedCredentials(self.secrets)
        self.supervisor = Supervisor(
            self.users,
            self.credentials,
            cast("StatusWriter", self.statuses),
            self.dispatcher,
            inbox=self.inbox,
            permission=self.permission,
        )
        self.users.notify(self.supervisor)
        self.supervisor.apply(self.fake.site())

    def there(self, number: int, **changes: Any) -> None:
        self.users.observe("MODIFIED", push_user(number, **changes))

    def mail(self, number: int) -> TakeResult:
        return self.supervisor.take(NewMail(1, number, "INBOX", 1, 1))


async def test_users_of_owned_slots_are_started_whichever_comes_first() -> None:
    scene = Scene()
    scene.there(3)
    scene.supervisor.start_slots([THREE, FOUR], 5)
    scene.there(4)
    scene.there(5)
    await scene.supervisor.idle()
    assert {key: (one.reason, one.epoch) for key, one in scene.statuses.last.items()} == {
        (1, 3): ("Registered", 5),
        (1, 4): ("Registered", 5),
    }


@pytest.mark.parametrize("how", ["moves away", "is deleted"])
async def test_a_users_secret_leaves_the_memory_with_the_user(how: str) -> None:
    """It stayed until another user's was asked for, five minutes later at the earliest."""
    scene = Scene()
    scene.fake.files = BY_SECRET
    scene.supervisor.apply(scene.fake.site())
    for number in (3, 4):
        scene.there(number, credentialsSecretRef={"name": f"s{number}"})
    scene.supervisor.start_slots([THREE, FOUR], 5)
    await scene.supervisor.idle()
    assert set(scene.secrets._kept) == {"main-1-3", "main-1-4"}
    if how == "moves away":
        await scene.supervisor.stop_slots([THREE])
    else:
        scene.users.observe("DELETED", push_user(3))
        await scene.supervisor.idle()
    assert set(scene.secrets._kept) == {"main-1-4"}


async def test_whose_a_mail_is() -> None:
    scene = Scene()
    scene.there(3)
    scene.there(4, suspend=True)
    assert scene.mail(3) is TakeResult.NOT_MINE
    scene.supervisor.start_slots([THREE, FOUR, slot_of(1, 6)], 1)
    assert scene.mail(3) is TakeResult.NOT_MINE, "not decided yet"
    await scene.supervisor.idle()
    assert scene.mail(3) is TakeResult.TAKEN
    assert scene.mail(4) is TakeResult.DENIED
    assert scene.mail(6) is TakeResult.UNKNOWN
    assert [(mail.user_id, clients) for mail, clients in scene.dispatcher.dispatched] == [(3, (CLIENT,))]


async def test_a_mail_of_an_excluded_pods_user_waits_for_the_next_owner() -> None:
    """It was answered for as one of which nobody is to be notified, and dropped while its user moved."""
    scene = Scene()
    scene.supervisor.apply(replace(scene.fake.site(), pod="mail-push-main-1", pod_allowed=False))
    scene.there(3)
    scene.there(4, suspend=True)
    scene.supervisor.start_slots([THREE, FOUR], 1)
    await scene.supervisor.idle()
    assert scene.mail(3) is TakeResult.NOT_MINE
    assert scene.mail(4) is TakeResult.DENIED


async def test_what_a_mechanism_sees_is_kept_like_a_callbacks_mail_while_its_user_is_ours() -> None:
    scene = Scene()
    scene.there(3)
    scene.supervisor.start_slots([THREE], 1)
    await scene.supervisor.idle()
    listener = scene.fake.dovecot.running[0]
    assert listener.on_mail(NewMail(1, 3, "INBOX", 1, 1))
    scene.inbox.has_room = False
    assert not listener.on_mail(NewMail(1, 3, "INBOX", 2, 1)), "so that it is announced again"
    scene.inbox.has_room = True
    await scene.supervisor.stop_slots([THREE])
    assert not listener.on_mail(NewMail(1, 3, "INBOX", 3, 1))
    assert [mail.uid for mail in scene.inbox.offered] == [1]
    assert scene.dispatcher.dispatched == []


async def test_after_a_stop_nothing_of_the_slot_has_an_effect() -> None:
    scene = Scene()
    scene.there(3)
    scene.there(4)
    scene.supervisor.start_slots([THREE, FOUR], 1)
    await scene.supervisor.idle()
    mail = NewMail(1, 3, "INBOX", 1, 1)
    scene.dispatcher.open = [mail, NewMail(1, 4, "INBOX", 1, 1)]
    await scene.supervisor.stop_slots([THREE])
    assert [one.mailbox.user_id for one in scene.fake.dovecot.running] == [4]
    assert [one.unregistered for one in scene.fake.dovecot.listeners] == [0, 0]
    assert [rest.mail for rest in scene.inbox.given_back] == [mail]
    assert scene.mail(3) is TakeResult.NOT_MINE
    assert (1, 3) not in scene.statuses.last
    scene.there(3, login="changed")
    await scene.supervisor.idle()
    assert len(scene.fake.dovecot.running) == 1


async def test_a_move_costs_as_much_as_moves_and_a_count_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing who moves hashed each of 50,000 users: 65 ms of the loop for each slot."""
    scene = Scene()
    numbers = range(1, 301)
    for number in numbers:
        scene.there(number, suspend=number % 3 == 0)
    scene.supervisor.start_slots({slot_of(1, number) for number in numbers}, 1)
    await scene.supervisor.idle()
    hashed = 0

    def counted(context_id: int, user_id: int) -> int:
        nonlocal hashed
        hashed += 1
        return slot_of(context_id, user_id)

    for module in (supervisor_module, listeners_module):
        monkeypatch.setattr(module, "slot_of", counted)
    monkeypatch.setattr(UserListener, "listening", property(lambda _self: pytest.fail("each listener was asked")))
    before, denied = scene.supervisor.counts()
    assert (before["listening"], denied) == (200, {"Suspended": 100})
    await scene.supervisor.stop_slots([THREE, FOUR])
    assert hashed <= 4
    after, denied = scene.supervisor.counts()
    assert (after["listening"], denied) == (199, {"Suspended": 99})


async def test_while_a_slot_is_being_stopped_its_mails_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.there(3)
    scene.supervisor.start_slots([THREE], 1)
    await scene.supervisor.idle()
    held = asyncio.Event()
    monkeypatch.setattr(scene.fake.dovecot.running[0], "stop", held.wait)
    stopping = asyncio.create_task(scene.supervisor.stop_slots([THREE]))
    await asyncio.sleep(0)
    assert scene.mail(3) is TakeResult.NOT_MINE
    assert not stopping.done()
    held.set()
    await stopping


async def test_a_listener_that_hangs_does_not_keep_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_SECONDS", 0.01)
    scene = Scene()
    scene.there(3)
    scene.supervisor.start_slots([THREE], 1)
    await scene.supervisor.idle()
    hanging = scene.fake.dovecot.running[0]
    monkeypatch.setattr(hanging, "stop", asyncio.Event().wait)
    await scene.supervisor.stop_slots([THREE])
    hanging.on_mail(NewMail(1, 3, "INBOX", 1, 1))
    hanging.say(Health(State.FAILED, "ServerUnreachable", ""))
    assert scene.inbox.offered == []
    assert scene.statuses.last == {}


@pytest.mark.parametrize("change", ["DELETED", "ABSENT"])
async def test_a_user_who_is_gone_is_stopped_and_not_unregistered(change: Any) -> None:
    scene = Scene()
    scene.there(3)
    scene.supervisor.start_slots([THREE], 1)
    await scene.supervisor.idle()
    scene.users.observe(change, push_user(3))
    await scene.supervisor.idle()
    listener = scene.fake.dovecot.listeners[0]
    assert (listener.runs, listener.unregistered) == (False, 0)
    assert scene.mail(3) is TakeResult.UNKNOWN
    assert scene.supervisor.counts() == ({"assigned": 0, "listening": 0, "failed": 0}, {})


async def test_without_its_right_a_pod_begins_and_ends_nothing() -> None:
    scene = Scene()
    scene.there(3)
    scene.supervisor.start_slots([THREE], 1)
    await scene.supervisor.idle()
    scene.permission.may = False
    scene.there(3, metadata={"deletionTimestamp": "2026-11-24T00:00:00Z"})
    await scene.supervisor.idle()
    listener = scene.fake.dovecot.listeners[0]
    assert (listener.runs, listener.unregistered) == (True, 0)


async def test_new_settings_reach_everybody_and_counts_say_what_has_become_of_them() -> None:
    scene = Scene()
    for number in (3, 4):
        scene.there(number)
    scene.supervisor.start_slots([THREE, FOUR], 1)
    await scene.supervisor.idle()
    assert await scene.supervisor.servers() == {"default": ServerReport(2)}
    assert scene.supervisor.registered() == 2
    scene.fake.dovecot.running[0].say(Health(State.FAILED, "ServerUnreachable", "away", retry_at=0.0))
    assert scene.supervisor.counts() == ({"assigned": 2, "listening": 1, "failed": 1}, {})
    assert await scene.supervisor.servers() == {"default": ServerReport(2, 1, "ServerUnreachable", 1, "away")}
    scene.supervisor.apply(scene.fake.site(allow_permanent_push=False))
    await scene.supervisor.idle()
    assert scene.supervisor.counts() == (
        {"assigned": 2, "listening": 0, "failed": 0},
        {"PermanentPushDisabled": 2},
    )
    assert await scene.supervisor.servers() == {}


async def test_a_look_at_all_listeners_gives_others_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "AT_ONCE", 2)
    scene = Scene()
    numbers = range(3, 13)
    for number in numbers:
        scene.there(number)
    scene.supervisor.start_slots([slot_of(1, number) for number in numbers], 1)
    await scene.supervisor.idle()
    looking = asyncio.create_task(scene.supervisor.servers())
    turns = 0
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert looking.result() == {"default": ServerReport(10)}
    assert turns >= 5


async def test_a_mail_that_the_dispatcher_has_no_room_for_stays_with_whoever_offers_it() -> None:
    scene = Scene()
    scene.there(3)
    scene.supervisor.start_slots([slot_of(1, 3)], 7)
    await scene.supervisor.idle()
    assert scene.mail(3) is TakeResult.TAKEN
    scene.dispatcher.refuses = 1
    assert scene.mail(3) is TakeResult.BUSY


async def test_when_the_credential_storage_is_back_those_are_looked_at_who_wait_for_it() -> None:
    scene = Scene()
    for number in (3, 4):
        scene.there(number)
    scene.supervisor.start_slots([THREE, FOUR], 5)
    await scene.supervisor.idle()
    waiting = scene.supervisor._listeners[1, 3]
    waiting.outcome = UserOutcome("False", "CredentialStorageUnavailable", "down", None, 5)
    looked: list[UserKey] = []
    scene.supervisor._work._work = looked_at(looked)
    scene.supervisor.look_at_waiting()
    await scene.supervisor.idle()
    assert looked == [(1, 3)]
    scene.supervisor.look_at_all()
    await scene.supervisor.idle()
    assert sorted(looked) == [(1, 3), (1, 3), (1, 4)]


def looked_at(looked: list[UserKey]) -> Callable[[UserKey], Awaitable[None]]:
    async def work(key: UserKey) -> None:
        looked.append(key)

    return work


async def test_of_a_slot_that_comes_the_credentials_are_read_and_nothing_begins() -> None:
    scene = Scene()
    scene.there(3)
    scene.there(4)
    scene.supervisor.warm_slots(frozenset({THREE}))
    scene.supervisor.warm_slots(frozenset({THREE, FOUR}))
    await scene.supervisor.idle()
    assert scene.credentials.warmed == [(1, 3), (1, 4)]
    assert (scene.fake.dovecot.running, scene.statuses.last) == ([], {})


async def test_of_a_slot_that_does_not_come_after_all_the_credentials_are_forgotten() -> None:
    scene = Scene()
    scene.there(3)
    scene.there(4)
    scene.supervisor.warm_slots(frozenset({THREE, FOUR}))
    scene.supervisor.start_slots([FOUR], 1)
    scene.supervisor.warm_slots(frozenset())
    await scene.supervisor.idle()
    assert scene.credentials.forgotten == [(1, 3)]
    assert [one.mailbox.user_id for one in scene.fake.dovecot.running] == [4]

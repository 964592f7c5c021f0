"""Both mechanisms, the callback endpoint and the hand-over, with a real Dovecot that really delivers."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from dev.processes.group import free_port
from dev.services import Dovecot, WebhookReceiver
from dev.services.releases import Version
from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.imap.server import Security
from mailpush.listener.mails import callback
from mailpush.listener.mails.callback import Ingress
from mailpush.listener.mails.inbox import Inbox
from mailpush.listener.mails.internal import InternalServer
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mails.open_entries import OpenEntries
from mailpush.listener.mails.peers import Peers
from mailpush.listener.mails.router import Router
from mailpush.listener.mails.signing import HandoverKeys
from mailpush.listener.mechanisms.base import Health, Listener, Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.dovecot import DovecotMechanism
from mailpush.listener.mechanisms.imapidle import ImapIdleMechanism
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.names import CALLBACK_PATH
from mailpush.notifications.claims.store import MemoryClaims
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.notification import NewMail, notification_id
from mailpush.notifications.transports.webhook import WebhookTarget
from mailpush.properties.settings import CallbackSettings
from tests.sites.forward import Forward
from tests.sites.seen import SeenMails

# An address of our own: the port that Dovecot calls is listened on in some tests only, and nobody takes it meanwhile.
HOST = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.1"
CALLBACK = CallbackSettings("ntf", "ntfpw")
LOGINS = pytest.mark.parametrize("master", [False, True], ids=["as the user", "as the master user"])

# A waiting endpoint would hold a delivery until the test's own 30 s are over: Dovecot's 2 s would hide it. A second try
# is for the connection that Dovecot has kept from an earlier test, and that may end just when it is used.
PATIENT = 120.0


@dataclass(frozen=True)
class Mail:
    """A real Dovecot that calls `port`, and one mailbox that nobody has used before."""

    dovecot: Dovecot
    port: int
    user: str = field(default_factory=lambda: f"u{uuid.uuid4().hex[:12]}")

    def server(self, security: Security = "tls", *, trusted: bool = True, name: str | None = None) -> ImapServer:
        port = self.dovecot.imaps_port if security == "tls" else self.dovecot.imap_port
        ca = self.dovecot.ca_file.read_text() if trusted else None
        return ImapServer(self.dovecot.host, port, security, ca_pem=ca, server_name=name)

    def mailbox(self, security: Security = "tls", *, master: bool = False, password: str | None = None) -> Mailbox:
        login = ImapLogin(self.user, password or self.dovecot.password)
        if master:
            login = ImapLogin(self.dovecot.master_user, self.dovecot.master_password, authzid=self.user)
        return Mailbox(1, 3, self.server(security), login)

    async def deliver(self, subject: str = "hello") -> None:
        await asyncio.to_thread(self.dovecot.deliver, self.user, subject=subject, timeout=30)

    async def registered(self) -> str | None:
        return await asyncio.to_thread(self.dovecot.metadata, self.user)

    async def stop(self) -> None:
        await asyncio.to_thread(self.dovecot.stop)

    async def start(self) -> None:
        await asyncio.to_thread(self.dovecot.start)


@pytest.fixture(scope="module")
def running(version: Version) -> Iterator[tuple[Dovecot, int]]:
    port = free_port(HOST)
    url = f"http://{CALLBACK.login}:{CALLBACK.password}@{HOST}:{port}{CALLBACK_PATH}"
    with Dovecot.launch([url], version=version, patience=PATIENT) as dovecot:
        yield dovecot, port


@pytest.fixture
def mail(running: tuple[Dovecot, int]) -> Mail:
    return Mail(*running)


async def short_sleep(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.05))


def surroundings() -> Surroundings:
    return Surroundings(ConnectBudget(), timeout=30, sleep=short_sleep)


@asynccontextmanager
async def listening(listener: Listener, state: State = State.LISTENING) -> AsyncIterator[Listener]:
    """The listener, once it has reached `state`."""
    await listener.start()
    try:
        await until(lambda: listener.health.state is state)
        yield listener
    finally:
        await listener.stop()


def dovecot_listener(mailbox: Mailbox, around: Surroundings | None = None) -> Listener:
    return DovecotMechanism(around or surroundings()).listener(mailbox, ignore_health, lambda _: False)


def ignore_health(_user: tuple[int, int], _health: Health) -> None: ...


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - whatever it asks has no event to wait for
            await asyncio.sleep(0.01)


# -- the mechanism dovecot


@LOGINS
@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_user_is_registered_and_unregistered(mail: Mail, security: Security, master: bool) -> None:
    async with listening(dovecot_listener(mail.mailbox(security, master=master))) as listener:
        assert listener.health.reason == "Registered"
        assert await mail.registered() == "user=3@1"
    assert await mail.registered() == "user=3@1", "stopped is not unregistered"
    await listener.unregister()
    assert await mail.registered() is None


async def test_a_wrong_password_is_named_and_tried_again_much_later(mail: Mail) -> None:
    mailbox = mail.mailbox(password="wr0ng")
    slow = Surroundings(ConnectBudget(), timeout=30)
    before = slow.clock()
    async with listening(dovecot_listener(mailbox, slow), State.FAILED) as listener:
        health = listener.health
        assert health.reason == "AuthenticationFailed"
        assert health.retry_at is not None
        assert health.retry_at - before > 20
        assert "wr0ng" not in health.message


@pytest.mark.parametrize("change", [{"trusted": False}, {"name": "mail.example.org"}], ids=["authority", "name"])
@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_certificate_that_is_not_trusted_is_named(
    mail: Mail, security: Security, change: dict[str, bool | str]
) -> None:
    server = mail.server(security, trusted=bool(change.get("trusted", True)), name=change.get("name"))  # type: ignore[arg-type]
    mailbox = Mailbox(1, 3, server, mail.mailbox().login)
    async with listening(dovecot_listener(mailbox), State.FAILED) as listener:
        assert listener.health.reason == "CertificateInvalid"
    assert await mail.registered() is None


async def test_a_server_that_is_down_is_tried_until_it_is_up(mail: Mail) -> None:
    await mail.stop()
    try:
        async with listening(dovecot_listener(mail.mailbox()), State.FAILED) as listener:
            assert listener.health.reason == "ServerUnreachable"
            await mail.start()
            await until(lambda: listener.health.state is State.LISTENING)
            assert await mail.registered() == "user=3@1"
    finally:
        await mail.stop()
        await mail.start()


# -- from Dovecot's callback to the owner


@dataclass
class OwnUsers:
    """Those of one pod; all others are another pod's."""

    dispatcher: Dispatcher | None
    result: TakeResult = TakeResult.TAKEN
    taken: list[NewMail] = field(default_factory=list)
    login: CallbackSettings = CALLBACK

    def take(self, mail: NewMail) -> TakeResult:
        if self.result is TakeResult.TAKEN:
            self.taken.append(mail)
            if self.dispatcher is not None:
                self.dispatcher.dispatch(mail, ["open-xchange-mailapp"])
        return self.result

    def owner_of(self, slot: int) -> str | None:
        return "pod-1"

    def stands(self, pod: str) -> bool:
        return pod in {"pod-0", "pod-1"}

    def signs(self, pod: str) -> bool:
        return True

    def open_users(self) -> Set[tuple[int, int]]:
        return frozenset() if self.dispatcher is None else self.dispatcher.open_users()

    def is_open(self, mail: NewMail) -> bool:
        return self.dispatcher is not None and self.dispatcher.is_open(mail)

    def callback_login(self) -> CallbackSettings:
        return self.login


@dataclass
class Logins:
    """What a site knows of logins; without any of them they do not count."""

    users: dict[str, tuple[int, int]]
    knows_users: bool = True

    @property
    def named_by_login(self) -> bool:
        return bool(self.users)

    def user_by_login(self, login: str) -> tuple[int, int] | None:
        return self.users.get(login)


@dataclass
class Pod:
    """The parts of a listener pod that a callback goes through."""

    inbox: Inbox
    ingress: Ingress
    internal: InternalServer
    users: OwnUsers

    @property
    def taken(self) -> list[NewMail]:
        return self.users.taken


@asynccontextmanager
async def pod(
    folder: Path,
    port: int = 0,
    *,
    name: str = "pod-0",
    peer_url: str = "http://127.0.0.1:1",
    dispatcher: Dispatcher | None = None,
    logins: dict[str, tuple[int, int]] | None = None,
) -> AsyncIterator[Pod]:
    users = OwnUsers(dispatcher)
    key = HandoverKeys(lambda: (b"k" * 32,))
    peers = Peers(lambda _pod: peer_url, key, users)
    folder.mkdir()  # noqa: ASYNC240 - nobody else is waiting
    journal = Journal(folder)
    open_entries = OpenEntries(journal, users)
    inbox = Inbox(journal, open_entries)
    router = Router(me=name, inbox=inbox, open_entries=open_entries, own_users=users, owners=users, peers=peers)
    ingress = Ingress(users, inbox, logins=Logins(logins or {}))
    internal = InternalServer(router, users, key)
    await ingress.start(HOST, port)
    await internal.start(HOST, 0)
    routing = asyncio.create_task(router.run())
    try:
        yield Pod(inbox, ingress, internal, users)
    finally:
        await ingress.close()
        await internal.close()
        routing.cancel()
        await asyncio.wait([routing])
        await peers.close()


async def test_a_delivered_mail_reaches_the_listener_of_its_user(mail: Mail, tmp_path: Path) -> None:
    async with pod(tmp_path / "0", mail.port) as here, listening(dovecot_listener(mail.mailbox())):
        await mail.deliver("=?utf-8?Q?gr=C3=BC=C3=9Fe?=")
        await until(lambda: here.taken)
        (told,) = here.taken
        assert (told.context_id, told.user_id, told.folder, told.uid) == (1, 3, "INBOX", 1)
        assert (told.email, told.displayname, told.subject) == ("alice@example.org", "Alice", "grüße")
        assert (told.unread, told.teaser) == (1, "Body line one.")
    assert Journal(tmp_path / "0").replay() == []


async def test_a_mail_whose_entry_names_a_login_reaches_its_user_where_logins_count(mail: Mail, tmp_path: Path) -> None:
    """As public scripts write it."""
    await asyncio.to_thread(mail.dovecot.set_metadata, mail.user, f"user={mail.user}@example.org")
    async with pod(tmp_path / "0", mail.port, logins={f"{mail.user}@example.org": (1, 7)}) as here:
        await mail.deliver()
        await until(lambda: here.taken)
        assert [(told.context_id, told.user_id) for told in here.taken] == [(1, 7)]


async def test_mails_that_are_delivered_to_one_mailbox_at_the_same_moment_are_all_taken(
    mail: Mail, tmp_path: Path
) -> None:
    """Dovecot reports a UID of 0 for some: of 40 mails, four at a time, some twenty."""
    subjects = [f"mail {number}" for number in range(40)]

    async def deliver(own: list[str]) -> None:
        for subject in own:
            await mail.deliver(subject)

    async with pod(tmp_path / "0", mail.port) as here, listening(dovecot_listener(mail.mailbox())):
        await asyncio.gather(*(deliver(subjects[first::4]) for first in range(4)))
        await until(lambda: len(here.taken) >= len(subjects))
        assert sorted(told.subject or "" for told in here.taken) == sorted(subjects)
        assert len({notification_id("uid", told, "devices") for told in here.taken}) == len(subjects)


async def test_dovecot_keeps_no_connection_that_rests_to_a_pod_that_is_cut_off_later(
    mail: Mail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address leads to another pod by then; a kept connection would still lead to the one that is gone."""
    monkeypatch.setattr(callback, "IDLE_SECONDS", 0.2)
    async with (
        pod(tmp_path / "0") as gone,
        pod(tmp_path / "1", name="pod-1") as other,
        listening(dovecot_listener(mail.mailbox())),
    ):
        service = Forward(HOST, mail.port, (HOST, gone.ingress.port))
        try:
            await mail.deliver("first")
            await until(lambda: gone.taken and not gone.ingress.connections)
            service.target = (HOST, other.ingress.port)
            await mail.deliver("second")
            await until(lambda: other.taken)
        finally:
            service.close()
        assert [told.subject for told in gone.taken] == ["first"]
        assert [told.subject for told in other.taken] == ["second"]


async def test_a_callback_at_another_pod_is_handed_to_the_owner(mail: Mail, tmp_path: Path) -> None:
    async with pod(tmp_path / "1", name="pod-1") as owner:
        url = f"http://{HOST}:{owner.internal.port}"
        async with pod(tmp_path / "0", mail.port, peer_url=url) as here, listening(dovecot_listener(mail.mailbox())):
            here.users.result = TakeResult.NOT_MINE
            await mail.deliver()
            await until(lambda: owner.taken)
            assert await here.inbox.flush(30) == 0
            assert here.taken == []
            assert {mail.uid for mail in owner.taken} == {1}, "a hand-over that is answered late is made again"


def refused_callbacks() -> float:
    """In this process so far."""
    return REGISTRY.get_sample_value("mailpush_callbacks_total", {"outcome": "unauthorized"}) or 0.0


async def test_a_wrong_callback_password_tells_nothing_and_hinders_no_mail(mail: Mail, tmp_path: Path) -> None:
    async with pod(tmp_path / "0", mail.port) as here, listening(dovecot_listener(mail.mailbox())):
        here.users.login = CallbackSettings("ntf", "other")
        before = refused_callbacks()
        await mail.deliver()
        await until(lambda: refused_callbacks() > before)
        here.users.login = CALLBACK
        await mail.deliver()
        await until(lambda: here.taken)
        assert [mail.uid for mail in here.taken] == [2]


async def test_a_webhook_that_hangs_does_not_delay_a_delivery(
    mail: Mail, tmp_path: Path, webhook: WebhookReceiver
) -> None:
    """Dovecot would wait for two minutes, and the delivery is given up after 30 s."""
    webhook.behave(hang=True)
    target = WebhookTarget(
        name="hook", url=webhook.url, secret=b"s" * 32, matches=lambda _: True, timeout=60, content="headers"
    )
    metrics = NotificationMetrics(CollectorRegistry())
    dispatcher = Dispatcher("uid", MemoryClaims(), [target], lambda: True, metrics)
    async with (
        pod(tmp_path / "0", mail.port, dispatcher=dispatcher) as here,
        listening(dovecot_listener(mail.mailbox())),
    ):
        await mail.deliver("first")
        await asyncio.to_thread(webhook.wait_for, 1)
        assert dispatcher.pending() == 1, "still without an answer"
        await mail.deliver("second")
        await until(lambda: len(here.taken) == 2)
        assert len(Journal(tmp_path / "0").replay()) == 2, "kept until they have been told"
        await asyncio.to_thread(webhook.close)  # the dispatcher's end waits for requests on their way
        await dispatcher.close()


async def test_an_owner_that_hangs_does_not_delay_a_delivery(mail: Mail, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, HOST, 0)
    url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    async with pod(tmp_path / "0", mail.port, peer_url=url) as here, listening(dovecot_listener(mail.mailbox())):
        here.users.result = TakeResult.NOT_MINE
        await mail.deliver()
        await until(asked.is_set)
        await mail.deliver()
        assert here.inbox.pending == 2
        here.users.result = TakeResult.TAKEN
        await until(lambda: len(here.taken) == 2)
    server.close()


async def test_a_pod_that_is_gone_costs_the_push_and_not_the_mail(mail: Mail) -> None:
    async with listening(dovecot_listener(mail.mailbox())):
        await mail.deliver()


# -- the mechanism imapidle

IDLE = ImapIdleSettings(enabled=True, supports_permanent_listeners=True, delay=0)


@LOGINS
@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_imapidle_sees_a_delivery(mail: Mail, security: Security, master: bool) -> None:
    told = SeenMails()
    await mail.deliver("old")
    mechanism = ImapIdleMechanism(surroundings(), IDLE)
    mailbox = mail.mailbox(security, master=master)
    async with listening(mechanism.listener(mailbox, ignore_health, told.keep)) as listener:
        assert listener.health.reason == "Idling"
        await mail.deliver("=?utf-8?Q?gr=C3=BC=C3=9Fe?=")
        await until(lambda: told)
        await mail.deliver("third")
        await until(lambda: len(told) == 2)
    assert [(mail.uid, mail.subject) for mail in told] == [(2, "grüße"), (3, "third")]
    assert told[0].email == "alice@example.org"
    with mail.dovecot.imap(mail.user) as session:
        session.select("INBOX")
        assert session.search(None, "UNSEEN")[1] == [b"1 2 3"], "looking changes no flag"


async def test_imapidle_tells_after_a_restart_of_dovecot_what_came_meanwhile(mail: Mail) -> None:
    told = SeenMails()
    may_try = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds > 0:
            await may_try.wait()
            await asyncio.sleep(min(seconds, 0.05))

    mechanism = ImapIdleMechanism(Surroundings(ConnectBudget(), timeout=30, sleep=sleep), IDLE)
    async with listening(mechanism.listener(mail.mailbox(), ignore_health, told.keep)):
        await mail.stop()
        await mail.start()
        await mail.deliver("meanwhile")
        may_try.set()
        await until(lambda: told)
        await mail.deliver("after")
        await until(lambda: len(told) == 2)
    assert [mail.subject for mail in told] == ["meanwhile", "after"]


async def test_imapidle_tells_of_a_mail_with_a_keyword_that_has_a_bracket_and_of_those_after_it(mail: Mail) -> None:
    told = SeenMails()
    async with listening(ImapIdleMechanism(surroundings(), IDLE).listener(mail.mailbox(), ignore_health, told.keep)):
        await asyncio.to_thread(append, mail, "([todo a[b)")
        await until(lambda: told)
        await mail.deliver("after")
        await until(lambda: len(told) == 2)
    assert [mail.subject for mail in told] == ["with a keyword", "after"]


def append(mail: Mail, flags: str) -> None:
    """Puts a mail into the mailbox by IMAP."""
    with mail.dovecot.imap(mail.user) as session:
        answer, _ = session.append("INBOX", flags, "", b"From: a@example.org\r\nSubject: with a keyword\r\n\r\n")
        assert answer == "OK"


async def test_imapidle_tells_after_a_change_of_its_settings_what_came_meanwhile_once(mail: Mail) -> None:
    told = SeenMails()
    around = surroundings()
    first = ImapIdleMechanism(around, IDLE).listener(mail.mailbox(), ignore_health, told.keep)
    async with listening(first):
        await mail.deliver("before")
        await until(lambda: told)
    await mail.deliver("meanwhile")
    changed = ImapIdleMechanism(around, IDLE.model_copy(update={"delay": 1}))
    async with listening(changed.listener(mail.mailbox(), ignore_health, told.keep, first)):
        await until(lambda: len(told) == 2)
        await mail.deliver("after")
        await until(lambda: len(told) == 3)
    assert [mail.subject for mail in told] == ["before", "meanwhile", "after"]

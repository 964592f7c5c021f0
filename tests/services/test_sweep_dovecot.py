"""Mails whose callbacks were lost are found in the mailbox and told once, with real Dovecots, a real Redis and mail."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis as Client

from dev.processes.group import free_port
from dev.services import Dovecot, Redis, WebhookReceiver
from dev.services.releases import Version
from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.store import RedisCheckpoints
from mailpush.listener.mails.callback import Ingress
from mailpush.listener.mails.inbox import Inbox
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mails.open_entries import OpenEntries
from mailpush.listener.mails.peers import Peers
from mailpush.listener.mails.router import Router
from mailpush.listener.mails.signing import HandoverKeys
from mailpush.listener.mechanisms.base import Mailbox
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.dovecot import DovecotListener, DovecotMechanism
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.names import CALLBACK_PATH
from mailpush.notifications.claims.redis import RedisClaims
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.notification import NewMail
from mailpush.notifications.transports.webhook import WebhookTarget
from mailpush.properties.settings import CallbackSettings
from mailpush.sharding.slots import slot_of

HOST = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.1"
CALLBACK = CallbackSettings("ntf", "ntfpw")
SLOT = slot_of(1, 3)
OLD = '"26-Nov-2020 17:30:00 +0000"'


@dataclass
class Owner:
    """The pod as the router sees it: it has the user."""

    dispatcher: Dispatcher
    checkpoints: Checkpoints

    def take(self, mail: NewMail) -> TakeResult:
        self.dispatcher.dispatch(mail, ["open-xchange-mailapp"])
        self.checkpoints.came(mail)
        return TakeResult.TAKEN

    def owner_of(self, slot: int) -> str | None:
        return "pod-0"

    def stands(self, pod: str) -> bool:
        return True

    def signs(self, pod: str) -> bool:
        return True

    def open_users(self) -> Set[tuple[int, int]]:
        return self.dispatcher.open_users()

    def is_open(self, mail: NewMail) -> bool:
        return self.dispatcher.is_open(mail)

    def callback_login(self) -> CallbackSettings:
        return CALLBACK


@dataclass
class Pod:
    listener: DovecotListener
    ingress: Ingress
    metrics: CollectorRegistry

    @property
    def missed(self) -> float:
        """Notifications of mails that only a look has found."""
        labels = {"target": "devices", "server": "mail"}
        return self.metrics.get_sample_value("mailpush_mails_missed_total", labels) or 0.0

    async def look(self) -> None:
        before = self.listener.looked_at
        await until(self.listener.hurry)
        await until(lambda: self.listener.looked_at > before)


@dataclass
class Site:
    """A Dovecot that calls `port`, one mailbox, a Redis and a receiver of notifications, and the pods' lives."""

    dovecot: Dovecot
    port: int
    redis: Redis
    webhook: WebhookReceiver
    folder: Path
    config_uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    user: str = field(default_factory=lambda: f"u{uuid.uuid4().hex[:12]}")
    lives: int = 0

    @asynccontextmanager
    async def pod(self) -> AsyncIterator[Pod]:
        """One that owns the user under the next epoch, and that is lost with its journal in the end."""
        self.lives += 1
        folder, metrics = self.folder / str(self.lives), CollectorRegistry()
        folder.mkdir()
        claims = RedisClaims.from_url(self.redis.url, self.config_uid)
        target = WebhookTarget("devices", self.webhook.url, None, lambda _client: True)
        dispatcher = Dispatcher(
            self.config_uid, claims, [target], lambda: True, NotificationMetrics(metrics), holder=str(self.lives)
        )
        client = Client.from_url(self.redis.url)
        checkpoints = Checkpoints(RedisCheckpoints(client, self.config_uid))
        checkpoints.own([SLOT], self.lives)
        owner = Owner(dispatcher, checkpoints)
        journal = Journal(folder)
        entries = OpenEntries(journal, owner, checkpoints.over)
        inbox = Inbox(journal, entries)
        peers = Peers(lambda _pod: "http://127.0.0.1:1", HandoverKeys(lambda: (b"k" * 32,)), owner)
        router = Router(me="pod-0", inbox=inbox, open_entries=entries, own_users=owner, owners=owner, peers=peers)
        ingress = Ingress(owner, inbox)
        await ingress.start(HOST, self.port)
        around = Surroundings(ConnectBudget(), progress=checkpoints, timeout=30)
        server = ImapServer(self.dovecot.host, self.dovecot.imaps_port, "tls", ca_pem=self.dovecot.ca_file.read_text())
        mailbox = Mailbox(1, 3, server, ImapLogin(self.user, self.dovecot.password), server_name="mail")
        listener = DovecotMechanism(around).listener(mailbox, lambda _user, _health: None, inbox.offer)
        assert isinstance(listener, DovecotListener)
        runs = [asyncio.create_task(router.run()), asyncio.create_task(checkpoints.run())]
        await listener.start()
        try:
            await until(lambda: listener.looked_at)
            yield Pod(listener, ingress, metrics)
            await until(lambda: not dispatcher.pending())
            await asyncio.sleep(0)
            entries.sweep()
            await checkpoints._write(list(checkpoints._changed))
        finally:
            await ingress.close()
            for run in runs:
                run.cancel()
            await asyncio.wait(runs)
            await listener.stop()
            await dispatcher.close()
            for one in (claims, peers, checkpoints):
                await one.close()

    async def deliver(self, subject: str) -> None:
        await asyncio.to_thread(self.dovecot.deliver, self.user, subject=subject, timeout=60)

    def told(self) -> list[str]:
        return [json.loads(one.body)["data"].get("subject", "") for one in self.webhook.received]

    def ids(self) -> Counter[str]:
        return Counter(one.headers["webhook-id"] for one in self.webhook.received)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - whatever it asks has no event to wait for
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def running(version: Version) -> Iterator[tuple[Dovecot, int]]:
    port = free_port(HOST)
    url = f"http://{CALLBACK.login}:{CALLBACK.password}@{HOST}:{port}{CALLBACK_PATH}"
    with Dovecot.launch([url], version=version) as dovecot:
        yield dovecot, port


@pytest.fixture
def site(running: tuple[Dovecot, int], redis: Redis, webhook: WebhookReceiver, tmp_path: Path) -> Site:
    return Site(*running, redis, webhook, tmp_path)


async def test_mails_that_came_while_nobody_took_callbacks_are_told_once(site: Site) -> None:
    async with site.pod():
        await site.deliver("before")
        await until(lambda: "before" in site.told())
    await site.deliver("missed one")
    await site.deliver("missed two")
    async with site.pod() as owner:
        await until(lambda: len(site.told()) >= 3)
        await site.deliver("after")
        await until(lambda: "after" in site.told())
        assert owner.missed == 2
        await owner.look()
    assert sorted(site.told()) == ["after", "before", "missed one", "missed two"]
    assert set(site.ids().values()) == {1}


async def test_a_gap_in_the_callbacks_of_a_running_pod_is_filled_by_a_look(site: Site) -> None:
    async with site.pod() as pod:
        await pod.ingress.close()
        await site.deliver("missed")
        assert site.told() == []
        await pod.look()
        await until(lambda: site.told() == ["missed"])


async def test_mails_that_dovecot_reports_without_a_uid_are_not_told_again_by_a_look(site: Site) -> None:
    """Of 40 mails that are delivered four at a time some twenty are reported so."""
    subjects = [f"mail {number}" for number in range(40)]

    async def deliver(own: list[str]) -> None:
        for subject in own:
            await site.deliver(subject)

    async with site.pod() as pod:
        await asyncio.gather(*(deliver(subjects[first::4]) for first in range(4)))
        await until(lambda: len(site.told()) >= len(subjects))
        await pod.look()
    async with site.pod() as pod:
        await pod.look()
    assert sorted(site.told()) == sorted(subjects)


def append(site: Site, count: int, date: str) -> None:
    session = site.dovecot.imap(site.user)
    for number in range(count):
        text = f"From: bob@example.org\r\nSubject: copied {number}\r\n\r\nhello\r\n".encode()
        assert session.append("INBOX", "", date, text)[0] == "OK"
    session.logout()


async def test_a_migration_of_a_thousand_old_mails_announces_none(site: Site) -> None:
    async with site.pod():
        pass
    await asyncio.to_thread(append, site, 1000, OLD)
    async with site.pod() as owner:
        await site.deliver("new")
        await until(site.told)
        await owner.look()
    assert site.told() == ["new"]


async def test_a_restored_mailbox_announces_nothing(site: Site) -> None:
    async with site.pod():
        await site.deliver("one")
        await until(site.told)
    await site.deliver("came with the restore")
    await asyncio.to_thread(
        site.dovecot.doveadm, "mailbox", "update", "-u", site.user, "--uid-validity", "4000000001", "INBOX"
    )
    async with site.pod() as owner:
        await site.deliver("new")
        await until(lambda: "new" in site.told())
        await owner.look()
    assert site.told() == ["one", "new"]


async def test_a_lost_store_of_claims_and_checkpoints_announces_nothing_old(site: Site) -> None:
    async with site.pod():
        for number in range(3):
            await site.deliver(f"mail {number}")
        await until(lambda: len(site.told()) == 3)
    client = Client.from_url(site.redis.url)
    await client.flushall()
    await client.aclose()
    async with site.pod() as owner:
        await site.deliver("new")
        await until(lambda: "new" in site.told())
        await owner.look()
    assert sorted(site.told()) == ["mail 0", "mail 1", "mail 2", "new"]


async def test_mails_of_other_folders_are_found_where_a_callback_has_named_the_folder(site: Site) -> None:
    session = await asyncio.to_thread(site.dovecot.imap, site.user)
    await asyncio.to_thread(session.create, "Work")
    await asyncio.to_thread(session.logout)
    redis = Client.from_url(site.redis.url)
    await redis.hset(f"{site.config_uid}:checkpoint:1:3", "Work", "0000000000000000000 1 1")
    await redis.aclose()
    async with site.pod() as pod:
        await pod.look()
    redis = Client.from_url(site.redis.url)
    found = await RedisCheckpoints(redis, site.config_uid).of_user(1, 3)
    await redis.aclose()
    assert set(found) == {"INBOX", "Work"}
    assert found["Work"].uidvalidity > 1, "it is another folder than the one of the checkpoint"

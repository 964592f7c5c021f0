"""A name server that does not answer for one name of a mail server, or of a target, holds up no hand-over."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from mailpush.http.server import WebServer
from mailpush.imap.client import connect
from mailpush.imap.errors import ImapConnectionError
from mailpush.imap.server import ImapServer
from mailpush.listener.mails.internal import InternalServer
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mails.peers import Peers, PeerVerdict
from mailpush.listener.mails.signing import HandoverKeys
from mailpush.notifications.notification import NewMail
from mailpush.notifications.transports.base import Accepted, TryLater
from mailpush.notifications.transports.webhook import WebhookTarget, WebhookTransport
from tests.sites.waiting import until

USERS = 20


@dataclass
class Site:
    """A healthy pod and a healthy target, and a name server that answers for them only."""

    taken: list[NewMail] = field(default_factory=list)
    hanging: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        key = HandoverKeys(lambda: (b"k" * 32,))
        self.pod = InternalServer(self, self, key)
        self.peers = Peers(lambda _: f"http://pod.example:{self.pod.port}", key, self)
        app = web.Application()
        app.router.add_post("/", self._notified)
        self.target = WebServer(app)

    async def _notified(self, _: web.Request) -> web.Response:
        return web.Response(status=204)

    async def take_over(self, mail: NewMail) -> TakeResult:
        self.taken.append(mail)
        return TakeResult.TAKEN

    def owner_of(self, slot: int) -> str | None:
        return None

    def stands(self, pod: str) -> bool:
        return True

    def signs(self, pod: str) -> bool:
        return True

    def getaddrinfo(self, host: str, port: Any, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        if str(host).startswith("hang"):
            self.hanging.append(host)
            self.release.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port or 0)))]


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    # As many threads as libuv has for the lookups of a whole process.
    shared = ThreadPoolExecutor(4)
    asyncio.get_running_loop().set_default_executor(shared)
    site = Site()
    await site.pod.start("127.0.0.1", 0)
    await site.target.start("127.0.0.1", 0)
    monkeypatch.setattr(socket, "getaddrinfo", site.getaddrinfo)
    yield site
    site.release.set()
    await site.peers.close()
    await site.pod.close()
    await site.target.close()


async def all_go_through(site: Site) -> None:
    for uid in range(1, USERS + 1):
        answer = await site.peers.post("pod-1", NewMail(1, 3, "INBOX", uid=uid, uidvalidity=7))
        assert answer.verdict is PeerVerdict.TAKEN
    assert len(site.taken) == USERS


async def test_users_of_a_mail_server_whose_name_hangs_hold_up_no_hand_over_and_no_notification(site: Site) -> None:
    async def user() -> None:
        with pytest.raises(ImapConnectionError):
            async with connect(ImapServer("hang.example.org", security="none"), timeout=60):
                pass

    users = [asyncio.create_task(user()) for _ in range(USERS)]
    await until(lambda: site.hanging)
    await all_go_through(site)
    webhook = WebhookTransport(WebhookTarget("devices", f"http://target.example:{site.target.port}/", None, bool))
    assert await webhook.send("id", b"{}") == Accepted()
    await webhook.close()
    assert site.hanging == ["hang.example.org"], "one lookup, however many users"
    site.release.set()
    await asyncio.gather(*users)


async def test_a_target_whose_name_hangs_holds_up_no_hand_over(site: Site) -> None:
    webhook = WebhookTransport(WebhookTarget("devices", "http://hang.example.com/", None, bool, timeout=60))
    tries = [asyncio.create_task(webhook.send(f"id-{number}", b"{}")) for number in range(8)]
    await until(lambda: site.hanging)
    await all_go_through(site)
    site.release.set()
    assert await asyncio.gather(*tries) == [TryLater("dns")] * 8
    await webhook.close()
    assert site.hanging == ["hang.example.com"]

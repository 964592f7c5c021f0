"""What stands at a pod's address may be anybody: no answer but the pod's own ends a mail or sends it elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailpush.http.server import WebServer
from mailpush.listener.mails.peers import Peers, PeerVerdict
from mailpush.listener.mails.signing import ANSWER_HEADER, NONCE_HEADER, SIGNATURE_HEADER, Asked, HandoverKeys
from mailpush.names import INTERNAL_EVENTS_PATH
from mailpush.notifications.notification import NewMail

KEY = b"k" * 32
MAIL = NewMail(1, 3, "INBOX", uid=9, uidvalidity=7)
STAYS = {PeerVerdict.UNREACHABLE, PeerVerdict.REFUSED}
OWN = [202, 404, 409, 503]


@dataclass
class Site:
    """Something at the address of pod-1. `answer` makes its bytes from the request."""

    answer: Callable[[web.Request], Awaitable[web.Response]]
    signing: bool = True
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        app = web.Application()
        app.router.add_post(INTERNAL_EVENTS_PATH, self._answer)
        self.server = WebServer(app)
        self.peers = Peers(self._url, HandoverKeys(lambda: (KEY,)), self, answer_seconds=10, connect_seconds=10)

    async def _answer(self, request: web.Request) -> web.Response:
        await request.read()
        return await self.answer(request)

    def _url(self, pod: str) -> str:
        self.asked.append(pod)
        return f"http://127.0.0.1:{self.server.port}"

    def stands(self, pod: str) -> bool:
        return pod in {"pod-1", "pod-2"}

    def signs(self, pod: str) -> bool:
        return self.signing

    async def close(self) -> None:
        await self.peers.close()
        await self.server.close()


def says(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, headers=headers)


def asked(request: web.Request, key: bytes = KEY) -> Asked:
    return Asked(key, request.headers[SIGNATURE_HEADER], request.headers[NONCE_HEADER])


def signed(request: web.Request, status: int, body: bytes = b"", key: bytes = KEY) -> web.Response:
    return says(status, body, {ANSWER_HEADER: asked(request, key).sign(status, body) or ""})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async def nothing(_: web.Request) -> web.Response:
        return says(500)

    site = Site(nothing)
    await site.server.start("127.0.0.1", 0)
    yield site
    await site.close()


HEADERS = st.sampled_from(["", "v1=", "v1=" + "0" * 64, "v1=é", "v2=" + "0" * 64])
OWNERS = st.sampled_from(["pod-2", "pod-1", "evil.example.org/", "x@evil:80/#", "../..", ""]) | st.text(max_size=20)
BODIES = st.binary(max_size=64) | OWNERS.map(lambda owner: json.dumps({"outcome": "not_mine", "owner": owner}).encode())


def test_no_answer_of_a_stranger_ends_a_mail_or_leads_elsewhere() -> None:
    with asyncio.Runner() as runner:
        now = [says(500)]

        async def stranger(_: web.Request) -> web.Response:
            return now[0]

        site = runner.run(begun(stranger))

        @given(st.sampled_from(OWN) | st.integers(200, 599), BODIES, HEADERS)
        def check(status: int, body: bytes, header: str) -> None:
            now[0] = says(status, body, {ANSWER_HEADER: header})
            assert runner.run(site.peers.post("pod-1", MAIL)).verdict in STAYS

        check()
        assert set(site.asked) == {"pod-1"}
        runner.run(site.close())


async def begun(answer: Callable[[web.Request], Awaitable[web.Response]]) -> Site:
    site = Site(answer)
    await site.server.start("127.0.0.1", 0)
    return site


@given(st.binary(max_size=300))
def test_nor_do_bytes_that_are_no_http(data: bytes) -> None:
    async def check() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(65536)
            writer.write(b"HTTP/1.1 " + data)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        site = Site(lambda _: asyncio.sleep(0, says(500)))
        peers = Peers(lambda _: f"http://127.0.0.1:{port}", HandoverKeys(lambda: (KEY,)), site)
        assert (await peers.post("pod-1", MAIL)).verdict in STAYS
        await peers.close()
        await site.close()
        server.close()

    asyncio.run(check())


@given(OWNERS)
def test_and_an_owner_that_the_map_does_not_name_is_none(owner: str) -> None:
    async def check() -> None:
        async def answer(request: web.Request) -> web.Response:
            return signed(request, 409, json.dumps({"owner": owner}).encode())

        site = await begun(answer)
        found = await site.peers.post("pod-1", MAIL)
        assert found.verdict is PeerVerdict.NOT_MINE
        assert found.owner == (owner if owner in {"pod-1", "pod-2"} else None)
        await site.close()

    asyncio.run(check())


@pytest.mark.parametrize("status", [202, 404, 409])
async def test_an_answer_to_another_request_counts_no_more(site: Site, status: int) -> None:
    """The same mail within the same second: only the nonce differs."""
    kept: list[str] = []

    async def replay(request: web.Request) -> web.Response:
        kept.append(asked(request).sign(status, b"") or "")
        return says(status, b"", {ANSWER_HEADER: kept[0]})

    site.answer = replay
    assert (await site.peers.post("pod-1", MAIL)).verdict not in STAYS
    assert (await site.peers.post("pod-1", MAIL)).verdict is PeerVerdict.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "body", "signed_as"),
    [
        (202, b"", (503, b"", KEY)),
        (404, b"", (202, b"", KEY)),
        (409, b'{"owner":"pod-2"}', (409, b'{"owner":"pod-1"}', KEY)),
        (404, b"", (404, b"", b"x" * 32)),
    ],
)
async def test_what_was_changed_on_the_way_counts_no_more(
    site: Site, status: int, body: bytes, signed_as: tuple[int, bytes, bytes]
) -> None:
    async def changed(request: web.Request) -> web.Response:
        return says(status, body, {ANSWER_HEADER: signed(request, *signed_as).headers[ANSWER_HEADER]})

    site.answer = changed
    assert (await site.peers.post("pod-1", MAIL)).verdict is PeerVerdict.UNREACHABLE


async def test_an_endless_answer_is_not_read_to_its_end(site: Site) -> None:
    async def endless(request: web.Request) -> web.Response:
        return signed(request, 404, b"x" * 10_000_000)

    site.answer = endless
    assert (await site.peers.post("pod-1", MAIL)).verdict is PeerVerdict.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (202, PeerVerdict.TAKEN),
        (404, PeerVerdict.NOT_MINE),
        (409, PeerVerdict.NOT_MINE),
        (503, PeerVerdict.REFUSED),
        (401, PeerVerdict.REFUSED),
    ],
)
async def test_of_a_pod_of_an_older_version_only_taken_ends_a_mail(
    site: Site, status: int, verdict: PeerVerdict
) -> None:
    async def older(_: web.Request) -> web.Response:
        return says(status, b'{"owner":"pod-2"}')

    site.signing = False
    site.answer = older
    answer = await site.peers.post("pod-1", MAIL)
    assert (answer.verdict, answer.owner) == (verdict, None)


@pytest.mark.parametrize("status", [202, 404, 409, 503, 401, 400, 307])
async def test_no_single_answer_is_logged(site: Site, status: int) -> None:
    """The router logs when a pod begins to refuse, and when it ends."""

    async def signs(request: web.Request) -> web.Response:
        return signed(request, status)

    site.answer = signs
    with capture_logs() as logs:
        await site.peers.post("pod-1", MAIL)
    assert logs == []


async def test_a_pod_whose_target_has_no_room_is_not_one_that_takes_nothing(site: Site) -> None:
    for body, verdict in ((b'{"outcome":"busy"}', PeerVerdict.BUSY), (b'{"outcome":"full"}', PeerVerdict.REFUSED)):

        async def answer(request: web.Request, body: bytes = body) -> web.Response:
            return signed(request, 503, body)

        site.answer = answer
        assert (await site.peers.post("pod-1", MAIL)).verdict is verdict

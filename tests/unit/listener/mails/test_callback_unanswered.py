"""What was not read whole gets no answer: Dovecot takes any answer as final, and sends again where the connection ends.

On raw connections, since no client sends such things.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mailpush.http import server as server_module
from mailpush.listener.mails import callback
from mailpush.listener.mails.callback import Ingress
from mailpush.names import CALLBACK_PATH
from mailpush.notifications.notification import NewMail
from mailpush.properties.settings import CallbackSettings

PATIENCE = 30.0
BODY = json.dumps(
    {"user": "3@1", "event": "messageNew", "folder": "INBOX", "imap-uidvalidity": 7, "imap-uid": 3}
).encode()


def head(length: str = f"Content-Length: {len(BODY)}", login: str = "dovecot:word") -> bytes:
    basic = b64encode(login.encode()).decode()
    lines = (f"PUT {CALLBACK_PATH} HTTP/1.1", "Host: x", f"Authorization: Basic {basic}", length, "", "")
    return "\r\n".join(lines).encode()


WHOLE = head() + BODY


@dataclass
class Site:
    """Takes the place of settings and queue; `broken`: taking a mail fails."""

    taken: list[NewMail] = field(default_factory=list)
    broken: bool = False
    now: float = 0.0

    def __post_init__(self) -> None:
        self.ingress = Ingress(self, self, clock=lambda: self.now)

    def callback_login(self) -> CallbackSettings:
        return CallbackSettings("dovecot", "word")

    def offer(self, mail: NewMail) -> bool:
        if self.broken:
            raise LookupError("a fault of ours")
        self.taken.append(mail)
        return True

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.ingress.port)

    async def talk(self, data: bytes, *, eof: bool = False) -> bytes:
        """What comes until the server ends the connection."""
        reader, writer = await self.connect()
        writer.write(data)
        if eof:
            writer.write_eof()
        try:
            return await rest_of(reader)
        finally:
            writer.close()


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read()
        except ConnectionResetError:  # closed before all was read that had come
            return b""


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await reader.readuntil(b'{"success": true}')


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("mailpush_callbacks_total", {"outcome": outcome}) or 0.0


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(server_module, "BODY_SECONDS", 0.2)
    site = Site()
    await site.ingress.start("127.0.0.1", 0)
    yield site
    await site.ingress.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        BODY[10:] + WHOLE,
        head() + BODY + b"}" + WHOLE,
        head("Content-Length: 1\r\nContent-Length: 2") + BODY,
        head("Transfer-Encoding: chunked") + b"no number\r\n",
        head(login="dovecot:word" + "x" * 20_000) + BODY,
    ],
    ids=["TLS", "the rest of another", "with leftovers", "two lengths", "broken chunks", "too long a line"],
)
async def test_what_is_no_http_is_counted_and_its_connection_ends_without_an_answer(site: Site, data: bytes) -> None:
    before = counted("unreadable")
    assert await site.talk(data) == b""
    assert counted("unreadable") == before + 1
    assert site.taken == []
    assert (await site.talk(WHOLE + b"\0")) == b"", "a whole one that garbage follows at once is not answered either"


@pytest.mark.parametrize("sent", [BODY[:-1], b""])
async def test_so_ends_a_body_that_does_not_come(site: Site, sent: bytes) -> None:
    before = counted("too_slow")
    assert await site.talk(head() + sent) == b""
    assert counted("too_slow") == before + 1


async def test_and_one_that_breaks_off(site: Site) -> None:
    before = counted("broken_off")
    assert await site.talk(head() + BODY[:-1], eof=True) == b""
    for _ in range(1000):  # the handler hears of it after the connection's end
        if counted("broken_off") > before:
            break
        await asyncio.sleep(0)
    assert counted("broken_off") == before + 1


async def test_a_request_that_meets_a_fault_of_ours_has_no_answer_and_the_fault_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.broken = True
    assert await site.talk(WHOLE) == b""
    assert "a fault of ours" in caplog.text


@pytest.mark.parametrize("turns", range(6))
async def test_one_that_meets_the_stop_is_taken_and_answered_or_neither(site: Site, turns: int) -> None:
    reader, writer = await site.connect()
    writer.write(WHOLE)
    await answer(reader)
    writer.write(head() + BODY[:-1])
    for _ in range(turns):
        await asyncio.sleep(0)
    closing = asyncio.create_task(site.ingress.close())
    await asyncio.sleep(0)
    writer.write(BODY[-1:])
    last = await rest_of(reader)
    await closing
    assert len(site.taken) == (2 if last else 1)
    assert not last or last.startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_kept_connection_that_stopping_ends_has_none(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(WHOLE)
    await answer(reader)
    await site.ingress.close()
    writer.write(WHOLE)
    assert await rest_of(reader) == b""
    assert len(site.taken) == 1
    writer.close()


async def test_no_http_is_logged_now_and_then(site: Site) -> None:
    with capture_logs() as logs:
        for _ in range(20):
            await site.talk(b"\0")
        site.now = 10.0
        await site.talk(b"\0")
    assert [each["event"] for each in logs] == ["callback_unreadable"] * 2


async def test_a_connection_that_rests_is_ended_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dovecot kept it for hours; the first mail on it after its node was cut off waited for a timeout."""
    monkeypatch.setattr(callback, "IDLE_SECONDS", 0.1)
    site = Site()
    await site.ingress.start("127.0.0.1", 0)
    reader, writer = await site.connect()
    for _ in range(2):
        writer.write(WHOLE)
        await answer(reader)
    assert len(site.taken) == 2
    assert await rest_of(reader) == b""
    assert site.ingress.connections == 0
    writer.close()
    await site.ingress.close()

"""What holds for every port of operator and listener, whoever connects."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from mailpush.admin.routes import LISTENERS
from mailpush.admin.server import AdminAccess, AdminServer, Registration, Running
from mailpush.http import server as server_module
from mailpush.http.health import HealthServer, Pulse
from mailpush.listener.mails.callback import Ingress
from mailpush.listener.mails.internal import InternalServer
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mails.signing import HandoverKeys
from mailpush.names import CALLBACK_PATH, INTERNAL_EVENTS_PATH
from mailpush.notifications.notification import NewMail
from mailpush.properties.settings import CallbackSettings

PATIENCE = 60


class Nobody:
    """Takes the place of all that stands behind a port."""

    def offer(self, mail: NewMail) -> bool:
        return True

    async def take_over(self, mail: NewMail) -> TakeResult:
        return TakeResult.TAKEN

    def owner_of(self, slot: int) -> str | None:
        return None

    def callback_login(self) -> CallbackSettings:
        return CallbackSettings("dovecot", "word")

    async def listeners(self) -> Iterable[Running]:
        return []

    async def registrations(self) -> Iterable[Registration]:
        return []

    async def unregister(self, context: int, user: int, client: str) -> bool:
        return False


def servers() -> dict[str, tuple[str, AdminServer | HealthServer | Ingress | InternalServer]]:
    """Each with a request line that it answers."""
    nobody = Nobody()
    key = HandoverKeys(lambda: (b"k" * 32,))
    return {
        "callback": (f"PUT {CALLBACK_PATH}", Ingress(nobody, nobody)),
        "internal": (f"POST {INTERNAL_EVENTS_PATH}", InternalServer(nobody, nobody, key)),
        "health": ("GET /livez", HealthServer(Pulse(), CollectorRegistry())),
        "admin": (f"GET {LISTENERS}", AdminServer(nobody, AdminAccess("a", "word"), "")),
    }


Talk = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture(params=["callback", "internal", "health", "admin"])
async def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, Talk]]:
    """A request line, and a way to send bytes and get what comes until the server ends the connection."""
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.2)
    line, server = servers()[request.param]
    await server.start("127.0.0.1", 0)

    async def talk(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
        return answer

    yield line, talk
    await server.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP, gzip"])
async def test_no_port_takes_an_encoded_body_also_from_whoever_has_no_login(
    port: tuple[str, Talk], encoding: str
) -> None:
    line, talk = port
    head = f"{line} HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\nContent-Length: 4\r\n\r\nabcd"
    assert b" 415 " in (await talk(head.encode())).split(b"\r\n")[0]


@pytest.mark.parametrize("header", [b"Authorization Basic U0VDUkVU", b"Authorization: Basic U0VDUkVU\x01"])
async def test_no_port_quotes_what_is_no_http(
    port: tuple[str, Talk], header: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    line, talk = port
    with caplog.at_level(logging.DEBUG):
        answer = await talk(f"{line} HTTP/1.1\r\n".encode() + header + b"\r\n\r\n")
    if CALLBACK_PATH in line:  # Dovecot takes any answer as final, and sends again where there is none
        assert answer == b""
    else:
        assert b" 400 " in answer.split(b"\r\n")[0]
    assert "U0VDUkVU" not in caplog.text


async def test_every_module_that_serves_http_does_so_by_the_one_server() -> None:
    root = Path(server_module.__file__).parents[1]
    others = [
        path.name
        for path in root.rglob("*.py")
        if path != Path(server_module.__file__)
        and any(word in path.read_text() for word in ("AppRunner", "TCPSite", "create_server", "start_server"))
    ]
    assert others == []

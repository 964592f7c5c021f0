"""What whoever can reach a port may send it: it costs little, is never quoted, and harms nobody else."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from mailpush.http.server import MalformedBodyError, WebServer, read_body

LIMIT = 1000
PATIENCE = 30.0


class Site:
    def __init__(self) -> None:
        self.malformed = 0
        self.release = asyncio.Event()
        app = web.Application(client_max_size=LIMIT)
        app.router.add_put("/", self._put)
        app.router.add_get("/long", self._long)
        self.server = WebServer(app, malformed=self._count, head_seconds=0.1)

    def _count(self) -> None:
        self.malformed += 1

    async def _put(self, request: web.Request) -> web.Response:
        try:
            return web.Response(text=f"{len(await read_body(request, LIMIT))}")
        except MalformedBodyError:
            return web.Response(status=400, text="malformed")

    async def _long(self, request: web.Request) -> web.Response:
        await self.release.wait()
        return web.Response(text="after all")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def talk(self, data: bytes) -> bytes:
        """What comes until the server ends the connection."""
        reader, writer = await self.connect()
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.server.start("127.0.0.1", 0)
    yield site
    await site.server.close()


@pytest.mark.parametrize("sent", [b"", b"PUT / HTTP/1.1\r\nHost: half-a-head"])
async def test_a_connection_on_which_no_request_comes_is_ended(site: Site, sent: bytes) -> None:
    assert await site.talk(sent) == b""


async def test_so_is_one_whose_second_request_does_not_end(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readuntil(b"\r\n\r\n2")).startswith(b"HTTP/1.1 200")
        writer.write(b"PUT / HTTP/1.1\r\n")
        assert await reader.read() == b""
    writer.close()


async def test_a_request_that_takes_long_to_answer_and_a_connection_that_rests_are_left_alone(site: Site) -> None:
    reader, writer = await site.connect()
    resting, resting_writer = await site.connect()
    request = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
    resting_writer.write(request + b"ab")
    async with asyncio.timeout(PATIENCE):
        assert (await resting.readuntil(b"\r\n\r\n2")).startswith(b"HTTP/1.1 200")
        assert await site.talk(b"") == b""  # one that came later has been ended meanwhile
        site.release.set()
        assert (await reader.readuntil(b"after all")).startswith(b"HTTP/1.1 200")
        resting_writer.write(request + b"cd")
        assert (await resting.readuntil(b"\r\n\r\n2")).startswith(b"HTTP/1.1 200")
    writer.close()
    resting_writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"PUT / HTTP/1.1\r\nAuthorization: Basic U0VDUkVU\x01\r\n\r\n",
        b"PUT / HTTP/1.1\r\nAuthorization: Basic " + b"U0VDUkVU" * 2000 + b"\r\n\r\n",
        b"PUT http://somebody:U0VDUkVU@host:no-port/ HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_request_that_is_no_http_is_refused_and_counted_and_nothing_of_it_is_logged(
    site: Site, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert b" 400 " in (await site.talk(head)).split(b"\r\n")[0]
    assert site.malformed == 1
    assert "U0VDUkVU" not in caplog.text


async def test_a_body_that_is_not_encoded_as_it_says_is_the_senders_fault(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    assert b" 400 " in await site.talk(head % 5 + b"plain")
    assert b" 413 " in await site.talk(head % len(bomb := gzip.compress(b" " * 10_000_000)) + bomb)
    assert "Traceback" not in caplog.text


async def test_a_fault_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: web.Request) -> web.Response:
        raise LookupError("our own fault")

    app = web.Application()
    app.router.add_get("/", broken)
    server = WebServer(app)
    await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 500 " in await reader.read()
    writer.close()
    await server.close()
    assert "our own fault" in caplog.text

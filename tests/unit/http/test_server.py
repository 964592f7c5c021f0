"""What whoever can reach a port may send it: it costs little, is never quoted, and harms nobody else."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from mailpush.http.server import MalformedBodyError, WebServer, read_body

LIMIT = 1000
PATIENCE = 30.0


class Site:
    def __init__(self) -> None:
        self.unreadable = 0
        self.release = asyncio.Event()
        app = web.Application(client_max_size=LIMIT)
        app.router.add_put("/", self._put)
        app.router.add_get("/long", self._long)
        self.server = WebServer(app, unreadable=self._count, head_seconds=0.1)

    def _count(self, _: str) -> None:
        self.unreadable += 1

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
    assert site.unreadable == 1
    assert "U0VDUkVU" not in caplog.text


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"GZIP, gzip", b"zstd"])
async def test_nothing_that_is_sent_is_inflated(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, encoding: bytes
) -> None:
    """200 kB of gzip without any login held the event loop for 0.7 s: longer than Dovecot waits when ten came."""
    inflated = 0

    def count(*arguments: Any, **_: Any) -> bytes:
        nonlocal inflated
        inflated += 1
        return b""

    monkeypatch.setattr("aiohttp.compression_utils.ZLibDecompressor.decompress_sync", count)
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    bomb = gzip.compress(b" " * 10_000_000)
    for body in (b"plain", bomb):
        assert b" 415 " in (await site.talk(head % (encoding, len(body)) + body)).split(b"\r\n")[0]
    assert inflated == 0
    assert "Traceback" not in caplog.text


async def test_connections_are_bounded() -> None:
    server = WebServer(web.Application(), most=2)
    await server.start("127.0.0.1", 0)
    kept = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()
    kept[0][1].close()
    async with asyncio.timeout(PATIENCE):
        while True:  # its place is free once the server has seen it go
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            if b" 404 " in answer:
                break
    kept[1][1].close()
    await server.close()


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

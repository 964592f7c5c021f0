"""A connection by its file descriptor, plain and by TLS, on both loops: what asyncio's transports would have done."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dev.cluster import pki
from mailpush.imap.wire import CHUNK, MOST_CHUNKS, Wire
from tests.sites.waiting import until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Received:
    """Keeps what it gets; raises instead where it is told to."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.data = bytearray()
        self.pieces = 0
        self.lost: list[OSError | None] = []
        self.fault: Exception | None = None
        wire.begin(self)

    def data_received(self, data: bytes) -> None:
        if self.fault is not None:
            raise self.fault
        self.data += data
        self.pieces += 1

    def connection_lost(self, error: OSError | None) -> None:
        self.lost.append(error)


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    authority = pki.Authority.new("test")
    pair = authority.issue("imap.example", names=("imap.example",))
    (tmp_path / "pair.pem").write_bytes(pair.certificate + pair.key)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(tmp_path / "pair.pem")
    asking = ssl.create_default_context()
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    return serving, asking


async def opened(serve: Serve, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> tuple[asyncio.Server, Wire]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls[0] if tls else None)
    wire = await Wire.open("127.0.0.1", server.sockets[0].getsockname()[1])
    if tls:
        await wire.start_tls(tls[1], "imap.example")
    return server, wire


@pytest.fixture(params=["plain", "tls"])
def tls(
    request: pytest.FixtureRequest, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    return contexts if request.param == "tls" else None


async def test_more_than_the_kernel_takes_at_once_arrives_whole_in_both_directions(
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> None:
    sent = bytes(range(256)) * (MOST_CHUNKS * CHUNK * 3 // 256)
    held = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()  # the client's kernel has no room meanwhile
        got = await reader.readexactly(len(sent))
        writer.write(got)
        await writer.drain()

    server, wire = await opened(echo, tls)
    async with server:
        receiver = Received(wire)
        wire.write(sent[:1000])
        wire.write(sent[1000:])
        held.set()
        await until(lambda: len(receiver.data) >= len(sent))
        assert receiver.data == sent
        wire.abort()
        await until(lambda: receiver.lost)


async def test_the_end_of_the_other_side_is_told_once_and_what_came_before_it_is_not_lost(
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* BYE\r\n")
        writer.close()

    server, wire = await opened(leave, tls)
    async with server:
        receiver = Received(wire)
        await until(lambda: receiver.lost)
        assert receiver.data == b"* BYE\r\n"
        assert receiver.lost == [None]
        assert wire.connection is None
        wire.write(b"to nobody")
        wire.abort()
        await asyncio.sleep(0)
        assert receiver.lost == [None]


async def test_a_reset_is_told_with_its_error() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    server, wire = await opened(reset, None)
    async with server:
        receiver = Received(wire)
        wire.write(b"x")
        await until(lambda: receiver.lost)
        assert isinstance(receiver.lost[0], ConnectionResetError)


async def test_an_abort_is_told_in_the_next_round_and_leaves_no_descriptor(
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> None:
    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server, wire = await opened(stay, tls)
    async with server:
        receiver = Received(wire)
        assert wire.connection is not None
        number = wire.connection.fileno()
        wire.abort()
        assert receiver.lost == []
        await until(lambda: receiver.lost == [None])
        with pytest.raises(OSError, match="Bad file descriptor"):
            socket.socket(fileno=number).getpeername()


async def test_a_fault_of_the_receiver_ends_the_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read()
        writer.close()

    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context.get("exception")))
    server, wire = await opened(talk, None)
    async with server:
        receiver = Received(wire)
        receiver.fault = ValueError("a fault")
        await until(lambda: receiver.lost)
        assert faults == [receiver.fault]


async def test_a_handshake_that_is_cancelled_leaves_nothing_behind(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        wire = await Wire.open("127.0.0.1", server.sockets[0].getsockname()[1])
        handshake = asyncio.create_task(wire.start_tls(contexts[1], "imap.example"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        handshake.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handshake
        wire.abort()
        assert wire.connection is None


async def test_a_name_that_is_none_closes_the_connection(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        wire = await Wire.open("127.0.0.1", server.sockets[0].getsockname()[1])
        contexts[1].check_hostname = True
        with pytest.raises(ValueError, match="server_hostname"):
            await wire.start_tls(contexts[1], "")
        assert wire.connection is None


async def test_bytes_that_tls_has_read_ahead_are_not_forgotten(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """One descriptor event may bring several records; none is announced again."""

    async def burst(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(200):
            writer.write(b"* %d EXISTS\r\n" % number)
        await reader.read()
        writer.close()

    server, wire = await opened(burst, contexts)
    async with server:
        receiver = Received(wire)
        await until(lambda: receiver.data.endswith(b"* 199 EXISTS\r\n"))
        wire.abort()

"""The texts, streams and exit codes of `pushusers`, against a real admin endpoint."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from mailpush.admin.errors import AdminError
from mailpush.admin.server import AdminAccess, AdminServer, Registration, Running
from mailpush.cli.pushusers.command import run

FOLDER = Path(__file__).parent / "pushusers"
CASES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "cases.yaml").read_text(encoding="utf-8"))
HELP = (FOLDER / "help.txt").read_text(encoding="utf-8")
CLIENT = "open-xchange-mobile-api-facade"


class Site:
    """Backend of an endpoint; the order is not the sorted one."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.answer = asyncio.Event()

    async def listeners(self) -> Iterable[Running]:
        if self.kind == "silent":
            await self.answer.wait()
        full = [Running(12, 7, False), Running(1, 1402, True), Running(1, 249, True)]
        return full if self.kind == "users" else []

    async def registrations(self) -> Iterable[Registration]:
        full = [(12, 7, "a"), (1, 1402, CLIENT), (1, 249, CLIENT), (1, 249, "USM-EAS-iphone")]
        return [Registration(*one) for one in full] if self.kind == "users" else []

    async def unregister(self, context: int, user: int, client: str) -> bool:
        if self.kind == "pod":
            raise AdminError(403, "A listener pod may not change push users")
        return Registration(context, user, client) in await self.registrations()


@contextlib.asynccontextmanager
async def endpoint(kind: str) -> AsyncIterator[int]:
    """Gives its port."""
    if kind in ("stranger", "nowhere"):

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"\x4e\x00\x09127.0.0.1\x00\x00\n")  # as Java's RMI registry greets
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        if kind == "nowhere":
            server.close()
            await server.wait_closed()
        yield port
        server.close()
        return
    if kind == "website":
        runner = web.AppRunner(web.Application())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
        await runner.cleanup()
        return
    site = Site(kind)
    access = AdminAccess() if kind == "no-login" else AdminAccess("oxadmin", "secret")
    admin = AdminServer(site, access, "set a login")
    try:
        yield await admin.start("127.0.0.1", 0)
    finally:
        site.answer.set()
        await admin.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
async def test_what_it_prints_and_how_it_exits(case: dict[str, Any]) -> None:
    out, err = io.StringIO(), io.StringIO()
    arguments: list[str] = case["arguments"]
    environment: dict[str, str] = case.get("environment", {})
    async with contextlib.AsyncExitStack() as stack:
        port = 0
        if "server" in case:
            port = await stack.enter_async_context(endpoint(case["server"]))
            arguments = ["-s", "127.0.0.1", "-p", str(port), *arguments]
        code = await asyncio.to_thread(run, arguments, environment, out, err)
    expected_out = case.get("stdout", "").replace("+ help\n", HELP).replace("+ help", HELP)
    assert err.getvalue() == case.get("stderr", "").replace("@PORT@", str(port))
    assert out.getvalue() == expected_out
    assert code == case["exit"]


def test_the_help_wraps_as_the_pages_does() -> None:
    """The page shows OX's help with its line ends: 120 columns, as Commons CLI lays it out."""
    lines = [line.strip() for line in HELP.splitlines()]
    assert lines[0].endswith("-A <masterAdmin> -P <masterAdminPassword> [-p")
    assert lines[1] == "<RMI-Port>] [-s <RMI-Server>] [--responsetimeout <responseTimeout>] | [-h]"
    assert any(line.endswith("(default: 0s;") for line in lines)
    assert "infinite)" in lines
    assert max(map(len, HELP.splitlines())) <= 120

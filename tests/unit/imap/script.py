"""A server that says what a test has written down, good or bad."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from mailpush.imap.client import ImapClient, ImapError, ImapLogin, ImapServer, connect

GREETING = "* OK [CAPABILITY IMAP4rev1 IDLE STARTTLS SASL-IR AUTH=PLAIN] ready"
LOGIN = ImapLogin("u", "s3cret")
TIMEOUT = 20.0


class Script:
    """Says `greeting`, then for each line from the client the next of `answers` (`{tag}` is the line's tag)."""

    def __init__(self, *answers: str, greeting: str = GREETING, hang_up: bool = False) -> None:
        self.greeting = greeting
        self.answers = list(answers)
        self.hang_up = hang_up
        self.lines: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(f"{self.greeting}\r\n".encode())
            while self.answers:
                line = (await reader.readuntil(b"\r\n")).decode().rstrip()
                self.lines.append(line)
                answer = self.answers.pop(0).format(tag=line.split(" ")[0], last=self._last_tag())
                writer.write(answer.replace("\n", "\r\n").encode() + (b"\r\n" if answer else b""))
            if not self.hang_up:
                await reader.read()
        writer.close()

    def _last_tag(self) -> str:
        return next((line.split(" ")[0] for line in reversed(self.lines) if line.startswith("M")), "")


@asynccontextmanager
async def served(script: Script) -> AsyncIterator[ImapServer]:
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(script.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield ImapServer("127.0.0.1", server.sockets[0].getsockname()[1], "none")
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def fails(
    script: Script,
    act: Callable[[ImapClient], Awaitable[object]],
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - it is the client's
) -> ImapError:
    async with served(script) as server:
        with pytest.raises(ImapError) as failure:
            async with connect(server, timeout) as client:
                await act(client)
    return failure.value

"""The IMAP client of the listener: login, METADATA, folder state, headers, IDLE."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from mailpush.imap import commands
from mailpush.imap.commands import Command
from mailpush.imap.errors import (
    ImapAuthError,
    ImapCertificateError,
    ImapConnectionError,
    ImapError,
    ImapProtocolError,
    ImapRefused,
    ImapUnavailable,
)
from mailpush.imap.protocol import Changes, Mailbox, Reply, State
from mailpush.imap.responses import Fetch, MailboxStatus, Metadata
from mailpush.imap.server import ImapLogin, ImapServer
from mailpush.imap.transport import ImapTransport, open_transport

__all__ = [
    "Changes",
    "Fetch",
    "ImapAuthError",
    "ImapCertificateError",
    "ImapClient",
    "ImapConnectionError",
    "ImapError",
    "ImapLogin",
    "ImapProtocolError",
    "ImapRefused",
    "ImapServer",
    "ImapUnavailable",
    "Mailbox",
    "connect",
]

LOGOUT_SECONDS: Final = 1.0
# RFC 5530: these NOs to a login say nothing about the credentials.
_NOT_ABOUT_CREDENTIALS: Final = frozenset(
    {"UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG", "PRIVACYREQUIRED", "CONTACTADMIN", "OVERQUOTA"}
)


@asynccontextmanager
async def connect(server: ImapServer, timeout: float) -> AsyncIterator[ImapClient]:  # noqa: ASYNC109
    """A client for the block; logged out behind it, or dropped at once where the block ends in an exception.

    `timeout`: seconds for connecting, the handshake and the greeting together, and for the answer to each command.

    Raises:
        ImapConnectionError: not reached in time, no TLS, an untrusted certificate, or BYE.
        ImapRefused: the server has no STARTTLS where that was asked for.
    """
    client = await ImapClient.open(server, timeout)
    try:
        yield client
    except BaseException:
        client.abort()
        raise
    await client.close()


class ImapClient:
    """One connection, used by one task. A command that is cancelled or not answered in time drops the connection."""

    __slots__ = ("_timeout", "_transport")

    def __init__(self, transport: ImapTransport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout

    @classmethod
    async def open(cls, server: ImapServer, timeout: float) -> ImapClient:  # noqa: ASYNC109
        """As `connect`, but the caller closes."""
        transport: ImapTransport | None = None
        try:
            async with asyncio.timeout(timeout):
                transport = await open_transport(server)
                client = cls(transport, timeout)
                await client._greet()
                return client
        except BaseException as error:
            if transport is not None:
                transport.abort()
            if isinstance(error, TimeoutError):
                raise ImapConnectionError(f"{server} did not answer within {timeout:g} s") from None
            raise

    @property
    def server(self) -> ImapServer:
        return self._transport.server

    @property
    def mailbox(self) -> Mailbox | None:
        """The selected mailbox, kept up to date by what the server reports."""
        return self._transport.core.mailbox

    async def capabilities(self) -> frozenset[str]:
        """In capitals. They differ before and after login; CAPABILITY is sent where the server has not listed them."""
        if not self._transport.core.capabilities:
            await self._run(commands.simple("CAPABILITY"))
        return self._transport.core.capabilities

    async def login(self, login: ImapLogin) -> None:
        """Log in by AUTHENTICATE PLAIN, or by LOGIN where the server does not offer that.

        Raises:
            ImapAuthError: the server holds the credentials for wrong, or they cannot be sent at all.
            ImapUnavailable: refused for another reason (`code`); says nothing about the credentials.
            ImapRefused: the server offers no way to log in.
        """
        offered = await self.capabilities()
        try:
            if "AUTH=PLAIN" in offered:
                command = commands.authenticate_plain(
                    login.user, login.password, login.authzid, initial_response="SASL-IR" in offered
                )
            elif "LOGINDISABLED" in offered:
                raise ImapRefused(f"{self.server} offers neither AUTH=PLAIN nor LOGIN on this connection")
            else:
                command = commands.login(login.combined, login.password)
        except ValueError as error:
            raise ImapAuthError(f"{self.server}: the credentials cannot be sent: {error}") from None
        reply = await self._exchange(command)
        if reply.status.kind != "OK":
            raise _login_error(self.server, reply)

    async def get_metadata(self, entry: str) -> bytes | None:
        """The value of a server annotation (RFC 5464), or None where it is not set."""
        reply = await self._run(commands.get_metadata(entry))
        for data in reply.data:
            if isinstance(data, Metadata) and data.mailbox == "":
                for name, value in data.entries.items():
                    if name == entry.lower():
                        return value
        return None

    async def set_metadata(self, entry: str, value: bytes | None) -> None:
        """Set a server annotation, or remove it with None."""
        await self._run(commands.set_metadata(entry, value))

    async def select(self, mailbox: str, *, readonly: bool = False) -> Mailbox:
        """SELECT, or EXAMINE with `readonly`. The Mailbox changes as the server reports changes."""
        await self._run(commands.examine(mailbox) if readonly else commands.select(mailbox))
        selected = self.mailbox
        if selected is None:
            raise ImapProtocolError(f"{self.server} selected nothing")
        return selected

    async def status(self, mailbox: str, *items: str) -> dict[str, int]:
        """STATUS of a mailbox, e.g. `("UIDNEXT", "UIDVALIDITY", "UNSEEN")`; keys in capitals."""
        reply = await self._run(commands.status(mailbox, items))
        found: dict[str, int] = {}
        for data in reply.data:
            if isinstance(data, MailboxStatus):
                found |= data.items
        return found

    async def fetch_headers(self, first: int, last: int | None = None) -> list[Fetch]:
        """UID, flags and raw From and Subject of the messages with UID `first` to `last`, in order of UID.

        Filters what RFC 3501 makes of `first:*` in a mailbox without such a UID: its last message.
        """
        reply = await self._run(commands.fetch_headers(first, last))
        found = [data for data in reply.data if isinstance(data, Fetch) and data.uid is not None and data.uid >= first]
        return sorted(found, key=lambda message: message.uid or 0)

    async def noop(self) -> Changes:
        """What happened in the selected mailbox since the last look, for servers without IDLE."""
        await self._run(commands.simple("NOOP"))
        return self._transport.core.take_changes()

    async def idle(self, seconds: float) -> Changes:
        """IDLE until the selected mailbox changes, at most `seconds` (servers end it after 30 minutes: stay below).

        Returns at once where the server reported a change since the last look; empty Changes when nothing came.

        Raises:
            ImapRefused: the server has no IDLE. ImapConnectionError: the connection ended.
        """
        core = self._transport.core
        if core.changes:
            return core.take_changes()
        try:
            self._start(commands.simple("IDLE"))
            await self._answer(lambda: core.idling or core.reply is not None)
            if core.idling:
                await self._transport.until(lambda: bool(core.changes) or core.reply is not None, seconds)
            if core.idling:
                core.done()
                self._transport.flush()
            await self._answer(lambda: core.reply is not None)
        except BaseException:
            self.abort()
            raise
        self._require_ok("IDLE")
        return core.take_changes()

    async def close(self) -> None:
        """LOGOUT, waiting a moment for the answer, then the connection is dropped. Never raises an ImapError."""
        try:
            if not self._transport.closed and not self._transport.core.busy:
                self._start(commands.simple("LOGOUT"))
                with suppress(ImapError):
                    await self._transport.until(lambda: self._transport.core.reply is not None, LOGOUT_SECONDS)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    async def _greet(self) -> None:
        core = self._transport.core
        await self._answer(lambda: core.greeting is not None and core.bye is None)
        if self.server.security != "starttls":
            return
        if core.state is not State.NOT_AUTHENTICATED:
            # RFC 3501 allows STARTTLS only before login: a PREAUTH is how somebody in between would prevent it.
            raise ImapProtocolError(f"{self.server} greets with PREAUTH, so TLS cannot be started")
        if "STARTTLS" not in await self.capabilities():
            raise ImapRefused(f"{self.server} offers no STARTTLS; nothing is sent without it")
        await self._run(commands.simple("STARTTLS"))
        await self._transport.start_tls()

    def _start(self, command: Command) -> None:
        self._transport.require_open()
        self._transport.core.start(command)
        self._transport.flush()

    async def _exchange(self, command: Command) -> Reply:
        core = self._transport.core
        try:
            self._start(command)
            await self._answer(lambda: core.reply is not None)
        except BaseException:
            self.abort()  # an answer may still come, and would be taken for the next command's
            raise
        assert core.reply is not None  # noqa: S101
        return core.reply

    async def _run(self, command: Command) -> Reply:
        await self._exchange(command)
        return self._require_ok(command.name)

    def _require_ok(self, name: str) -> Reply:
        reply = self._transport.core.reply
        assert reply is not None  # noqa: S101
        if reply.status.kind != "OK":
            raise ImapRefused(f"{self.server} refused {name}: {reply.status.text[:200]}", reply.status.code)
        return reply

    async def _answer(self, reached: Callable[[], bool]) -> None:
        if not await self._transport.until(reached, self._timeout):
            raise ImapConnectionError(f"{self.server} did not answer within {self._timeout:g} s")


def _login_error(server: ImapServer, reply: Reply) -> ImapRefused:
    """The server's own words are left out: one that repeats the command would repeat the credentials."""
    code = reply.status.code
    said = f"{reply.status.kind} [{code}]" if code else reply.status.kind
    if reply.status.kind == "BAD":
        return ImapRefused(f"{server} does not take this way to log in ({said})", code)
    if code in _NOT_ABOUT_CREDENTIALS:
        return ImapUnavailable(f"{server} takes no login at the moment ({said})", code)
    return ImapAuthError(f"{server} refused the login ({said})", code)

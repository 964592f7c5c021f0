"""The IMAP client of the listener: login, METADATA, folder state, headers, IDLE."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from mailpush import __version__
from mailpush.imap import commands
from mailpush.imap.commands import Command
from mailpush.imap.errors import (
    ImapAuthError,
    ImapCertificateError,
    ImapConnectionError,
    ImapError,
    ImapProtocolError,
    ImapRefused,
    ImapTokenError,
    ImapUnavailable,
)
from mailpush.imap.login import (
    WAYS,
    Way,
    another_way_may_help,
    gravest,
    nothing_offered,
    refusal,
    too_long,
    ways_to_try,
)
from mailpush.imap.outcomes import Fetched, Idled
from mailpush.imap.pending import Mailbox, Reply
from mailpush.imap.protocol import State
from mailpush.imap.responses import Fetch
from mailpush.imap.server import ImapLogin, ImapServer
from mailpush.imap.transport import ImapTransport, open_transport
from mailpush.imap.words import known_code, said

__all__ = [
    "Fetch",
    "Fetched",
    "Idled",
    "ImapAuthError",
    "ImapCertificateError",
    "ImapClient",
    "ImapConnectionError",
    "ImapError",
    "ImapLogin",
    "ImapProtocolError",
    "ImapRefused",
    "ImapServer",
    "ImapTokenError",
    "ImapUnavailable",
    "Mailbox",
    "Way",
    "connect",
]

LOGOUT_SECONDS: Final = 1.0
LOGIN_PATIENCE: Final = 3
"""A login is waited for so many times as long as another command: Dovecot, where it has refused others from the same
address, answers after up to 17 s (measured with 2.3.19 and 2.4.1: 15 s of penalty, 2 s of `auth_failure_delay`)."""
PRODUCT: Final = "Mail Push"


@asynccontextmanager
async def connect(server: ImapServer, timeout: float) -> AsyncIterator[ImapClient]:  # noqa: ASYNC109
    """A client for the block; logged out behind it, or dropped at once where the block ends in an exception.

    `timeout`: seconds for connecting, the handshake and the greeting together, and for the answer to each command but
    a login, which has three times as long.

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

    __slots__ = ("_identified", "_timeout", "_transport")

    def __init__(self, transport: ImapTransport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        self._identified = False

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

    async def login(self, login: ImapLogin, first: Way = WAYS[0], refused_before: int = 0) -> Way:
        """Log in by `first`, or by another way that the server offers; returns the way that it took.

        Another way is tried where the server refuses the way rather than the credentials, or gives no reason; but one
        way each time for a login that was `refused_before`, since servers shut out whoever fails too often.

        Raises:
            ImapAuthError: the server holds the credentials for wrong, or they cannot be sent at all; of a token it is
                an ImapTokenError.
            ImapUnavailable: refused for another reason (`code`); says nothing about the credentials.
            ImapRefused: neither, or the server offers no way to log in (ImapNoMechanism).
            ImapProtocolError: the server has logged somebody in already (PREAUTH).
        """
        if self._transport.core.state is not State.NOT_AUTHENTICATED:
            raise ImapProtocolError(
                f"{self.server} greets with PREAUTH: it has logged somebody in by itself, so whose mailbox it shows is "
                "not known; use a port on which it asks for a login"
            )
        capabilities = await self.capabilities()
        refused: list[ImapRefused] = []
        for way in ways_to_try(capabilities, login, first, refused_before):
            try:
                command = way.command(login, self.server, capabilities)
                reply = await self._exchange(command, self._timeout * LOGIN_PATIENCE)
            except ImapConnectionError as error:
                if refused:  # it ends the connection after a refusal, so the other way takes a new one
                    break
                raise too_long(login, error) from None
            if reply.status.kind == "OK":
                return way
            refused.append(refusal(self.server, login, reply))
            if not another_way_may_help(login, refused[-1]):
                break
        raise gravest(refused) if refused else nothing_offered(self.server, login, capabilities)

    async def get_metadata(self, entry: str) -> bytes | None:
        """The value of a server annotation (RFC 5464), or None where it is not set."""
        reply = await self._run(commands.get_metadata(entry))
        return reply.entries.get(entry.lower())

    async def set_metadata(self, entry: str, value: bytes | None) -> None:
        """Set a server annotation, or remove it with None."""
        await self._run(commands.set_metadata(entry, value))

    async def select(self, mailbox: str, *, readonly: bool = False) -> Mailbox:
        """SELECT, or EXAMINE with `readonly`. The Mailbox changes as the server reports changes."""
        await self._identify()
        command = commands.examine(mailbox) if readonly else commands.select(mailbox)
        await self._run(command, f"{command.name} of {mailbox}")
        selected = self.mailbox
        if selected is None:
            raise ImapProtocolError(f"{self.server} selected nothing")
        return selected

    async def status(self, mailbox: str, *items: str) -> dict[str, int]:
        """STATUS of a mailbox, e.g. `("UIDNEXT", "UIDVALIDITY", "UNSEEN")`; keys in capitals."""
        return (await self._run(commands.status(mailbox, items))).items

    async def fetch_headers(self, uids: Collection[int]) -> Fetched:
        """Flags and raw From and Subject of the messages with these UIDs. A NO or BAD is `refused` and no exception."""
        return await self._fetch(commands.fetch_headers(uids))

    async def fetch_flags(self, uids: Collection[int]) -> Fetched:
        """As `fetch_headers`, flags alone."""
        return await self._fetch(commands.fetch_flags(uids))

    async def uidnext(self, mailbox: str) -> int:
        """Of the selected `mailbox`, for a server whose answer to SELECT leaves it out, as RFC 3501 allows.

        Raises:
            ImapRefused: the server says neither that nor the highest UID.
        """
        with suppress(ImapRefused):
            if uidnext := (await self.status(mailbox, "UIDNEXT")).get("UIDNEXT"):
                return uidnext
        return await self._last_uid() + 1

    async def _last_uid(self) -> int:
        if self.mailbox is not None and not self.mailbox.exists:
            return 0
        reply = await self._run(commands.fetch_last_uid())
        return max(reply.messages, default=0)

    async def noop(self) -> bool:
        """Whether the selected mailbox has got messages since the last look, for servers without IDLE."""
        await self._run(commands.simple("NOOP"))
        return self._transport.core.take_grown()

    async def idle(self, seconds: float) -> Idled:
        """IDLE until the selected mailbox gets messages, at most `seconds` (below 30 minutes, or the server ends it).

        Returns at once where it has got some since the last look. Flags and expunged messages do not end it.

        Raises:
            ImapRefused: the server has no IDLE. ImapConnectionError: the connection ended.
        """
        core = self._transport.core
        if core.take_grown():
            return Idled.GROWN
        ours = False
        try:
            self._start(commands.simple("IDLE"))
            await self._answer(lambda: core.idling or core.reply is not None)
            if core.idling:
                await self._transport.until(lambda: core.grown or core.reply is not None, seconds)
            if core.idling:
                ours = True
                core.done()
                self._transport.flush()
            await self._answer(lambda: core.reply is not None)
        except BaseException:
            self.abort()
            raise
        self._require_ok("IDLE")
        if core.take_grown():
            return Idled.GROWN
        return Idled.QUIET if ours else Idled.ENDED

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

    async def _exchange(self, command: Command, seconds: float | None = None) -> Reply:
        core = self._transport.core
        try:
            self._start(command)
            await self._answer(lambda: core.reply is not None, seconds)
        except BaseException:
            self.abort()  # an answer may still come, and would be taken for the next command's
            raise
        assert core.reply is not None  # noqa: S101
        return core.reply

    async def _run(self, command: Command, called: str | None = None) -> Reply:
        await self._exchange(command)
        return self._require_ok(called or command.name)

    async def _fetch(self, command: Command) -> Fetched:
        reply = await self._exchange(command)
        return Fetched([message for _, message in sorted(reply.messages.items())], reply.status.kind != "OK")

    async def _identify(self) -> None:
        """ID (RFC 2971), once: 163.com opens no mailbox for a client that has not said who it is."""
        if not self._identified and "ID" in await self.capabilities():
            self._identified = True
            await self._exchange(commands.identify(PRODUCT, __version__))  # whatever it answers

    def _require_ok(self, name: str) -> Reply:
        reply = self._transport.core.reply
        assert reply is not None  # noqa: S101
        if reply.status.kind != "OK":
            raise ImapRefused(_refused(self.server, name, reply), known_code(reply.status))
        return reply

    async def _answer(self, reached: Callable[[], bool], seconds: float | None = None) -> None:
        patience = self._timeout if seconds is None else seconds
        if not await self._transport.until(reached, patience):
            untagged = self._transport.core.untagged
            hint = f"; it said {untagged}, but not to which command" if untagged is not None else ""
            raise ImapConnectionError(f"{self.server} did not answer within {patience:g} s{hint}")


def _refused(server: ImapServer, name: str, reply: Reply) -> str:
    return f"{server} refused {name} ({said(reply.status)})"

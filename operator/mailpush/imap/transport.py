"""The asyncio side of a conversation: a Wire, and one task that waits for what its bytes mean."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from mailpush.imap.errors import ImapCertificateError, ImapConnectionError, ImapError, ImapProtocolError, ImapTlsError
from mailpush.imap.protocol import ImapProtocol
from mailpush.imap.server import ImapServer
from mailpush.imap.wire import Wire
from mailpush.imap.words import said
from mailpush.work.lookups import Lookups

LOOKUPS: Final = Lookups(16, kept=30.0, failed=5.0)
"""Of mail servers' names, which whoever writes a PushUser chooses."""

# An IDLE may be silent for half an hour, and a firewall on the way forgets a silent connection within minutes. So
# probes go out after a minute of silence, which keeps it known; if none is answered, the other end is gone.
KEEPALIVE: Final = {
    socket.TCP_KEEPIDLE: 60,
    socket.TCP_KEEPINTVL: 20,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 60_000,
}


class ImapTransport:
    """Moves bytes between a Wire and an ImapProtocol, and lets one task wait for what they mean."""

    __slots__ = ("_failure", "_waiter", "_wire", "core", "server")

    def __init__(self, server: ImapServer, wire: Wire) -> None:
        self.server = server
        self.core = ImapProtocol()
        self._wire = wire
        self._waiter: asyncio.Future[None] | None = None
        self._failure: ImapError | None = None

    @property
    def closed(self) -> bool:
        return self._wire.connection is None or self._failure is not None

    def data_received(self, data: bytes) -> None:
        if self._failure is not None:
            return
        try:
            self.core.receive(data)
        except ImapProtocolError as error:
            self._fail(ImapProtocolError(f"{self.server}: {error}"))
            self.abort()
            return
        self.flush()
        if self.core.bye is not None and not self.core.leaving:
            self._fail(ImapConnectionError(f"{self.server} ended the connection ({said(self.core.bye)})"))
            self.abort()
        self._wake()

    def connection_lost(self, error: OSError | None) -> None:
        reason = f": {error.__class__.__name__}" if error is not None else ""
        self._fail(ImapConnectionError(f"{self.server} closed the connection{reason}"))

    def flush(self) -> None:
        """Send what the conversation has to say."""
        if out := self.core.outgoing():
            self._wire.write(out)

    def require_open(self) -> Wire:
        """Raises what ended the conversation, if something has."""
        if self._failure is not None:
            raise self._failure
        if self._wire.connection is None:
            raise ImapConnectionError(f"the connection to {self.server} is closed")
        return self._wire

    def abort(self) -> None:
        """Drop the connection at once."""
        self._wire.abort()

    async def until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Wait until `reached` or for `seconds`; says which.

        Raises:
            ImapConnectionError, ImapProtocolError: the conversation ended before.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not reached():
            self.require_open()
            self._waiter = loop.create_future()
            timer = loop.call_at(deadline, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
            if loop.time() >= deadline and not reached() and self._failure is None:
                return False
        return True

    async def start_tls(self) -> None:
        """After OK to STARTTLS. Raises ImapConnectionError for a failed handshake."""
        wire = self.require_open()
        self.core.starting_tls()
        try:
            await wire.start_tls(self.server.ssl_context(), self.server.certified_name)
        except (OSError, ValueError) as error:
            self.abort()
            raise tls_error(self.server, error) from None

    def _fail(self, failure: ImapError) -> None:
        if self._failure is None:
            self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def open_transport(server: ImapServer) -> ImapTransport:
    """Connect, with TLS where `security` is "tls". Raises ImapConnectionError."""
    try:
        return await _connected(server)
    except (OSError, ValueError) as error:
        raise tls_error(server, error) from None


async def _connected(server: ImapServer) -> ImapTransport:
    failure: OSError | None = None
    for address in await LOOKUPS.addresses(server.host):
        try:
            return await _connected_to(address, server)
        except ssl.SSLError:
            raise
        except OSError as error:
            failure = error
    LOOKUPS.forget(server.host)
    raise failure or socket.gaierror(socket.EAI_NONAME, "no address")


async def _connected_to(address: str, server: ImapServer) -> ImapTransport:
    trusted = server.ssl_context() if server.security == "tls" else None
    wire = await Wire.open(address, server.port)
    try:
        assert wire.connection is not None  # noqa: S101 - it has just been opened
        wire.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            wire.connection.setsockopt(socket.IPPROTO_TCP, option, value)
        if trusted is not None:
            await wire.start_tls(trusted, server.certified_name)
    except BaseException:
        wire.abort()
        raise
    transport = ImapTransport(server, wire)
    wire.begin(transport)
    return transport


def tls_error(server: ImapServer, error: OSError | ValueError) -> ImapConnectionError:
    """Words for what the system says; a wrong certificate is named as such."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ImapCertificateError(f"the certificate of {server} is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return ImapTlsError(f"no TLS with {server}: {error.reason or error.__class__.__name__}")
    if isinstance(error, ValueError):
        return ImapConnectionError(f"no connection to {server}: the host name or the CA certificate is not valid")
    return ImapConnectionError(f"no connection to {server}: {error.strerror or error.__class__.__name__}")

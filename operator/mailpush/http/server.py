"""The HTTP server of every port: callback, internal, health and admin.

Whoever can reach a port can send it anything, without any login. So a connection that does not come to the point ends,
their number is bounded, no body is inflated, and what cannot be read as HTTP is refused without a word of it in a log:
it may hold a password.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

KEEP_ALIVE_SECONDS: Final = 3600.0
"""How long a connection may rest between requests, where nothing else is said."""
HEAD_SECONDS: Final = 10.0
"""How long a sender may take from its first byte, or from connecting, to the end of a request's head."""
BODY_SECONDS: Final = 5.0
"""How long a sender may take for its body; Dovecot sends head and body at once."""
MOST_CONNECTIONS: Final = 4096
"""Open connections of one port. Dovecot keeps one for each of its LMTP processes."""


class _Quotes(logging.Filter):
    """Holds back errors that quote what a client has sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_LOGGER: Final = logging.getLogger("mailpush.http")
_LOGGER.addFilter(_Quotes())


class MalformedBodyError(Exception):
    """The body broke off."""


class UnansweredError(ConnectionResetError):
    """Ends a request's connection without an answer: its sender may send it again, maybe to another server."""


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        web.HTTPRequestEntityTooLarge: more than `limit` bytes.
        TimeoutError: it did not come within BODY_SECONDS. MalformedBodyError.
    """
    return await read_beginning(request, limit, limit)


async def read_beginning(request: web.Request, limit: int, most: int) -> bytes:
    """The first `limit` bytes of the body. The rest is read as well and dropped, so that the sender has its answer.

    Raises:
        web.HTTPRequestEntityTooLarge: more than `most` bytes.
        TimeoutError: the body did not come within BODY_SECONDS. MalformedBodyError.
    """
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
    kept, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > most:
                    raise web.HTTPRequestEntityTooLarge(most, size)
                kept += chunk[: limit - len(kept)]
    except (web.RequestPayloadError, ConnectionError):
        raise MalformedBodyError from None
    if request.content_length is not None and size != request.content_length:
        raise MalformedBodyError
    return bytes(kept)


class WebServer:
    """Serves `app` from `start` to `close`.

    Args:
        unreadable: called for each request that is no HTTP, with the kind of the error.
        answers_faults: whether such a request, and one that meets a fault of ours, is answered (400, 500).
            Otherwise its connection ends without an answer.
        head_seconds: as HEAD_SECONDS.
        keep_alive: as KEEP_ALIVE_SECONDS.
        most: as MOST_CONNECTIONS.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        unreadable: Callable[[str], None] = lambda _: None,
        answers_faults: bool = True,
        head_seconds: float = HEAD_SECONDS,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        most: int = MOST_CONNECTIONS,
    ) -> None:
        self._app = app
        self._most = most
        self._unreadable = unreadable
        self._answers_faults = answers_faults
        self._head_seconds = head_seconds
        self._keep_alive = keep_alive
        self._runner: web.AppRunner | None = None
        self._site: _Site | None = None
        self._connections: dict[object, _Connection] = {}
        app.middlewares.insert(0, self._note)
        self.port = 0
        """Where it listens, once started."""

    @property
    def connections(self) -> int:
        """Those that are open."""
        return len(self._connections)

    @property
    def serving(self) -> bool:
        return self._site is not None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens, after a failure or `pause` anew; port 0 takes any that is free. Returns the port.

        Raises:
            OSError: the address cannot be had.
        """
        if self._runner is None:
            self._runner = web.AppRunner(self._app, handle_signals=False, shutdown_timeout=1.0)
            await self._runner.setup()
        site = _Site(self._runner, (host, port), self._connect, tls)
        await site.start()
        self._site = site
        self.port = self._runner.addresses[0][1]
        return self.port

    async def pause(self) -> None:
        """Listens no more, and ends the connections that are open."""
        site, self._site = self._site, None
        if site is not None:
            await site.stop()
            for connection in list(self._connections.values()):
                connection.end()

    async def close(self) -> None:
        """Ends it; requests that are under way have a second."""
        runner, self._runner, self._site = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    def _connect(self) -> asyncio.Protocol:
        server = self._runner.server if self._runner is not None else None
        if server is None or len(self._connections) >= self._most:
            return _Refused()
        handler = _Handler(server, self._unreadable, self._answers_faults, self._keep_alive)
        return _Connection(handler, self._connections, self._head_seconds)

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = self._connections.get(request.protocol)
        if connection is None:
            return await handler(request)
        connection.request_begins()
        try:
            if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
                # Inflating costs the event loop a second for each 200 kB that anybody sends.
                answer = web.Response(status=415, text="send the body without Content-Encoding\n")
                answer.force_close()
                return answer
            return await handler(request)
        finally:
            connection.request_ends()


class _Handler(web.RequestHandler):
    """aiohttp's. By itself that one answers 400 to what it cannot read, and 500 to a fault of ours."""

    __slots__ = ("_answers_faults", "_unreadable")

    def __init__(
        self, server: web.Server, unreadable: Callable[[str], None], answers_faults: bool, keep_alive: float
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as aiohttp's runner passes it
            logger=_LOGGER,
            keepalive_timeout=keep_alive,
            lingering_time=1.0,
            auto_decompress=False,
        )
        self._unreadable = unreadable
        self._answers_faults = answers_faults

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if isinstance(exc, UnansweredError):
            raise exc
        if isinstance(exc, HttpProcessingError):
            self._unreadable(type(exc).__name__)
        answer = super().handle_error(request, status, exc, message)
        if not self._answers_faults:
            raise UnansweredError
        return answer


class _Site(web.BaseSite):
    """As aiohttp's TCPSite, whose connections have all the time in the world."""

    def __init__(
        self,
        runner: web.AppRunner,
        place: tuple[str, int],
        connect: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(runner, backlog=1024)
        self._place = place
        self._connect = connect
        self._tls = tls

    @property
    def name(self) -> str:
        host, port = self._place
        return f"{'http' if self._tls is None else 'https'}://{host}:{port}"

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        handshake = None if self._tls is None else HEAD_SECONDS
        self._server = await loop.create_server(
            self._connect, *self._place, backlog=self._backlog, ssl=self._tls, ssl_handshake_timeout=handshake
        )


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Connection(asyncio.Protocol):
    """Hands everything on to aiohttp's handler, and ends the connection where the head of a request does not end."""

    __slots__ = ("_all", "_begun", "_handler", "_running", "_seconds", "_timer", "_transport")

    def __init__(self, handler: web.RequestHandler, every: "dict[object, _Connection]", seconds: float) -> None:
        self._handler = handler
        self._all = every
        self._seconds = seconds
        self._begun = 0
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.BaseTransport | None = None

    def request_begins(self) -> None:
        """The head of a request is there."""
        self._begun += 1
        self._running += 1
        self._cancel()

    def request_ends(self) -> None:
        self._running -= 1

    def end(self) -> None:
        """Closes the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._all[self._handler] = self
        self._handler.connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        self._handler.data_received(data)
        if self._timer is None and not self._running:
            self._wait_for_head()

    def eof_received(self) -> None:
        self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        self._all.pop(self._handler, None)
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def _wait_for_head(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._too_slow, self._begun)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self, begun: int) -> None:
        self._timer = None
        if self._begun == begun and self._transport is not None:
            self._transport.close()

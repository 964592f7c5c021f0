"""The HTTP server of the admin endpoint. Who answers its questions is the `Backend`."""

import asyncio
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import structlog
from aiohttp import hdrs, web
from prometheus_client import Counter

from mailpush.admin.routes import LISTENERS, REGISTRATIONS
from mailpush.http.basicauth import authorized

REQUESTS: Final = Counter("mailpush_admin_requests", "Requests to the admin endpoint.", ["outcome"])
TELL_EVERY_SECONDS: Final = 10.0
MAX_BODY: Final = 4096

log = structlog.get_logger(__name__)


class Running(NamedTuple):
    """A listener that runs."""

    context: int
    user: int
    permanent: bool


class Registration(NamedTuple):
    """A client that a push user is registered with."""

    context: int
    user: int
    client: str


class AdminError(Exception):
    """It cannot be done. The sentence goes to whoever asked."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Backend(Protocol):
    """What an endpoint can tell and do. Each may raise AdminError."""

    async def listeners(self) -> Iterable[Running]: ...

    async def registrations(self) -> Iterable[Registration]: ...

    async def unregister(self, context: int, user: int, client: str) -> bool:
        """Whether there was such a registration."""
        ...


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """Who is let in, and the server's certificate and key in PEM. Without a login nobody is.

    Plain HTTP only where both are None: one that is empty is one that is missing, and then nothing is served.
    """

    login: str = ""
    password: str = field(default="", repr=False)
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)

    @property
    def pair(self) -> tuple[str | None, str | None]:
        return self.certificate, self.key


class AdminServer:
    """Serves from `start` to `close`.

    Args:
        missing: the sentence for the log where somebody asks and no login is set: which field to set.
    """

    def __init__(
        self, backend: Backend, access: AdminAccess, missing: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backend = backend
        self._access = access
        self._missing = missing
        self._clock = clock
        self._told = float("-inf")
        self._changing = asyncio.Lock()
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.router.add_get(LISTENERS, self._listeners)
        app.router.add_get(REGISTRATIONS, self._registrations)
        # Without a client nothing can fit, as in OX; so it is no error either.
        app.router.add_delete(REGISTRATIONS + "/{context:-?[0-9]{1,10}}/{user:-?[0-9]{1,10}}", self._unregister)
        app.router.add_delete(
            REGISTRATIONS + "/{context:-?[0-9]{1,10}}/{user:-?[0-9]{1,10}}/{client:[^/]+}", self._unregister
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None
        self._host: str | None = None
        self.port = 0

    @property
    def serving(self) -> bool:
        return self._site is not None

    async def start(self, host: str, port: int) -> int:
        """Listens and gives the port; 0 takes any that is free. Where it fails, `use` tries it again.

        Raises:
            OSError: the address cannot be had, or (ssl.SSLError) certificate and key do not fit.
        """
        self._host, self.port = host, port
        await self._runner.setup()
        await self._listen(_context(self._access))
        return self.port

    async def use(self, access: AdminAccess) -> None:
        """What counts from now on. Another certificate ends the connections that are open.

        Raises:
            OSError: as `start`. The certificate of before stays, if there is one.
        """
        async with self._changing:
            before, self._access = self._access, access
            if self._host is None or (self.serving and before.pair == access.pair):
                return
            try:
                context = _context(access)
            except OSError:
                self._access = AdminAccess(access.login, access.password, *before.pair)
                raise
            if self._site is not None:
                site, self._site = self._site, None
                await site.stop()
            await self._listen(context)

    async def close(self) -> None:
        self._site = None
        await self._runner.cleanup()

    async def _listen(self, context: ssl.SSLContext | None) -> None:
        site = web.TCPSite(self._runner, self._host, self.port, ssl_context=context)
        await site.start()
        self._site = site
        self.port = self._runner.addresses[0][1]
        log.info("admin_serves", address=self._host, port=self.port, tls=context is not None)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Before anything else: who asks. It stands before the routes, so that nobody learns of those either."""
        access = self._access
        if not authorized(request.headers.get(hdrs.AUTHORIZATION), access.login, access.password):
            REQUESTS.labels("unauthorized").inc()
            self._tell_refused(request)
            return _error(401, "Authentication failed", {hdrs.WWW_AUTHENTICATE: 'Basic realm="mail-push admin"'})
        try:
            answer = await handler(request)
        except AdminError as error:
            REQUESTS.labels("refused").inc()
            return _error(error.status, error.sentence)
        except web.HTTPException as error:
            REQUESTS.labels("refused").inc()
            return _error(error.status, f"{error.reason}: {request.method} {request.path}")
        REQUESTS.labels("answered").inc()
        return answer

    def _tell_refused(self, request: web.Request) -> None:
        now = self._clock()
        if now - self._told < TELL_EVERY_SECONDS:
            return
        self._told = now
        known = self._access.login and self._access.password
        log.warning("admin_refused", remote=request.remote, why="wrong login or password" if known else self._missing)

    async def _listeners(self, request: web.Request) -> web.Response:
        rows = await self._backend.listeners()
        return web.json_response({"listeners": [row._asdict() for row in rows]})

    async def _registrations(self, request: web.Request) -> web.Response:
        rows = await self._backend.registrations()
        return web.json_response({"registrations": [row._asdict() for row in rows]})

    async def _unregister(self, request: web.Request) -> web.Response:
        context, user = int(request.match_info["context"]), int(request.match_info["user"])
        client = request.match_info.get("client")
        if client is None:
            return web.json_response({"deleted": False})
        deleted = await self._backend.unregister(context, user, client)
        log.info("admin_unregister", context=context, user=user, client=client[:64], deleted=deleted)
        return web.json_response({"deleted": deleted})


def _context(access: AdminAccess) -> ssl.SSLContext | None:
    if access.pair == (None, None):
        return None
    if not access.certificate or not access.key:
        raise ssl.SSLError("TLS is asked for, but the certificate or its key is missing")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Python reads keys from files only; this one is ours alone and gone at once.
    with tempfile.TemporaryDirectory(prefix="mail-push-") as folder:
        path = Path(folder) / "pair.pem"
        path.touch(mode=0o600)
        path.write_text(f"{access.certificate}\n{access.key}\n")
        context.load_cert_chain(path)
    return context


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": sentence}, status=status, headers=headers)

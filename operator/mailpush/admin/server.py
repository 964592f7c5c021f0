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

from mailpush.admin.bulk import ImportRoute
from mailpush.admin.credentials import CredentialRoutes, Credentials, is_private
from mailpush.admin.errors import AdminError
from mailpush.admin.routes import CREDENTIALS, LISTENERS, REGISTRATIONS
from mailpush.http.basicauth import authorized
from mailpush.http.logins import LoginGuard
from mailpush.http.server import WebServer

REQUESTS: Final = Counter("mailpush_admin_requests", "Requests to the admin endpoint.", ["outcome"])
LOG_EVERY_SECONDS: Final = 10.0
MAX_BODY: Final = 4096
MOST_CONNECTIONS: Final = 64

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


class Backend(Protocol):
    """What an endpoint can report and do. Each may raise AdminError."""

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
        credentials: what it puts passwords into; None where another endpoint does.
        private: whether a password may come over a request's connection.
    """

    def __init__(
        self,
        backend: Backend,
        access: AdminAccess,
        missing: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        logins: LoginGuard | None = None,
        credentials: Credentials | None = None,
        private: Callable[[web.Request], bool] = is_private,
    ) -> None:
        self._logins = LoginGuard(clock=clock) if logins is None else logins
        self._backend = backend
        self._access = access
        self._missing = missing
        self._clock = clock
        self._logged = float("-inf")
        self._changing = asyncio.Lock()
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.router.add_get(LISTENERS, self._listeners)
        app.router.add_get(REGISTRATIONS, self._registrations)
        # Without a client, or with an empty one, nothing can fit, as in OX; so it is no error either.
        app.router.add_delete(REGISTRATIONS + "/{context:-?[0-9]{1,10}}/{user:-?[0-9]{1,10}}", self._unregister)
        app.router.add_delete(
            REGISTRATIONS + "/{context:-?[0-9]{1,10}}/{user:-?[0-9]{1,10}}/{client:[^/]*}", self._unregister
        )
        if credentials is not None:
            CredentialRoutes(credentials, private).add_to(app.router)
            ImportRoute(credentials, private).add_to(app.router)
        else:
            app.router.add_route("*", CREDENTIALS + "{rest:.*}", _ask_a_pod)
        self._server = WebServer(app, most=MOST_CONNECTIONS)
        self._host: str | None = None
        self._port = 0

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def serving(self) -> bool:
        return self._server.serving

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port; 0 takes any that is free. After a failure, `use` tries again.

        Raises:
            OSError: the address cannot be had, or (ssl.SSLError) certificate and key do not fit.
        """
        self._host, self._port = host, port
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
            await self._server.pause()
            await self._listen(context)

    async def close(self) -> None:
        await self._server.close()

    async def _listen(self, context: ssl.SSLContext | None) -> None:
        assert self._host is not None  # noqa: S101 - set by start
        self._port = await self._server.start(self._host, self._port, context)
        log.info("admin_serves", address=self._host, port=self._port, tls=context is not None)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Before anything else: who asks. It stands before the routes, so that nobody learns of those either."""
        access = self._access
        if not self._logins.lets_try(request.remote):
            REQUESTS.labels("throttled").inc()
            return _closing(_error(429, "Too many wrong logins: try again in a minute"))
        if not authorized(request.headers.get(hdrs.AUTHORIZATION), access.login, access.password):
            REQUESTS.labels("unauthorized").inc()
            self._log_refused(request)
            self._logins.refused(request.remote)
            await self._logins.delay()
            challenge: dict[str, str] = {hdrs.WWW_AUTHENTICATE: 'Basic realm="mail-push admin"'}
            return _closing(_error(401, "Authentication failed", challenge))
        self._logins.accepted(request.remote)
        try:
            answer = await handler(request)
        except AdminError as error:
            REQUESTS.labels("refused").inc()
            headers: dict[str, str] = {}
            if error.retry_after is not None:
                headers[hdrs.RETRY_AFTER] = str(error.retry_after)
            answer = _error(error.status, error.sentence, headers)
            return answer if request.content.at_eof() else _closing(answer)  # a body that nobody reads
        except web.HTTPException as error:
            REQUESTS.labels("refused").inc()
            return _error(error.status, f"{error.reason}: {request.method} {request.path}")
        REQUESTS.labels("answered").inc()
        return answer

    def _log_refused(self, request: web.Request) -> None:
        now = self._clock()
        if now - self._logged < LOG_EVERY_SECONDS:
            return
        self._logged = now
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
        if not client:
            return web.json_response({"deleted": False})
        deleted = await self._backend.unregister(context, user, client)
        log.info("admin_unregister", context=context, user=user, client=client[:64], deleted=deleted)
        return web.json_response({"deleted": deleted})


async def _ask_a_pod(request: web.Request) -> web.StreamResponse:
    raise AdminError(404, "No credentials are put here: ask a listener pod (credentialStorage of the MailPushConfig)")


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


def _closing(response: web.Response) -> web.Response:
    """Each further try takes a connection of its own."""
    response.force_close()
    return response


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": sentence}, status=status, headers=headers)

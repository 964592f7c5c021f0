"""The callback endpoint: Dovecot's OX driver reports each new mail here, as it does to OX's middleware.

Dovecot holds the LMTP delivery open until it has the answer, and never repeats what it got an answer to, whatever the
status. So nothing here waits for anybody: authorise, read, journal, answer. A request that was not read whole, or that
there is no room for, has no answer: its connection ends, and Dovecot sends it once more, 100 ms later and on a new
connection, maybe to another pod.
"""

import asyncio
import time
from typing import Any, Final, Protocol

import structlog
from aiohttp import hdrs, web

from mailpush.http import basicauth
from mailpush.http.server import MalformedBodyError, UnansweredError, WebServer, read_beginning
from mailpush.listener.mails import metrics
from mailpush.listener.mails.calls import CallRecord
from mailpush.names import CALLBACK_PATH
from mailpush.notifications.callback import (
    MAX_BODY,
    MAX_SENT,
    CallbackError,
    IgnoredEvent,
    UnknownUserForm,
    parse_callback,
)
from mailpush.notifications.notification import NewMail
from mailpush.properties.settings import CallbackSettings
from mailpush.work.clock import Clock
from mailpush.work.pace import Sleep

IDLE_SECONDS: Final = 2.0
"""How long a connection may rest. Dovecot keeps one for each LMTP process, and the first mail on each that leads to a
node that is gone waits for a timeout; with this only those do that were in use just then (docs/decisions/0012)."""
QUIET_SECONDS: Final = 2.0
"""For so long no callback may have come before the port may close: Dovecot holds up deliveries after a refusal."""
SILENT_SECONDS: Final = 10.0
"""So long no second log line says that a request was no HTTP."""

log = structlog.get_logger(__name__)


class MailQueue(Protocol):
    """The part of the inbox that is needed here."""

    def offer(self, mail: NewMail) -> bool:
        """Takes a new mail at once; False when there is no room."""


class CallbackLogin(Protocol):
    """Knows the login of Dovecot's callbacks: the applied settings."""

    def callback_login(self) -> CallbackSettings:
        """The login that counts now; an empty one lets nobody in."""


class KnowsLogins(Protocol):
    """Finds the user whom a callback names by login: the applied settings."""

    @property
    def named_by_login(self) -> bool: ...

    @property
    def knows_users(self) -> bool: ...

    def user_by_login(self, login: str) -> tuple[int, int] | None: ...


class Ingress:
    """Answers as OX does: 200 `{"success": true}` also for users and events that it does not know; 400 for a whole body
    that is no callback; 401 without the right login; nothing, at once, when there is no room.
    """

    def __init__(
        self,
        login: CallbackLogin,
        queue: MailQueue,
        *,
        logins: KnowsLogins | None = None,
        calls: CallRecord | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._login = login
        self._queue = queue
        self._logins = logins
        self._calls = calls or CallRecord()
        self._clock = clock
        self._sleep = sleep
        self._asked_at = float("-inf")
        self._silent_until = float("-inf")
        self._draining = False
        app = web.Application(client_max_size=MAX_SENT)
        app.router.add_put(CALLBACK_PATH, self._callback)
        app.router.add_get("/readyz", self._ready)
        app.on_response_prepare.append(self._close_when_draining)
        self._server = WebServer(app, unreadable=self._unreadable, answers_faults=False, keep_alive=IDLE_SECONDS)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def connections(self) -> int:
        """Those that are open."""
        return self._server.connections

    @property
    def draining(self) -> bool:
        return self._draining

    async def start(self, host: str, port: int) -> int:
        """Listens and gives the port. Raises OSError."""
        return await self._server.start(host, port)

    def drain(self) -> None:
        """Not ready from now on, but still takes callbacks; each answer ends its connection, so that Dovecot goes to
        another pod with the next.
        """
        self._draining = True

    async def linger(self, least: float, most: float) -> None:
        """Waits until callbacks go elsewhere, at least and at most so many seconds.

        A Service may lead here for a while after the pod has begun to end, the longer the busier the nodes are.
        """
        begun = self._clock()
        await self._sleep(least)
        while (now := self._clock()) < begun + most and now < self._asked_at + QUIET_SECONDS:
            await self._sleep(min(self._asked_at + QUIET_SECONDS, begun + most) - now)

    async def close(self) -> None:
        await self._server.close()

    async def _ready(self, request: web.Request) -> web.Response:
        if self._draining:
            return web.Response(status=503, text="draining\n")
        if self._logins is not None and self._logins.named_by_login and not self._logins.knows_users:
            return web.Response(status=503, text="the users are being read\n")
        return web.Response(text="ok\n")

    async def _callback(self, request: web.Request) -> web.Response:
        self._asked_at = self._clock()
        if not authorized(request.headers.get(hdrs.AUTHORIZATION), self._login.callback_login()):
            challenge: dict[str, str] = {hdrs.WWW_AUTHENTICATE: 'Basic realm="mail-push"'}
            # Each login is checked, and at once: Dovecot holds a delivery open, and never repeats a callback that was
            # answered. Whoever guesses needs a connection for each try.
            return _closing(self._answer("unauthorized", 401, "wrong login", challenge))
        try:
            return self._read(await read_beginning(request, MAX_BODY + 1, MAX_SENT))
        except web.HTTPRequestEntityTooLarge:
            return _closing(self._answer("too_large", 413, f"more than {MAX_SENT} bytes"))  # the rest is not read
        except TimeoutError:
            outcome = "too_slow"
        except MalformedBodyError:
            outcome = "broken_off"
        metrics.CALLBACKS.labels(outcome).inc()
        log.warning("callback_unanswered", why=outcome, draining=self._draining)
        self._calls.unanswered()
        raise UnansweredError

    def _by_login(self, login: str) -> tuple[int, int] | None:
        return None if self._logins is None else self._logins.user_by_login(login)

    def _read(self, body: bytes) -> web.Response:
        if not body.strip():
            return self._malformed("missing request body")
        try:
            return self._take(parse_callback(body, time.time(), by_login=self._by_login))
        except CallbackError as error:
            return self._malformed(str(error))

    def _malformed(self, error: str) -> web.Response:
        """Logged, since Dovecot does not repeat it: whatever mail it was, nobody is notified of it."""
        log.warning("callback_malformed", error=error, draining=self._draining)
        return self._answer("malformed", 400, error)

    def _unreadable(self, error: str) -> None:
        metrics.CALLBACKS.labels("unreadable").inc()
        if (now := self._clock()) >= self._silent_until:  # whoever can reach the port may cause as many as he likes
            self._silent_until = now + SILENT_SECONDS
            log.warning("callback_unreadable", error=error, draining=self._draining)

    def _take(self, event: NewMail | IgnoredEvent | UnknownUserForm) -> web.Response:
        match event:
            case IgnoredEvent():
                return self._answer("other_event")
            case UnknownUserForm() if self._logins is not None and self._logins.named_by_login:
                return self._answer("unknown_login")
            case UnknownUserForm():
                log.warning(
                    "callback_user_form",
                    hint="Dovecot's driver needs user_from_metadata, or the MailPushConfig dovecot.userForm: login",
                )
                return self._answer("unknown_user_form")
            case NewMail():
                if not self._queue.offer(event):
                    metrics.CALLBACKS.labels("full").inc()
                    self._calls.unanswered()
                    raise UnansweredError
                return self._answer("accepted")

    def _answer(
        self, outcome: str, status: int = 200, error: str | None = None, headers: dict[str, str] | None = None
    ) -> web.Response:
        metrics.CALLBACKS.labels(outcome).inc()
        self._calls.note(outcome)
        content: dict[str, Any] = {"success": True} if error is None else {"success": False, "error": error}
        return web.json_response(content, status=status, headers=headers)

    async def _close_when_draining(self, request: web.Request, response: web.StreamResponse) -> None:
        if self._draining:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"  # at this point aiohttp has chosen its own already


def authorized(header: str | None, settings: CallbackSettings) -> bool:
    """Whether `header` is the basic authentication (RFC 7617) of `settings`, in a time that says nothing about it."""
    return basicauth.authorized(header, settings.login, settings.password)


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response

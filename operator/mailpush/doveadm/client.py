"""Asks doveadm's HTTP API: what is asked at the same time goes together, in few requests."""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol
from urllib.parse import urlsplit

import httpx
import structlog

from mailpush.doveadm.access import PARALLEL, DoveadmAccess
from mailpush.doveadm.answers import Command, Failed, Rows, parse, request
from mailpush.doveadm.endpoints import Endpoints
from mailpush.doveadm.errors import (
    CommandFailedError,
    DoveadmError,
    DoveadmRefusedError,
    DoveadmUnauthorizedError,
    DoveadmUnreachableError,
    LoginUnusableError,
    NoSuchUserError,
)
from mailpush.doveadm.metrics import COMMANDS
from mailpush.http.lookups import LookedUp
from mailpush.work.clock import Clock, boottime
from mailpush.work.lookups import Lookups

log = structlog.get_logger(__name__)

BATCH: Final = 50
"""Commands of one request at most. Dovecot runs them one after another: more would not be faster."""
MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an answer that are read."""
LONGEST_READS: Final = 6.0
"""An answer may take so many times the longest pause between two parts of it."""
UNAUTHORIZED_SECONDS: Final = 30.0
"""For so long after a refused key nothing is asked: it would be refused again."""
CHANGED: Final = "the settings of doveadm have changed"
EX_NOUSER: Final = 67
PATTERNS: Final = frozenset("*?")
"""doveadm takes a user with one of these for a pattern, and does its command to every user that fits."""

_LOOKUPS: Final = Lookups(2, kept=5.0, failed=1.0)


class Doveadm(Protocol):
    """What asks doveadm."""

    async def ask(self, command: str, user: str, **parameters: Any) -> Rows:
        """The rows that a command gives for a user, in the API's spelling: `ask("mailboxMetadataGet", "u3", key=...)`.

        Each command may be sent twice, so it must do no harm then.

        Raises:
            DoveadmError: it has no result.
        """
        ...


@dataclass(slots=True)
class _Asked:
    command: Command
    answer: asyncio.Future[Rows]


class DoveadmClient:
    """Belongs to one event loop. Follows no redirect, asks no proxy of the environment, and reads little.

    What waits while all requests are under way goes with the next one. Where an answer takes too long the next requests
    are smaller, down to a single command, so that one mailbox that hangs holds up only itself.
    """

    def __init__(self, access: DoveadmAccess, clock: Clock = boottime) -> None:
        self._access = access
        self._clock = clock
        self._endpoints = Endpoints(access.endpoints, access.rest_seconds, clock)
        self._waiting: deque[_Asked] = deque()
        self._workers: set[asyncio.Task[None] | None] = set()
        self._batch = BATCH
        self._locked_out_until = float("-inf")
        self._locked_out = ""
        self._client: httpx.AsyncClient | None = None
        self._closed = False
        self.trouble = ""
        """What keeps all users from doveadm, in a word; empty where nothing does."""

    async def ask(self, command: str, user: str, **parameters: Any) -> Rows:
        """As `Doveadm.ask`."""
        if not user or not PATTERNS.isdisjoint(user):
            raise LoginUnusableError(
                "doveadm is not asked for a login with * or ?, which it takes for a pattern of many logins: give the "
                "PushUser another login"
            )
        if self._closed:
            raise DoveadmUnreachableError(CHANGED)
        asked = _Asked(Command(command, user, parameters), asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if len(self._workers) < self._access.connections:
            self._workers.add(asyncio.create_task(self._work()))
        return await asked.answer

    async def close(self) -> None:
        """Ends it: who waits is told to come again."""
        self._closed = True
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._fail(self._waiting, DoveadmUnreachableError(CHANGED))
        if self._client is not None:
            await self._client.aclose()

    async def _work(self) -> None:
        try:
            while batch := self._take():
                await self._do(batch)
        finally:
            # Here, and not when the task is seen to have ended: whoever asks until then would wait for nobody.
            self._workers.discard(asyncio.current_task())

    async def _do(self, batch: list[_Asked]) -> None:
        try:
            outcomes = await self._ask([one.command for one in batch])
        except DoveadmError as error:
            self._troubled(error)
            COMMANDS.labels(error.reason).inc(len(batch))
            self._fail(batch, error)
        except asyncio.CancelledError:
            self._fail(batch, DoveadmUnreachableError(CHANGED))
            raise
        except Exception as error:  # a fault of ours must not leave anybody waiting for ever
            # Without its text, which may hold what was sent.
            log.error("doveadm_fault", error=type(error).__name__)  # noqa: TRY400
            self._fail(batch, DoveadmRefusedError(f"a fault in mail-push ({type(error).__name__})"))
        else:
            self._well()
            for one, outcome in zip(batch, outcomes, strict=True):
                self._answer(one, outcome)

    def _take(self) -> list[_Asked]:
        batch: list[_Asked] = []
        while self._waiting and len(batch) < self._batch:
            one = self._waiting.popleft()
            if not one.answer.done():  # who asked has gone
                batch.append(one)
        return batch

    @staticmethod
    def _answer(one: _Asked, outcome: Rows | Failed) -> None:
        if one.answer.done():
            return
        if not isinstance(outcome, Failed):
            COMMANDS.labels("done").inc()
            one.answer.set_result(outcome)
            return
        error = _error(one.command, outcome)
        COMMANDS.labels(error.reason).inc()
        one.answer.set_exception(error)

    @staticmethod
    def _fail(batch: Sequence[_Asked] | deque[_Asked], error: DoveadmError) -> None:
        for one in batch:
            if not one.answer.done():
                one.answer.set_exception(type(error)(*error.args))

    def _troubled(self, error: DoveadmError) -> None:
        if self.trouble != error.reason:
            log.warning("doveadm_degraded", reason=error.reason, meaning=str(error))
        self.trouble = error.reason

    def _well(self) -> None:
        if self.trouble:
            log.info("doveadm_recovered")
        self.trouble = ""

    # -- one request

    async def _ask(self, commands: Sequence[Command]) -> list[Rows | Failed]:
        """What became of each. Raises DoveadmError of the server's."""
        if self._clock() < self._locked_out_until:
            raise DoveadmUnauthorizedError(self._locked_out)
        content = request(commands)
        for last in range(len(self._endpoints), 0, -1):
            url = self._endpoints.next()
            try:
                status, body = await self._post(url, content)
            except (TimeoutError, httpx.ReadTimeout):
                # Which may be one user's mailbox: the endpoint is asked on, and the others are kept from it.
                self._batch = max(1, len(commands) // 2)
                self._unreachable(url, f"does not answer within {self._access.read_seconds:g} s")
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
                self._failed(url, _words(error), last=last == 1)
                continue
            if status >= 500:
                self._failed(url, f"answers {status}", last=last == 1)
                continue
            self._endpoints.worked(url)
            outcomes = self._outcomes(url, status, body, len(commands))
            self._batch = min(BATCH, self._batch + 1)
            return outcomes
        raise AssertionError("there is at least one endpoint")

    async def _post(self, url: str, content: bytes) -> tuple[int, bytes]:
        access = self._access
        if self._client is None:
            self._client = _client(access)
        async with asyncio.timeout(access.connect_seconds + LONGEST_READS * access.read_seconds):
            async with self._client.stream("POST", url, content=content) as answer:
                read = bytearray()
                if "content-encoding" not in answer.headers:  # we asked for none: a few bytes can become gigabytes
                    async for chunk in answer.aiter_raw():
                        read += chunk
                        if len(read) > MAX_ANSWER:
                            read.clear()
                            break
                return answer.status_code, bytes(read)

    def _outcomes(self, url: str, status: int, body: bytes, commands: int) -> list[Rows | Failed]:
        if status in (401, 403):
            self._locked_out_until = self._clock() + UNAUTHORIZED_SECONDS
            self._locked_out = (
                f"doveadm at {_place(url)} does not take the key ({status}): put Dovecot's doveadm_api_key into the "
                "Secret of mailAccess.doveadm.apiSecretRef, or its doveadm_password with authentication: password"
            )
            raise DoveadmUnauthorizedError(self._locked_out)
        if status != 200:
            raise DoveadmRefusedError(
                f"what answers at {_place(url)} is no doveadm HTTP API ({status}): see mailAccess.doveadm.endpoints, "
                "such as http://dovecot:8080/doveadm/v1"
            )
        try:
            return parse(body, commands)
        except ValueError:
            if commands > 1:
                self._batch = max(1, commands // 2)  # too long, it may be
            raise DoveadmRefusedError(
                f"doveadm at {_place(url)} answers with what cannot be read, or is longer than {MAX_ANSWER} bytes"
            ) from None

    def _failed(self, url: str, words: str, *, last: bool) -> None:
        """The endpoint rests, and the next is asked, unless this was the last."""
        self._endpoints.failed(url, f"doveadm at {_place(url)} {words}")
        if last:
            self._unreachable(url, words)

    def _unreachable(self, url: str, words: str) -> NoReturn:
        raise DoveadmUnreachableError(f"doveadm at {_place(url)} {words}") from None


def _error(command: Command, failed: Failed) -> DoveadmError:
    if failed.kind == "exitCode" and failed.exit_code == EX_NOUSER:
        return NoSuchUserError(
            f'Dovecot knows no user "{command.user}": see the PushUser\'s spec.login and mailAccess.loginSource'
        )
    if failed.kind == "exitCode":
        return CommandFailedError(failed.exit_code)
    return DoveadmRefusedError(f"Dovecot does not know doveadm's command {command.name} ({failed.kind})")


def _client(access: DoveadmAccess) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(
        verify=ssl.create_default_context(cadata=access.ca_pem),
        trust_env=False,
        # Dovecot ends the connection after each answer.
        limits=httpx.Limits(max_connections=PARALLEL, max_keepalive_connections=0),
    )
    transport._pool._network_backend = LookedUp(_LOOKUPS)  # httpx has no argument for it
    headers: Mapping[str, str] = {
        "authorization": access.authorization,
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": "mail-push",
    }
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        headers=headers,
        timeout=httpx.Timeout(access.read_seconds, connect=access.connect_seconds, pool=None),
    )


def _words(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "has a certificate that is not trusted: see mailAccess.doveadm.caSecretRef"
        if isinstance(cause, ssl.SSLError):
            return "speaks no TLS that we do: see whether the endpoint is https or http"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout):
        return "takes no connection in time"
    if isinstance(error, httpx.ConnectError):
        return "takes no connection, or its name is not known"
    return "breaks off the connection"


def _place(url: str) -> str:
    place = urlsplit(url)
    return f"{place.hostname}:{place.port}" if place.port else str(place.hostname)

"""Webhooks as the Standard Webhooks specification has them (docs/webhook.md)."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final

import httpx

from mailpush.notifications.notification import Content
from mailpush.notifications.transports.base import Accepted, Outcome, Refused, TryLater
from mailpush.notifications.transports.lookups import OwnLookups

MAX_ANSWER: Final = 64 * 1024  # bytes of an answer's body read to keep the connection; more, and it is closed
MAX_RETRY_AFTER: Final = 3600.0

_OF_THE_MAIL: Final = frozenset({400, 409, 413, 415, 422})
"""What a receiver says of the message; any other refusal is of the address, the login or the moment."""
_NAMED: Final = _OF_THE_MAIL | {401, 403, 404, 405, 407}
_WORDS: Final = {410: "gone", 429: "throttled"}

for _name in ("httpx", "httpcore"):  # they log whole URLs, and a webhook's URL often is a secret
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """One receiver of notifications.

    `secret`: the raw HMAC key; None sends without a signature. `matches`: whether the target wants a client id.
    `timeout`: seconds for one try.
    `ttl`: seconds for which a notification is tried. `queue_bound`: notifications waiting or on their way.
    `workers`: tries at a time. `ca_pem`: certificates to trust in place of the system's.

    Raises:
        ValueError: a field that cannot work; the text names the field.
    """

    name: str
    url: str = field(repr=False)
    secret: bytes | None = field(repr=False)
    matches: Callable[[str], bool] = field(repr=False)
    timeout: float = 5.0
    queue_bound: int = 10_000
    ttl: float = 900.0
    content: Content = "headers"
    workers: int = 8
    ca_pem: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f'target "{self.name}": url must begin with https:// or http://')
        if self.secret is not None and not self.secret:
            raise ValueError(
                f'target "{self.name}": secret is empty, so no receiver could know our requests from others'
            )
        if not (0 < self.timeout <= 60 and self.ttl > 0 and self.queue_bound > 0 and self.workers > 0):
            raise ValueError(f'target "{self.name}": timeout, ttl, queue_bound and workers must be above 0')


def sign(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature`: HMAC-SHA256 of `<id>.<timestamp>.<body>`."""
    digest = hmac.new(secret, f"{id}.{timestamp}.".encode("ascii") + body, sha256).digest()
    return f"v1,{b64encode(digest).decode('ascii')}"


class WebhookTransport:
    """Posts to one target. It follows no redirect, uses no proxy from the environment and reads little."""

    def __init__(self, target: WebhookTarget, now: Callable[[], float] = time.time) -> None:
        self._target = target
        self._now = now
        self._under_way = 0
        self._idle = asyncio.Event()
        secure = target.url.startswith("https://")
        transport = httpx.AsyncHTTPTransport(
            verify=_context(target.ca_pem) if secure else False,
            trust_env=False,
            limits=httpx.Limits(max_connections=target.workers, max_keepalive_connections=target.workers),
        )
        transport._pool._network_backend = OwnLookups()  # httpx has no argument for it
        self._client = httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - send() has one deadline for the whole try
        )

    async def send(self, id: str, body: bytes) -> Outcome:
        self._under_way += 1
        try:
            return await self._post(id, body)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _post(self, id: str, body: bytes) -> Outcome:
        timestamp = int(self._now())
        headers = {
            "content-type": "application/json",
            "user-agent": "mail-push",
            "accept-encoding": "identity",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
        }
        if self._target.secret is not None:
            headers["webhook-signature"] = sign(self._target.secret, id, timestamp, body)
        answer: httpx.Response | None = None
        failed = TryLater("timeout")
        try:
            async with (
                asyncio.timeout(self._target.timeout),
                self._client.stream("POST", self._target.url, content=body, headers=headers) as answer,
            ):
                await _drain(answer)
        except TimeoutError:
            pass
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
            failed = TryLater(failure(error))
        # An answer whose body broke off is an answer all the same: sending again would notify twice.
        return failed if answer is None else judge(answer.status_code, answer.headers.get("retry-after"), self._now())

    async def close(self) -> None:
        """Waits for running tries, at most the target's timeout: a try that is cut off might notify twice."""
        while self._under_way:
            self._idle.clear()
            await self._idle.wait()
        await self._client.aclose()


def judge(status: int, retry_after: str | None, now: float) -> Outcome:
    """The outcome of a status: 2xx is accepted, what a receiver says of the message itself is a refusal.

    All else is retried until the message expires, since an administrator can mend it: a wrong secret (401, 403), a
    wrong address (404, 405, 410), a redirect. That is not followed: it would take the message where nobody has
    configured it to go. A retry has the same id, so a receiver that has taken the message in spite of its answer can
    tell.
    """
    if 200 <= status < 300:
        return Accepted()
    if status in _OF_THE_MAIL:
        return Refused(f"http_{status}")
    if status < 400:
        reason = "redirect"
    else:
        reason = _WORDS.get(status, f"http_{status}" if status in _NAMED else f"http_{status // 100}xx")
    return TryLater(reason, after=_seconds(retry_after, now))


def failure(error: BaseException) -> str:
    """What has kept a request from its answer, in a word: the cause of an error of the HTTP client."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "certificate"
        if isinstance(cause, ssl.SSLError):
            return "tls"
        if isinstance(cause, socket.gaierror):
            return "dns"
        cause = cause.__cause__ or cause.__context__
    return "connection"


def _seconds(retry_after: str | None, now: float) -> float | None:
    """`Retry-After` in either of its forms (RFC 9110), bounded; None for what is neither."""
    if not retry_after:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - now, 0.0), MAX_RETRY_AFTER)
    except (ValueError, OverflowError):
        return None


async def _drain(answer: httpx.Response) -> None:
    read = 0
    async for chunk in answer.aiter_raw():
        read += len(chunk)
        if read > MAX_ANSWER:
            return


@lru_cache(maxsize=16)
def _context(ca_pem: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca_pem)

"""How one pod hands a new mail to another: a signed POST of one event (`/internal/v1/events`), and what came of it.

What answers may be anybody: a proxy, another pod that has the address by now. So an answer that ends the mail, or sends
it elsewhere, counts only with the signature of a pod that has the key; whatever else comes, the mail stays here.
"""

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from mailpush.listener.mails.signing import (
    ANSWER_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Asked,
    HandoverKeys,
    KeyUnavailableError,
    sign,
)
from mailpush.names import INTERNAL_EVENTS_PATH
from mailpush.notifications.notification import NewMail
from mailpush.work.clock import Clock
from mailpush.work.lookups import Lookups

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 2.0
UNAUTHORIZED: Final = 401
LOOKUPS: Final = Lookups(8, kept=0.0, failed=0.0)
"""Of pods' names: they wait for no mail server's."""
_ANSWER_BYTES: Final = 4096

encode_mail = msgspec.json.Encoder().encode


class KnownPods(Protocol):
    """Knows the pods of this MailPushConfig: the shards."""

    def stands(self, pod: str) -> bool:
        """Whether the shard map names the pod."""

    def signs(self, pod: str) -> bool:
        """Whether the pod signs its answers; those of an older version do not."""


class PeerVerdict(Enum):
    """What another pod has done with a mail that was handed to it."""

    TAKEN = "taken"
    NOT_MINE = "not_mine"
    UNKNOWN_USER = "unknown_user"
    BUSY = "busy"  # it is well, and has no room for this user's mails at the moment
    REFUSED = "refused"  # full, or none of its keys is ours: it takes nothing now
    UNREACHABLE = "unreachable"  # no answer, or one that is not known to be its own


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """`owner`: the pod that has the user, as the one that does not have it knows it; always one of the map.

    `why`: for the log, where the verdict alone does not say it.
    """

    verdict: PeerVerdict
    owner: str | None = None
    why: str = field(default="", compare=False)


class _Body(msgspec.Struct):
    outcome: str = ""
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    signed: bool


_decode = msgspec.json.Decoder(_Body).decode


class Peers:
    """The client. One per process, made and closed within the event loop.

    Args:
        url: where the pod of a name takes events, without a path.
    """

    def __init__(
        self,
        url: Callable[[str], str],
        key: HandoverKeys,
        pods: KnownPods,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        now: Clock = time.time,
    ) -> None:
        self._url = url
        self._key = key
        self._pods = pods
        self._now = now
        # A pod that comes again has another address, so names are not remembered; connections are.
        self._session = ClientSession(
            connector=TCPConnector(limit=0, use_dns_cache=False, resolver=_Resolver(LOOKUPS)),
            timeout=ClientTimeout(total=answer_seconds, connect=min(connect_seconds, answer_seconds)),
            auto_decompress=False,
            cookie_jar=DummyCookieJar(),
        )

    async def post(self, pod: str, mail: NewMail) -> PeerAnswer:
        """Hands `mail` to `pod`. Never raises for anything that `pod` or the network does."""
        body = encode_mail(mail)
        try:
            keys = self._key.all()
        except KeyUnavailableError as error:
            return PeerAnswer(PeerVerdict.REFUSED, why=str(error))
        try:
            for key in keys:
                answer = await self._post(pod, body, key)
                if answer.status != UNAUTHORIZED:  # else that pod has not seen the new key yet
                    break
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            return PeerAnswer(PeerVerdict.UNREACHABLE, why=type(error).__name__)
        return self._meaning(pod, answer)

    async def _post(self, pod: str, body: bytes, key: bytes) -> _Answer:
        timestamp = str(int(self._now()))
        asked = Asked(key, sign(key, timestamp, body), secrets.token_hex(16))
        headers = {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: asked.signature,
            NONCE_HEADER: asked.nonce,
        }
        async with self._session.post(
            self._url(pod) + INTERNAL_EVENTS_PATH, data=body, headers=headers, allow_redirects=False
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > _ANSWER_BYTES:
                    break  # none of ours, and its signature does not fit either
            signed = asked.is_answer(response.status, bytes(content), response.headers.get(ANSWER_HEADER))
            return _Answer(response.status, bytes(content), signed)

    def _meaning(self, pod: str, answer: _Answer) -> PeerAnswer:
        if answer.signed:
            return self._understood(answer)
        if answer.status == UNAUTHORIZED:  # nobody can sign who has not the key
            return PeerAnswer(PeerVerdict.REFUSED, why="wrong signature")
        if self._pods.signs(pod):
            return PeerAnswer(PeerVerdict.UNREACHABLE, why="the answer is not signed")
        return _of_older_version(answer.status)

    def _understood(self, answer: _Answer) -> PeerAnswer:
        try:
            body = _decode(answer.body)
        except (msgspec.DecodeError, ValueError):
            body = _Body()
        match answer.status:
            case 202:
                return PeerAnswer(PeerVerdict.TAKEN)
            case 404:
                return PeerAnswer(PeerVerdict.UNKNOWN_USER)
            case 409:
                # An owner becomes a URL; where that pod has a newer map than this one, this one's comes soon.
                known = body.owner is not None and self._pods.stands(body.owner)
                return PeerAnswer(PeerVerdict.NOT_MINE, body.owner if known else None)
            case 503 if body.outcome == "busy":
                return PeerAnswer(PeerVerdict.BUSY)
            case status:
                return PeerAnswer(PeerVerdict.REFUSED, why=f"status {status}")

    async def close(self) -> None:
        await self._session.close()


class _Resolver(AbstractResolver):
    """aiohttp's lookups by a share of ours."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._lookups.addresses(host)
        ]

    async def close(self) -> None:
        """Nothing: the share is the process's."""


def _of_older_version(status: int) -> PeerAnswer:
    """While a new version is rolled out: of what nobody has signed only 'taken' counts, or the mails would pile up."""
    match status:
        case 202:
            return PeerAnswer(PeerVerdict.TAKEN)
        case 404 | 409:
            return PeerAnswer(PeerVerdict.NOT_MINE)
        case _:
            return PeerAnswer(PeerVerdict.REFUSED, why=f"status {status}")

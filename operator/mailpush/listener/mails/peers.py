"""How one pod hands a new mail to another: a signed POST of one event (`/internal/v1/events`), and what came of it."""

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec
import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from mailpush.names import INTERNAL_EVENTS_PATH
from mailpush.notifications.notification import NewMail
from mailpush.work.clock import Clock

log = structlog.get_logger(__name__)

TIMESTAMP_HEADER: Final = "X-Mail-Push-Timestamp"
SIGNATURE_HEADER: Final = "X-Mail-Push-Signature"
TIMESTAMP_SECONDS: Final = 300
"""How far the two clocks may differ."""
SHORTEST_KEY: Final = 16
KEY_SECONDS: Final = 10.0
REPLACED_SECONDS: Final = 300.0

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 2.0
UNAUTHORIZED: Final = 401
_ANSWER_BYTES: Final = 4096

encode_mail = msgspec.json.Encoder().encode
_decode_owner = msgspec.json.Decoder(dict[str, str | None]).decode


class KeyUnavailableError(Exception):
    """The key of the hand-over cannot be read, or is too short to be one."""


class HandoverKeys:
    """The keys that the operator makes and rotates. Looked up again every few seconds.

    Args:
        read: gives them, the one that signs first; raises OSError where there is none.
    """

    def __init__(self, read: Callable[[], tuple[bytes, ...]], clock: Clock = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._keys: tuple[bytes, ...] = ()
        self._read_at = float("-inf")
        self._replaced: bytes | None = None
        self._replaced_at = float("-inf")

    def all(self) -> tuple[bytes, ...]:
        """The key that signs, then the others that verify.

        A key that was replaced without the steps of a rotation, as where somebody deletes the Secret, verifies for five
        minutes more: pods do not see it at the same moment.

        Raises:
            KeyUnavailableError: there has never been one.
        """
        now = self._clock()
        if now - self._read_at >= KEY_SECONDS:
            self._look(now)
        if not self._keys:
            raise KeyUnavailableError("there is no key for the hand-over between pods; the operator makes it")
        if self._replaced is None or self._replaced in self._keys or now - self._replaced_at >= REPLACED_SECONDS:
            return self._keys
        return (*self._keys, self._replaced)

    def _look(self, now: float) -> None:
        try:
            first, *others = self._read()
        except OSError:
            return
        if len(first) < SHORTEST_KEY:
            return
        if self._keys and self._keys[0] != first:
            self._replaced, self._replaced_at = self._keys[0], now
        self._keys = (first, *(key for key in others if len(key) >= SHORTEST_KEY))
        self._read_at = now


def sign(key: bytes, timestamp: str, body: bytes) -> str:
    """The signature header: `v1=` and the hex HMAC-SHA256 of `<timestamp>.<body>`."""
    return "v1=" + hmac.new(key, timestamp.encode("utf-8") + b"." + body, hashlib.sha256).hexdigest()


def verify(keys: tuple[bytes, ...], timestamp: str | None, signature: str | None, body: bytes, now: float) -> bool:
    """Whether one of `keys` has signed this within the last five minutes. `now`: Unix seconds."""
    if timestamp is None or signature is None or not (timestamp.isascii() and timestamp.isdecimal()):
        return False
    if len(timestamp) > 12 or abs(now - int(timestamp)) > TIMESTAMP_SECONDS:
        return False
    given = signature.encode("utf-8", "replace")
    return any(hmac.compare_digest(sign(key, timestamp, body).encode("ascii"), given) for key in keys)


class PeerVerdict(Enum):
    """What another pod has done with a mail that was handed to it."""

    TAKEN = "taken"
    NOT_MINE = "not_mine"
    UNKNOWN_USER = "unknown_user"
    REFUSED = "refused"  # wrong signature, full, or what we do not understand: it is there, but does not take it now
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """`owner`: the pod that has the user, as the one that does not have it knows it."""

    verdict: PeerVerdict
    owner: str | None = None


class Peers:
    """The client. One per process, made and closed within the event loop.

    Args:
        url: where the pod of a name takes events, without a path.
    """

    def __init__(
        self,
        url: Callable[[str], str],
        key: HandoverKeys,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        now: Clock = time.time,
    ) -> None:
        self._url = url
        self._key = key
        self._now = now
        # A pod that comes again has another address, so names are not remembered; connections are.
        self._session = ClientSession(
            connector=TCPConnector(limit=0, use_dns_cache=False),
            timeout=ClientTimeout(total=answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds)),
            auto_decompress=False,
        )

    async def post(self, pod: str, mail: NewMail) -> PeerAnswer:
        """Hands `mail` to `pod`. Never raises for anything that `pod` or the network does."""
        body = encode_mail(mail)
        try:
            keys = self._key.all()
        except KeyUnavailableError as error:
            log.warning("handover_key_missing", error=str(error))
            return PeerAnswer(PeerVerdict.REFUSED)
        try:
            for key in keys:
                status, answer = await self._post(pod, body, key)
                if status != UNAUTHORIZED:  # else that pod has not seen the new key yet
                    break
            return _answer_of(status, answer)
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            log.info("handover_unreachable", pod=pod, error=type(error).__name__)
            return PeerAnswer(PeerVerdict.UNREACHABLE)

    async def _post(self, pod: str, body: bytes, key: bytes) -> tuple[int, bytes]:
        timestamp = str(int(self._now()))
        headers = {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: sign(key, timestamp, body),
        }
        async with self._session.post(
            self._url(pod) + INTERNAL_EVENTS_PATH, data=body, headers=headers, allow_redirects=False
        ) as response:
            return response.status, await response.content.read(_ANSWER_BYTES)

    async def close(self) -> None:
        await self._session.close()


def _answer_of(status: int, body: bytes) -> PeerAnswer:
    match status:
        case 202:
            return PeerAnswer(PeerVerdict.TAKEN)
        case 404:
            return PeerAnswer(PeerVerdict.UNKNOWN_USER)
        case 409:
            try:
                return PeerAnswer(PeerVerdict.NOT_MINE, _decode_owner(body).get("owner"))
            except msgspec.DecodeError:
                return PeerAnswer(PeerVerdict.NOT_MINE)
        case _:
            log.warning("handover_refused", status=status)
            return PeerAnswer(PeerVerdict.REFUSED)

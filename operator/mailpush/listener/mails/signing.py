"""How pods know each other: hand-overs and their answers are signed with a key that the operator makes."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mailpush.work.clock import Clock

TIMESTAMP_HEADER: Final = "X-Mail-Push-Timestamp"
SIGNATURE_HEADER: Final = "X-Mail-Push-Signature"
NONCE_HEADER: Final = "X-Mail-Push-Nonce"
"""Random for each request: an answer belongs to one request and to no other of the same content."""
ANSWER_HEADER: Final = "X-Mail-Push-Answer"
TIMESTAMP_SECONDS: Final = 300
"""How far the two clocks may differ."""
SHORTEST_KEY: Final = 16
KEY_SECONDS: Final = 10.0
REPLACED_SECONDS: Final = 300.0

_NONCE: Final = re.compile(r"[0-9a-f]{32}")


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
    return _mac(key, timestamp.encode("utf-8") + b"." + body)


def signed_by(
    keys: tuple[bytes, ...], timestamp: str | None, signature: str | None, body: bytes, now: float
) -> bytes | None:
    """The one of `keys` that has signed this within the last five minutes, None where none has. `now`: Unix seconds."""
    if timestamp is None or signature is None or not (timestamp.isascii() and timestamp.isdecimal()):
        return None
    if len(timestamp) > 12 or abs(now - int(timestamp)) > TIMESTAMP_SECONDS:
        return None
    return next((key for key in keys if _same(sign(key, timestamp, body), signature)), None)


@dataclass(frozen=True, slots=True)
class Asked:
    """A signed request, whose answer is to be signed: by the same key, and for this request alone.

    `nonce`: 32 hex digits that the sender has chosen at random; without one the sender is older and expects nothing.
    """

    key: bytes
    signature: str
    nonce: str

    def sign(self, status: int, body: bytes) -> str | None:
        """The answer's header: HMAC-SHA256 of `answer.<nonce>.<the request's signature>.<status>.<body>`."""
        if not _NONCE.fullmatch(self.nonce):
            return None
        return _mac(self.key, f"answer.{self.nonce}.{self.signature}.{status}.".encode() + body)

    def is_answer(self, status: int, body: bytes, header: str | None) -> bool:
        """Whether whoever answered has the key, and has signed this answer to this request."""
        wanted = self.sign(status, body)
        return wanted is not None and header is not None and _same(wanted, header)


def _mac(key: bytes, message: bytes) -> str:
    return "v1=" + hmac.new(key, message, hashlib.sha256).hexdigest()


def _same(wanted: str, given: str) -> bool:
    return hmac.compare_digest(wanted.encode("ascii"), given.encode("utf-8", "replace"))

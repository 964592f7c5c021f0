"""Claims in Redis, shared by all pods of a MailPushConfig."""

from __future__ import annotations

import re
from math import ceil
from typing import Any, Final, Self

from redis.exceptions import ReadOnlyError, ResponseError

from mailpush.notifications.claims.store import (
    DONE_SECONDS,
    AlreadyDone,
    Claim,
    ClaimResult,
    ClaimsUnavailable,
    Held,
    boottime,
    new_token,
)
from mailpush.store.redis import ERRORS, TIMEOUT, RedisClient, drop_idle, redis_client, trouble_of

# A value is "d" (done) or "p:<token>" (pending). A command repeated because its answer was lost changes nothing.
_CLAIM: Final = """
if redis.call('SET', KEYS[1], 'p:' .. ARGV[1], 'NX', 'PX', ARGV[2]) then return {'won', 0} end
local value = redis.call('GET', KEYS[1])
if value == 'd' then return {'done', 0} end
if value == 'p:' .. ARGV[1] then return {'won', 0} end
return {'held', redis.call('PTTL', KEYS[1])}
"""
_DONE: Final = """
local value = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], 'd', 'PX', ARGV[2])
if value == 'p:' .. ARGV[1] or value == 'd' then return 1 end
return 0
"""
_WITHDRAW: Final = """
if redis.call('GET', KEYS[1]) == 'p:' .. ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_POLICY: Final = re.compile(r"[a-z-]{1,32}")


class RedisClaims:
    """Claims under the key `<MailPushConfig UID>:claim:<id>`.

    A failover may forget the last claims, as protocol P17 says. Each script has one key, as a Cluster wants it.
    """

    def __init__(self, redis: RedisClient, config_uid: str) -> None:
        self._redis = redis
        self._prefix = f"{config_uid}:claim:"
        self._claim = redis.register_script(_CLAIM)
        self._done = redis.register_script(_DONE)
        self._withdraw = redis.register_script(_WITHDRAW)

    @classmethod
    def from_url(
        cls,
        url: str,
        config_uid: str,
        *,
        username: str | None = None,
        password: str | None = None,
        ca_pem: str | None = None,
        timeout: float = TIMEOUT,
    ) -> Self:
        """As `redis_client` has it; `timeout`: seconds for connecting and for an answer."""
        return cls(redis_client(url, username=username, password=password, ca_pem=ca_pem, timeout=timeout), config_uid)

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        token, asked_at = new_token(holder), boottime()
        outcome, left = await self._run(self._claim, id, token, ttl)
        if outcome == b"won":
            return Claim(id, token, asked_at + ttl)
        return AlreadyDone() if outcome == b"done" else Held(max(left, 0) / 1000)

    async def done(self, claim: Claim) -> bool:
        return bool(await self._run(self._done, claim.id, claim.token, DONE_SECONDS))

    async def withdraw(self, claim: Claim) -> None:
        await self._run(self._withdraw, claim.id, claim.token, 0)

    async def eviction_policy(self) -> str | None:
        """Its `maxmemory-policy`; None where it does not say or may not be asked. By any but `noeviction` it may forget
        claims when its memory is full.

        Raises ClaimsUnavailable.
        """
        try:
            return await self._policy_by_info() or await self._policy_by_config()
        except ERRORS as error:
            raise ClaimsUnavailable(f"Redis does not answer: {error.__class__.__name__}") from None

    async def trouble(self) -> str:
        """What keeps claims from being made now, in a word; empty where nothing does. It writes a key of a second."""
        try:
            await self._redis.set(f"{self._prefix}probe", b"", px=1000)
        except ERRORS as error:
            return trouble_of(error)
        return ""

    async def close(self) -> None:
        await self._redis.aclose()

    async def _policy_by_info(self) -> str | None:
        try:
            return _policy(await self._redis.info("memory"), "maxmemory_policy")
        except ResponseError:  # not permitted, or not known to what speaks Redis' protocol
            return None

    async def _policy_by_config(self) -> str | None:
        try:
            return _policy(await self._redis.config_get("maxmemory-policy"), "maxmemory-policy")
        except ResponseError:
            return None

    async def _run(self, script: Any, id: str, token: str, seconds: float) -> Any:
        try:
            return await script(keys=[self._prefix + id], args=[token, ceil(seconds * 1000)])
        except ReadOnlyError:
            # A failover: the Service or name leads to another server by now, and these connections still to this one.
            await drop_idle(self._redis)
            raise ClaimsUnavailable("Redis does not take the claim: it is a read-only replica") from None
        except ERRORS as error:
            # Only the kind: a text of the library may hold the address with what stands in it.
            raise ClaimsUnavailable(f"Redis does not take the claim: {error.__class__.__name__}") from None


def _policy(answer: Any, key: str) -> str | None:
    if not isinstance(answer, dict):
        return None
    value = answer.get(key, answer.get(key.encode()))
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return text if isinstance(text, str) and _POLICY.fullmatch(text) else None

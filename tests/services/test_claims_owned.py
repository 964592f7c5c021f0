"""An owner goes on while a real Redis is away, and the next owner finds what it has told (P15)."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dev.services import Redis
from mailpush.notifications.claims import owned as module
from mailpush.notifications.claims.owned import OwnedClaims
from mailpush.notifications.claims.redis import RedisClaims
from mailpush.notifications.claims.store import AlreadyDone, Claim, ClaimsUnavailable

SLOT = 7


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for a failover."""
    monkeypatch.setattr(module, "GO_ON_SECONDS", 0.0)
    monkeypatch.setattr(module, "ASK_AGAIN_SECONDS", 0.0)


@asynccontextmanager
async def pod(redis: Redis, config_uid: str, *, inherited: bool = False) -> AsyncIterator[OwnedClaims]:
    store = RedisClaims.from_url(redis.url, config_uid, timeout=0.5)
    claims = OwnedClaims(store, lambda: True)
    claims.own([SLOT], [SLOT] if inherited else [])
    yield claims
    await store.close()


async def told(claims: OwnedClaims, id: str) -> bool:
    claim = await claims.claim(SLOT, id, "pod", 30)
    if isinstance(claim, Claim):
        await claims.done(SLOT, claim)
    return isinstance(claim, Claim)


@pytest.mark.parametrize("how", ["frozen", "stopped"])
async def test_what_is_told_without_redis_is_known_to_the_next_owner(redis: Redis, how: str) -> None:
    config_uid = str(uuid.uuid4())
    async with pod(redis, config_uid) as owner, pod(redis, config_uid, inherited=True) as heir:
        if how == "frozen":
            redis.freeze()
        else:
            redis.stop()
        try:
            assert await told(owner, "a")
            assert owner.held_back([SLOT]) == {SLOT}
            assert not await owner.written([SLOT], 0.0)
            with pytest.raises(ClaimsUnavailable):
                await heir.claim(SLOT, "b", "pod", 30)
        finally:
            if how == "frozen":
                redis.resume()
            else:
                redis.start()
        assert await owner.written([SLOT], 60)
        assert isinstance(await heir.claim(SLOT, "a", "pod", 30), AlreadyDone)
        assert await told(heir, "b")


async def test_a_redis_that_comes_back_empty_does_not_have_the_owner_tell_again(redis: Redis) -> None:
    async with pod(redis, str(uuid.uuid4())) as owner:
        redis.stop()
        try:
            assert await told(owner, "a")
        finally:
            redis.start()
        assert not await told(owner, "a")

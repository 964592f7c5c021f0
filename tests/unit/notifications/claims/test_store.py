"""Claims in memory; tests/services shows the same against a real Redis."""

from __future__ import annotations

import pytest

from mailpush.notifications.claims.store import AlreadyDone, Claim, ClaimsUnavailable, Held, MemoryClaims


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def won(claims: MemoryClaims, id: str = "a") -> Claim:
    claim = await claims.claim(id, "pod", 15)
    assert isinstance(claim, Claim)
    return claim


async def test_a_pending_claim_is_taken_over_only_after_its_expiry(clock: Clock) -> None:
    claims = MemoryClaims(clock=clock)
    first = await won(claims)
    clock.now += 10
    assert await claims.claim("a", "other", 15) == Held(5)
    clock.now += 5
    second = await won(claims)
    assert second.token != first.token


async def test_what_is_done_stays_done_for_a_day(clock: Clock) -> None:
    claims = MemoryClaims(clock=clock)
    assert await claims.done(await won(claims))
    clock.now += 24 * 3600 - 1
    assert await claims.claim("a", "other", 15) == AlreadyDone()
    clock.now += 1
    await won(claims)


async def test_an_acceptance_after_the_expiry_is_recorded_all_the_same(clock: Clock) -> None:
    claims = MemoryClaims(clock=clock)
    late = await won(claims)
    clock.now += 15
    await won(claims)
    assert not await claims.done(late)
    assert await claims.claim("a", "other", 15) == AlreadyDone()


async def test_a_withdrawn_claim_is_free_and_anothers_is_not_touched(clock: Clock) -> None:
    claims = MemoryClaims(clock=clock)
    old = await won(claims)
    await claims.withdraw(old)
    await won(claims)
    await claims.withdraw(old)
    assert isinstance(await claims.claim("a", "other", 15), Held)


async def test_a_withdrawal_does_not_undo_what_is_done(clock: Clock) -> None:
    claims = MemoryClaims(clock=clock)
    claim = await won(claims)
    await claims.done(claim)
    await claims.withdraw(claim)
    assert await claims.claim("a", "other", 15) == AlreadyDone()


async def test_the_memory_is_bounded_and_open_claims_are_never_forgotten(clock: Clock) -> None:
    claims = MemoryClaims(bound=3, clock=clock)
    for id in "abc":
        await claims.done(await won(claims, id))
    for id in "def":
        await won(claims, id)
    assert len(claims) == 3
    with pytest.raises(ClaimsUnavailable):
        await claims.claim("g", "pod", 15)
    assert isinstance(await claims.claim("d", "other", 15), Held)

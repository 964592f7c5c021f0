"""The owner of a user goes on without Redis, and the next owner learns of all that it has told (P15)."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from mailpush.notifications.claims import owned as module
from mailpush.notifications.claims.owned import ASK_AGAIN_SECONDS, GO_ON_SECONDS, OwnedClaims
from mailpush.notifications.claims.store import (
    AlreadyDone,
    Claim,
    ClaimResult,
    ClaimsUnavailable,
    Held,
    MemoryClaims,
)
from tests.sites.waiting import until

SLOT, OTHER = 7, 8


class Store(MemoryClaims):
    """As Redis, which is away at times."""

    away = False
    asked = 0

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        self._ask()
        return await super().claim(id, holder, ttl)

    async def done(self, claim: Claim) -> bool:
        self._ask()
        return await super().done(claim)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise ClaimsUnavailable("away")


class Pod:
    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.right = True
        self.claims = OwnedClaims(store, lambda: self.right, clock)

    async def tells(self, id: str, slot: int = SLOT) -> bool:
        """Whether this pod sends it."""
        try:
            claim = await self.claims.claim(slot, id, "pod", 30)
        except ClaimsUnavailable:
            return False
        if not isinstance(claim, Claim):
            return False
        await self.claims.done(slot, claim)
        return True


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def pod(store: Store, now: list[float]) -> Pod:
    pod = Pod(store, lambda: now[0])
    pod.claims.own([SLOT])
    return pod


async def away_for_long(pod: Pod, store: Store, now: list[float]) -> None:
    store.away = True
    assert not await pod.tells("the first"), "a failover is waited for"
    now[0] += GO_ON_SECONDS


async def test_a_store_that_answers_decides(pod: Pod, store: Store) -> None:
    assert await pod.tells("a")
    assert not await pod.tells("a")
    assert isinstance(await store.claim("a", "another", 30), AlreadyDone)
    assert pod.claims.held_back([SLOT]) == frozenset()


async def test_the_owner_goes_on_without_it_and_tells_nothing_twice(pod: Pod, store: Store, now: list[float]) -> None:
    await away_for_long(pod, store, now)
    assert await pod.tells("a")
    assert not await pod.tells("a")


async def test_a_store_that_is_away_is_not_asked_for_each_mail(pod: Pod, store: Store, now: list[float]) -> None:
    await away_for_long(pod, store, now)
    store.asked = 0
    for number in range(50):
        assert await pod.tells(str(number))
    assert store.asked == 1


@pytest.mark.parametrize("why", ["no right", "another's slot", "got by a death", "too much to remember"])
async def test_who_may_not_waits(
    pod: Pod, store: Store, now: list[float], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = OTHER if why == "another's slot" else SLOT
    if why == "no right":
        pod.right = False
    if why == "got by a death":
        pod.claims.own([SLOT], inherited=[SLOT])
    if why == "too much to remember":
        monkeypatch.setattr(module, "MOST", 0)
    await away_for_long(pod, store, now)
    assert not await pod.tells("a", slot)


async def test_a_mail_that_another_may_have_told_waits_for_the_store(pod: Pod, store: Store, now: list[float]) -> None:
    await away_for_long(pod, store, now)
    with pytest.raises(ClaimsUnavailable):
        await pod.claims.claim(SLOT, "a", "pod", 30, again=True)


async def test_an_owner_by_a_death_goes_on_once_it_has_reached_the_store(
    pod: Pod, store: Store, now: list[float]
) -> None:
    pod.claims.own([OTHER], inherited=[OTHER])
    assert await pod.tells("reaches it", OTHER)
    now[0] += 1
    await away_for_long(pod, store, now)
    assert await pod.tells("a", OTHER)


async def test_what_reached_the_store_before_the_death_does_not_count(pod: Pod, store: Store, now: list[float]) -> None:
    assert await pod.tells("before")
    now[0] += 1
    pod.claims.own([OTHER], inherited=[OTHER])
    await away_for_long(pod, store, now)
    assert not await pod.tells("a", OTHER)


async def test_slots_with_unwritten_sends_are_held_back_until_the_store_knows(
    pod: Pod, store: Store, now: list[float]
) -> None:
    await away_for_long(pod, store, now)
    assert await pod.tells("a")
    assert pod.claims.held_back([SLOT, OTHER]) == {SLOT}
    store.away = False
    now[0] += ASK_AGAIN_SECONDS
    assert await pod.claims.written([SLOT], 60)
    assert pod.claims.held_back([SLOT]) == frozenset()
    pod.claims.disown([SLOT])
    next_owner = Pod(store, lambda: now[0])
    next_owner.claims.own([SLOT])
    assert not await next_owner.tells("a")


async def test_what_is_on_its_way_without_the_store_holds_its_slot_back(
    pod: Pod, store: Store, now: list[float]
) -> None:
    await away_for_long(pod, store, now)
    claim = await pod.claims.claim(SLOT, "a", "pod", 30)
    assert isinstance(claim, Claim)
    assert pod.claims.held_back([SLOT]) == {SLOT}
    await pod.claims.withdraw(SLOT, claim)
    assert pod.claims.held_back([SLOT]) == frozenset()


async def test_a_record_that_the_store_did_not_take_is_written_later(pod: Pod, store: Store, now: list[float]) -> None:
    claim = await pod.claims.claim(SLOT, "a", "pod", 30)
    assert isinstance(claim, Claim)
    store.away = True
    with pytest.raises(ClaimsUnavailable):
        await pod.claims.done(SLOT, claim)
    pod.claims.keep(SLOT, claim)
    assert pod.claims.held_back([SLOT]) == {SLOT}
    store.away = False
    now[0] += ASK_AGAIN_SECONDS
    assert await pod.claims.written([SLOT], 60)
    assert isinstance(await store.claim("a", "another", 30), AlreadyDone)


async def test_anothers_claim_is_waited_for(pod: Pod, store: Store) -> None:
    await store.claim("a", "the former owner, whose request is on its way", 30)
    assert isinstance(await pod.claims.claim(SLOT, "a", "pod", 30), Held)


async def test_the_end_of_a_pod_does_not_wait_for_ever(pod: Pod, store: Store, now: list[float]) -> None:
    await away_for_long(pod, store, now)
    assert await pod.tells("a")
    assert not await pod.claims.written([SLOT], 0.0)
    with capture_logs() as logs:
        pod.claims.disown([SLOT])
    assert [line["notifications"] for line in logs] == [1]
    store.away = False
    now[0] += ASK_AGAIN_SECONDS
    assert await pod.claims.written([SLOT], 60), "late, and perhaps in time"


async def test_they_are_written_by_themselves(
    pod: Pod, store: Store, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.01)
    await away_for_long(pod, store, now)
    assert await pod.tells("a")
    run = asyncio.create_task(pod.claims.run())
    try:
        store.away = False
        now[0] += ASK_AGAIN_SECONDS
        await until(lambda: not pod.claims.held_back([SLOT]))
    finally:
        run.cancel()
    assert isinstance(await store.claim("a", "another", 30), AlreadyDone)

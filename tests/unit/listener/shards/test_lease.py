"""P3 to P5 on the pod's side."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.kube.resources import LEASE, POD
from mailpush.listener.shards import lease as lease_module
from mailpush.listener.shards.lease import LeaseKeeper, LeaseLostError
from mailpush.sharding.leases import Ack, Holder, LeaseState, lease_annotations, parse_lease
from mailpush.sharding.rights import Right
from mailpush.sharding.shardmap import PodRef
from mailpush.work.clock import boottime
from mailpush.work.pace import Backoff
from tests.sites.fakekube import FakeKube
from tests.sites.waiting import until

ME = PodRef("mail-push-main-0", "uid-a")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "TAKE_EVERY_SECONDS", 0.005)
    monkeypatch.setattr(lease_module, "RETRY", Backoff(0.005, 0.005))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(state: LeaseState | None = None, holder: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": ME.name, "annotations": lease_annotations(state or LeaseState()), "labels": {"a": "b"}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
    }


def pod(uid: str) -> dict[str, Any]:
    return {"metadata": {"name": ME.name, "uid": uid}}


def keeper(kube: FakeKube, right: Right | None = None, clock: Callable[[], float] | None = None) -> LeaseKeeper:
    right = right or Right(renew_every=0.01)
    return LeaseKeeper(cast("Kube", kube), "ns", ME, right, "nonce", clock=clock or boottime)


@pytest.fixture
def kube() -> FakeKube:
    kube = FakeKube()
    kube.put(LEASE, lease())
    kube.put(POD, pod(ME.uid))
    return kube


def state(kube: FakeKube) -> LeaseState:
    return parse_lease(kube.read(LEASE, ME.name))


@asynccontextmanager
async def keeping(keeper: LeaseKeeper, *, hangs: bool = False) -> AsyncIterator[asyncio.Task[None]]:
    """Takes the Lease and keeps it, with a main loop that ticks: once only where it `hangs`."""

    async def tick() -> None:
        while True:
            keeper.right.ticked(keeper._clock())
            await (asyncio.Event().wait() if hangs else asyncio.sleep(0.005))

    await keeper.take()
    ticking = asyncio.create_task(tick())
    task = asyncio.create_task(keeper.keep())
    try:
        yield task
    finally:
        task.cancel()
        ticking.cancel()
        await asyncio.wait({task, ticking})


async def test_it_waits_until_the_operator_has_made_the_lease() -> None:
    kube = FakeKube()
    kube.put(POD, pod(ME.uid))
    taking = asyncio.create_task(keeper(kube).take())
    await until(lambda: len(kube.gets) > 2)
    assert not taking.done()
    kube.put(LEASE, lease())
    await taking
    assert state(kube).holder == Holder(ME.name, ME.uid, "nonce")


async def test_it_takes_the_lease_whoever_holds_it(kube: FakeKube) -> None:
    kube.put(LEASE, lease(holder=f"{ME.name}/uid-before/other"))
    await keeper(kube).take()
    assert str(state(kube).holder) == f"{ME.name}/{ME.uid}/nonce"


async def test_it_does_not_take_the_lease_while_the_pod_object_is_another(kube: FakeKube) -> None:
    kube.put(POD, pod("uid-of-the-successor"))
    taking = asyncio.create_task(keeper(kube).take())
    await until(lambda: len(kube.gets) > 4)
    assert not taking.done()
    assert state(kube).holder is None
    kube.put(POD, pod(ME.uid))
    await taking


async def test_what_must_survive_a_restart_stays_and_is_given_back(kube: FakeKube) -> None:
    said = LeaseState(map_uid="m", applied_epoch=7, released_through=6, floor=9, draining=True, reason="old")
    kube.put(LEASE, lease(said))
    before = await keeper(kube).take()
    assert before.threshold == 9
    now = state(kube)
    assert (now.map_uid, now.applied_epoch, now.released_through, now.floor) == ("m", 7, 6, 9)
    assert (now.draining, now.reason) == (False, "")
    assert kube.read(LEASE, ME.name)["metadata"]["labels"] == {"a": "b"}


async def test_the_right_counts_from_when_the_renewal_was_sent(kube: FakeKube) -> None:
    clock = Clock()
    kube.on_replace = lambda: setattr(clock, "now", clock.now + 2.0)  # the answer takes two seconds
    right = Right()
    await keeper(kube, right, clock).take()
    assert right.remaining(clock()) == right.lasts - 2.0


@pytest.mark.parametrize("holder", [f"{ME.name}/uid-b/other", f"{ME.name}/{ME.uid}/newer-process", ""])
async def test_another_holder_or_none_ends_it_for_good(kube: FakeKube, holder: str) -> None:
    one = keeper(kube)
    async with keeping(one) as task:
        await until(lambda: kube.replaced > 2 and one.right.holds(one._clock()))
        kube.put(LEASE, lease(holder=holder))
        with pytest.raises(LeaseLostError, match="lost the Lease"):
            await task
    assert not one.right.holds(one._clock())


async def test_a_lease_that_is_gone_ends_it(kube: FakeKube) -> None:
    async with keeping(keeper(kube)) as task:
        kube.remove(LEASE, ME.name)
        with pytest.raises(LeaseLostError, match="gone"):
            await task


async def test_a_conflict_that_changes_no_holder_is_read_anew_and_passed_over(kube: FakeKube) -> None:
    async with keeping(keeper(kube)) as task:
        current = kube.read(LEASE, ME.name)
        current["metadata"]["annotations"] |= {"mailpush.dev/floor": "12", "someone.else/note": "x"}
        kube.put(LEASE, current)
        replaced = kube.replaced
        await until(lambda: kube.replaced > replaced + 1)
        assert not task.done()
    assert state(kube).floor == 12
    assert kube.read(LEASE, ME.name)["metadata"]["annotations"]["someone.else/note"] == "x"


async def test_without_answers_it_goes_on_trying_and_the_right_runs_out(kube: FakeKube) -> None:
    one = keeper(kube, Right(renew_every=0.01, lasts=0.05))
    async with keeping(one) as task:
        kube.fail = UnreachableError("down")
        await until(lambda: not one.right.holds(one._clock()))
        assert not task.done()
        kube.fail = None
        await until(lambda: one.right.holds(one._clock()))


async def test_nothing_is_renewed_while_the_main_loop_hangs(kube: FakeKube) -> None:
    clock = Clock()
    one = keeper(kube, Right(renew_every=0.0), clock)
    async with keeping(one, hangs=True):
        await until(lambda: kube.replaced > 2)
        clock.now += 3.1
        replaced = kube.replaced
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert kube.replaced <= replaced + 1  # one may have been on its way
        one.right.ticked(clock())
        await until(lambda: kube.replaced > replaced + 1)


async def test_an_ack_goes_out_at_once_and_counts_wait_for_the_next_renewal(kube: FakeKube) -> None:
    one = keeper(kube, Right(renew_every=1000.0))
    async with keeping(one):
        one.update(urgent=False, counts={"listening": 3})
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert state(kube).counts.get("listening") == 0
        one.ack(Ack("m", 5, 5))
        await until(lambda: state(kube).applied_epoch == 5)
        assert state(kube).counts["listening"] == 3


async def test_what_is_acked_never_goes_down(kube: FakeKube) -> None:
    one = keeper(kube, Right(renew_every=1000.0))
    async with keeping(one):
        one.ack(Ack("m", 5, 5))
        one.ack(Ack("m", 4, 3))
        await until(lambda: state(kube).applied_epoch == 5)
        assert state(kube).released_through == 5


async def test_it_ends_with_an_empty_holder(kube: FakeKube) -> None:
    one = keeper(kube)
    async with keeping(one):
        pass
    assert await one.release(1.0)
    assert kube.read(LEASE, ME.name)["spec"]["holderIdentity"] == ""
    assert not one.right.holds(one._clock())


async def test_a_lease_that_another_holds_is_not_emptied(kube: FakeKube) -> None:
    one = keeper(kube)
    async with keeping(one):
        pass
    kube.put(LEASE, lease(holder=f"{ME.name}/uid-b/other"))
    assert not await one.release(1.0)
    assert kube.read(LEASE, ME.name)["spec"]["holderIdentity"] == f"{ME.name}/uid-b/other"


async def test_a_lease_that_was_never_taken_is_not_emptied(kube: FakeKube) -> None:
    assert not await keeper(kube).release(1.0)
    assert kube.replaced == 0

"""The sweep looks into every mailbox once, those first that have got mail last, and no faster than it may."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from mailpush.api.catchup import Sweep
from mailpush.listener.catchup import sweep as module
from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.store import MemoryCheckpoints
from mailpush.listener.catchup.sweep import AGAIN_SECONDS, GAP_SECONDS, Sweeper
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of

Key = tuple[int, int]


@dataclass
class Listener:
    now: list[float]
    server: str = "mail"
    looked_at: float = 0.0
    looks: list[float] = field(default_factory=list)
    busy: bool = False
    fails: bool = False

    def hurry(self) -> bool:
        if self.busy:
            return False
        self.looks.append(self.now[0])
        if not self.fails:
            self.looked_at = self.now[0]
        return True


class Pod:
    def __init__(
        self, users: int = 5, *, rate: int = 50, pods: int = 1, store: MemoryCheckpoints | None = None
    ) -> None:
        self.now = [1000.0]
        self.enabled = True
        self.right = True
        self.missed = False
        self.users = {(1, user): Listener(self.now) for user in range(1, users + 1)}
        self.checkpoints = Checkpoints(store or MemoryCheckpoints(), clock=lambda: self.now[0])
        self.checkpoints.own([slot_of(*key) for key in self.users], 1)
        self.sweeper = Sweeper(
            self.checkpoints,
            self,
            settings=lambda: Sweep(enabled=self.enabled, rate=rate),
            pods=lambda: pods,
            may_look=lambda: self.right,
            missed=lambda: self.missed,
            clock=lambda: self.now[0],
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.now[0] += seconds

    def sweepable(self, key: Key) -> Listener | None:
        return self.users.get(key)

    def all_sweepable(self) -> Iterable[tuple[Key, Listener]]:
        return list(self.users.items())

    def mail(self, user: int, uid: int) -> None:
        self.checkpoints.came(NewMail(1, user, "INBOX", uid, 1))

    async def turns(self, count: int = 1) -> None:
        for _ in range(count):
            await self.sweeper.turn()
            self.now[0] += 1.0

    @property
    def order(self) -> list[int]:
        looks = [(at, key[1]) for key, one in self.users.items() for at in one.looks]
        return [user for _, user in sorted(looks)]


async def test_without_a_reason_nobody_is_looked_into() -> None:
    pod = Pod()
    await pod.turns(5)
    assert pod.order == []


async def test_each_is_looked_into_once_the_recently_active_first() -> None:
    pod = Pod(4)
    for user in (2, 4, 3):
        pod.now[0] += 1
        pod.mail(user, 7)
    pod.sweeper.request("pod_lost")
    await pod.turns(4)
    assert pod.order == [3, 4, 2, 1]
    assert pod.sweeper.left == 0


async def test_who_has_looked_since_is_left_alone() -> None:
    pod = Pod(2)
    pod.sweeper.request("pod_lost")
    pod.users[1, 1].looked_at = pod.now[0]
    await pod.turns(2)
    assert pod.order == [2]


async def test_all_pods_together_keep_to_the_rate() -> None:
    pod = Pod(60, rate=20, pods=4)
    pod.sweeper.request("pod_lost")
    begun = pod.now[0]
    while pod.sweeper.left or pod.now[0] == begun:
        await pod.sweeper.turn()
        pod.now[0] += 0.001
    assert len(pod.order) == 60
    assert pod.now[0] - begun >= 59 / 5, "five a second are this pod's share"


async def test_one_servers_users_do_not_wait_for_anothers() -> None:
    pod = Pod(40, rate=1)
    pod.users[1, 40].server = "other"
    pod.sweeper.request("pod_lost")
    await pod.turns(1)
    assert 40 in pod.order


async def test_switched_off_there_is_none() -> None:
    pod = Pod()
    pod.enabled = False
    pod.sweeper.request("pod_lost")
    pod.sweeper.gap((1, 1))
    await pod.turns(10)
    assert pod.order == []


async def test_without_its_right_the_pod_waits() -> None:
    pod = Pod()
    pod.right = False
    pod.sweeper.request("paused")
    await pod.turns(3)
    assert pod.order == []
    pod.right = True
    await pod.turns(3)
    assert sorted(pod.order) == [1, 2, 3, 4, 5]


async def test_a_mailbox_that_could_not_be_looked_into_has_its_turn_again() -> None:
    pod = Pod(2)
    pod.users[1, 2].fails = True
    pod.sweeper.request("pod_lost")
    await pod.turns(int(AGAIN_SECONDS) - 2)
    assert sorted(pod.order) == [1, 2]
    assert pod.sweeper.left == 1
    await pod.turns(12)
    assert sorted(pod.order) == [1, 2, 2]


async def test_a_gap_has_one_mailbox_looked_into_after_a_while() -> None:
    pod = Pod(2)
    pod.mail(2, 9)
    pod.sweeper.gap((1, 2))
    await pod.turns(int(GAP_SECONDS))
    assert pod.order == []
    await pod.turns(2)
    assert pod.order == [2]


async def test_a_gap_that_has_closed_costs_nothing() -> None:
    pod = Pod(2)
    pod.sweeper.gap((1, 2))
    await pod.turns(10)
    assert pod.order == []


async def test_mails_that_never_notify_do_not_make_a_login_each() -> None:
    pod = Pod(1)
    for uid in range(9, 39, 2):
        pod.mail(1, uid)
        pod.sweeper.gap((1, 1))
        await pod.turns(4)
    assert len(pod.order) <= 2


async def test_a_busy_listener_is_asked_again() -> None:
    pod = Pod(1)
    pod.mail(1, 9)
    pod.users[1, 1].busy = True
    pod.sweeper.gap((1, 1))
    await pod.turns(5)
    pod.users[1, 1].busy = False
    await pod.turns(5)
    assert pod.order == [1]


async def test_what_one_pod_has_missed_all_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0.01)
    store = MemoryCheckpoints()
    one, other = Pod(2, store=store), Pod(2, store=store)
    runs = [asyncio.create_task(pod.sweeper.run()) for pod in (one, other)]
    try:
        await asyncio.sleep(0.05)
        one.missed = True
        async with asyncio.timeout(30):
            while len(set(one.order)) < 2 or len(set(other.order)) < 2:
                await asyncio.sleep(0.01)
                one.now[0] += 0.5
                other.now[0] += 0.5
    finally:
        for run in runs:
            run.cancel()

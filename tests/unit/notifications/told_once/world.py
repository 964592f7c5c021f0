"""Pods with the project's own dispatcher, permission and claims; a target, a Redis, mails and their user's owner.

Made up are the ways between them, and who owns the one slot: a release by the giver, or 15 s of silence (protocol P8).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from prometheus_client import CollectorRegistry

from mailpush.listener.permission import Permission
from mailpush.notifications.claims.owned import OwnedClaims
from mailpush.notifications.claims.store import Claim, ClaimResult, ClaimsUnavailable, MemoryClaims
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.notification import NewMail, notification_id
from mailpush.notifications.transports.base import Accepted, Outcome, TryLater
from mailpush.notifications.transports.webhook import WebhookTarget
from mailpush.sharding.rights import Right
from mailpush.sharding.slots import slot_of
from tests.unit.notifications.told_once.simulated import SimulatedLoop

UID, CLIENTS, SLOT = "config-uid", ("phone",), slot_of(1, 3)
TIMEOUT, EXPIRES, RENEWS = 5.0, 15.0, 3.0
TARGET = WebhookTarget("t", "http://unused", b"s", lambda _: True, timeout=TIMEOUT, ttl=7200.0)


class Pod:
    """One process: it renews its right by itself, and notifies of what it is told."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.loop = SimulatedLoop(world.clock)
        self.right = Right()
        self.right.renewed(world.now)
        self.renewed_at = world.now
        self.paused = self.dead = self.no_api = self.no_redis = self.fenced = False
        self.unrecorded: set[str] = set()
        """What has left for the target and is not recorded yet."""
        permission = Permission(self.right, claim_only=True, clock=world.clock)
        self.claims = OwnedClaims(_Reached(self), permission.may_write, world.clock)
        self.loop.create_task(self.claims.run())
        self.dispatcher = Dispatcher(
            UID,
            self.claims,
            [TARGET],
            permission.may_send,
            NotificationMetrics(CollectorRegistry()),
            holder=name,
            transport=lambda _: _Sending(self),
            random=world.random,
        )

    @property
    def acts(self) -> bool:
        return not self.dead and not self.paused

    @property
    def reaches_redis(self) -> bool:
        return not self.dead and not self.no_redis and self.world.redis_up

    def step(self) -> None:
        if not self.acts:
            return
        if self.fenced and not self.no_api:  # it finds its Lease lost, and ends (P4)
            self.world.excuse([self])
            self.dead = True
            return
        if not self.no_api and self.world.now - self.renewed_at >= RENEWS:
            self.right.renewed(self.world.now)
            self.renewed_at = self.world.now
        self.loop.run_due()

    def tell(self, mail: NewMail, age: float = 0.0) -> None:
        self.loop.call_soon(lambda: self.dispatcher.dispatch(mail, CLIENTS, age=age))


@dataclass
class _Reached:
    """The claims of all, as one pod reaches them: what is lost on the way there or back raises."""

    pod: Pod

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        asked_at = self.pod.world.now
        await self._way()
        result = await self.pod.world.store.claim(id, holder, ttl)
        await self._way()
        if isinstance(result, Claim):  # as RedisClaims has it: it expires counted from before the store was asked
            return Claim(result.id, result.token, asked_at + ttl)
        return result

    async def done(self, claim: Claim) -> bool:
        await self._way()
        ours = await self.pod.world.store.done(claim)
        self.pod.unrecorded.discard(claim.id)
        await self._way()
        return ours

    async def withdraw(self, claim: Claim) -> None:
        await self._way()
        await self.pod.world.store.withdraw(claim)

    async def close(self) -> None:
        return

    async def _way(self) -> None:
        if not self.pod.dead:
            await asyncio.sleep(self.pod.world.redis_way)
        if not self.pod.reaches_redis:
            raise ClaimsUnavailable("the way to the store is cut")


@dataclass
class _Sending:
    """A request: a way on which the process still has it, and a flight on which it arrives whatever becomes of that."""

    pod: Pod

    async def send(self, id: str, body: bytes) -> Outcome:
        world = self.pod.world
        try:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.sleep(world.connect)
                if world.target_fails:
                    return TryLater("http_500")
                self.pod.unrecorded.add(id)
                answer: asyncio.Future[None] = self.pod.loop.create_future()
                world.flights.append(_Flight(world.now + world.flight, id, self.pod, answer))
                await answer
        except TimeoutError:
            return TryLater("timeout")
        return Accepted()

    async def close(self) -> None:
        return


@dataclass
class _Flight:
    lands_at: float
    id: str
    pod: Pod
    answer: "asyncio.Future[None]"

    def answered(self) -> None:
        if not self.answer.done():
            self.answer.set_result(None)


@dataclass
class World:
    """One user's mails, two or three pods of which one is the owner, Redis, and a target that counts."""

    random: Random = field(default_factory=lambda: Random(1))
    now: float = 1000.0
    redis_up: bool = True
    redis_way: float = 0.001
    connect: float = 0.01
    flight: float = 0.01
    target_fails: bool = False
    pods: list[Pod] = field(default_factory=list)
    flights: list[_Flight] = field(default_factory=list)
    mails: list[NewMail] = field(default_factory=list)
    accepted: dict[str, list[str]] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    owner: Pod | None = None
    giver: Pod | None = None
    """Who is about to release, while nobody else may start."""

    def __post_init__(self) -> None:
        self.store = MemoryClaims(clock=self.clock)
        self.owner = self.start()
        self.owner.claims.own([SLOT])
        self.start()

    def clock(self) -> float:
        return self.now

    def start(self) -> Pod:
        pod = Pod(self, f"l-{len(self.pods)}")
        self.pods.append(pod)
        return pod

    # -- mails and owners

    def mail_arrives(self) -> None:
        mail = NewMail(1, 3, "INBOX", len(self.mails) + 1, 99)
        self.mails.append(mail)
        if self.owner is not None and not self.owner.dead:
            self.owner.tell(mail)

    def take_over(self, pod: Pod, *, by_death: bool) -> None:
        """A new owner tells all that it finds in the folder: its claims say what was told before."""
        self.owner = pod
        pod.claims.own([SLOT], [SLOT] if by_death else [])
        for mail in self.mails:
            pod.tell(replace(mail, again=True))

    def move(self, grace: float) -> None:
        """The owner settles and releases; another takes over when that is done."""
        giver, takers = self.owner, [pod for pod in self.pods if pod.acts and not pod.no_api and pod is not self.owner]
        if giver is None or not giver.acts or not takers:
            return
        self.owner, self.giver, taker = None, giver, takers[0]

        async def give() -> None:
            while giver.claims.held_back([SLOT]):  # noqa: ASYNC110 - 'not releasable yet' (P15)
                await asyncio.sleep(RENEWS)
            await giver.dispatcher.settle([SLOT], grace)
            while not await giver.claims.written([SLOT], RENEWS):
                pass
            if not giver.reaches_redis:  # what is on its way under a claim is not recorded in time (P17)
                self.excused |= giver.unrecorded - giver.claims.unrecorded([SLOT])
            if self.owner is None:
                self.giver = None
                giver.claims.disown([SLOT])
                self.take_over(taker if taker.acts else giver, by_death=False)

        giver.loop.create_task(give())

    # -- time

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.now + seconds
        while self.now < end and not until():
            self._everybody()
            moments = [end, self.now + RENEWS, *(flight.lands_at for flight in self.flights)]
            moments += [due for pod in self.pods if pod.acts and (due := pod.loop.next_due()) is not None]
            self.now = max(self.now + 0.001, min(moments))
        self._everybody()

    def _everybody(self) -> None:
        for flight in [each for each in self.flights if each.lands_at <= self.now]:
            self.flights.remove(flight)
            self.accepted.setdefault(flight.id, []).append(flight.pod.name)
            if not flight.pod.dead:
                flight.pod.loop.call_soon(flight.answered)
            self.check()
        for pod in self.pods:
            pod.step()
        holder = self.owner or self.giver
        if holder is not None and (holder.dead or self.now - holder.renewed_at >= EXPIRES):
            self._fence(holder)

    def _fence(self, silent: Pod) -> None:
        """The operator's part: after 15 s of silence, and only where another can take over."""
        if self.now - silent.renewed_at < EXPIRES:
            return
        fit = [pod for pod in self.pods if pod.acts and not pod.no_api and pod is not silent]
        if self.owner in (None, silent) and fit:
            self.giver = None
            silent.fenced = True
            self.excuse([silent])
            self.take_over(fit[0], by_death=True)

    # -- faults

    def excuse(self, pods: list[Pod]) -> None:
        """What these have sent without a record may be told again: nothing can help there (protocol P17)."""
        for pod in pods:
            self.excused |= pod.unrecorded

    def heal(self) -> None:
        self.redis_up, self.target_fails = True, False
        self.redis_way, self.connect, self.flight = 0.001, 0.01, 0.01
        for pod in self.pods:
            pod.paused = pod.no_api = pod.no_redis = False
        if not any(pod.acts for pod in self.pods):
            self.start()

    def end(self) -> None:
        for pod in self.pods:
            pod.dead = True
            pod.loop.end()

    # -- promises

    def check(self) -> None:
        for id, times in self.accepted.items():
            assert len(times) == 1 or id in self.excused, f"told {len(times)} times, by {times}, without an excuse"

    def untold(self) -> list[int]:
        return [mail.uid for mail in self.mails if notification_id(UID, mail, "t") not in self.accepted]

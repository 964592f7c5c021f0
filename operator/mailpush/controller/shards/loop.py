"""One MailPushConfig's loop: observe pods, Leases and users, plan (pure), act by resourceVersion, report.

It runs whenever something has changed, and each second, because time alone may prove something (protocol P8). No step
counts on the one before: a conflict ends the step, and the next one observes anew.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

import structlog

from mailpush.controller.events import EventRecorder
from mailpush.controller.owner import ConfigKey, Owner
from mailpush.controller.shards.leases import LeaseWriter
from mailpush.controller.shards.lost_slots import Losses
from mailpush.controller.shards.maps import ShardMaps
from mailpush.controller.shards.outlook import Observer, Outlook
from mailpush.controller.shards.report import ShardReport, UserFigures
from mailpush.controller.shards.watch import PodWatch
from mailpush.controller.state import ConfigState, OperatorState, Pod
from mailpush.controller.status.pod import PodView
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.sharding.copies import newest_copy
from mailpush.sharding.planning.leftovers import leftover_leases
from mailpush.sharding.planning.observed import Fence, Observed
from mailpush.sharding.planning.planner import missing_leases, plan
from mailpush.sharding.shardmap import ShardMap, ShardMapError
from mailpush.work.pace import set_within
from mailpush.work.queue import WorkQueue

STEP_SECONDS: Final = 1.0
LEAST_PAUSE: Final = 0.05
WRITERS: Final = 16

log = structlog.get_logger(__name__)


class Users(UserFigures, Protocol):
    """What the loop needs to know of the push users."""

    def listed(self, namespace: str) -> bool:
        """Whether they have been read once."""

    def owner_epoch(self, key: ConfigKey) -> int:
        """The highest epoch under which a pod has written a user's status."""

    def slots_lost(self, key: ConfigKey, slots: frozenset[int]) -> None:
        """What is said of the users of these slots may have to change."""


class ShardLoop:
    """Runs until cancelled. Setting `wake` makes the next step come at once."""

    def __init__(
        self,
        kube: Kube,
        owner: Owner,
        state: OperatorState,
        pods: PodWatch,
        users: Users,
        *,
        configs: WorkQueue[ConfigKey],
        events: EventRecorder,
        wake: asyncio.Event,
        on_step: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner = owner
        self.key = owner.key
        self.maps = ShardMaps(kube, owner)
        self._writer = LeaseWriter(kube, owner, pods, clock)
        self._observer = Observer(owner, state, pods, users, maps=self.maps, clock=clock)
        self._report = ShardReport(kube, owner, self.maps, users, events)
        self._state = state
        self._pods = pods
        self._users = users
        self._configs = configs
        self._on_step = on_step
        self._clock = clock
        self._wake = wake
        self._overweight_since: float | None = None
        self._newcomer_since: float | None = None
        self._astray_since: float | None = None
        self._planned: Outlook | None = None
        self._plan_again = 0.0
        self._losses = Losses()
        self._leftovers: tuple[tuple[str, str | None], ...] = ()
        self._aside: asyncio.Task[None] | None = None
        self._aside_failures = 0
        self._writers = asyncio.Semaphore(WRITERS)
        self._conflicts = 0

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._run()
        finally:
            if self._aside is not None:
                self._aside.cancel()
                await asyncio.wait({self._aside})

    async def _run(self) -> None:
        failures = 0
        while True:
            self._on_step()
            self._wake.clear()
            try:
                at_once = await self.step()
                failures = 0
            except (KubeError, ShardMapError) as error:
                at_once = False
                failures += 1
                if failures == 1 or failures % 30 == 0:
                    log.warning("step_failed", config=str(self.key), error=str(error), failures=failures)
            except Exception:
                at_once = False
                failures += 1
                log.exception("step_failed", config=str(self.key), failures=failures)
            await asyncio.sleep(LEAST_PAUSE)
            if not at_once:
                await set_within(self._wake, STEP_SECONDS)

    async def step(self) -> bool:
        """One step; True where the next is to follow at once.

        Raises:
            KubeError: something was not read or written; the next step sees what.
        """
        state = self._state.configs.get(self.key)
        if state is None or state.owner.uid != self.owner.uid:
            return False
        if not self._pods.listed(self.key.namespace) or not self._users.listed(self.key.namespace):
            return False
        await self.maps.load()
        pods = tuple(self._state.pods_of(self.key))
        outlook = await self._observer.observe(state, pods)
        acted = await self._act(outlook)
        self._note_owners(outlook)
        self._write_aside(state, pods)
        return acted

    def _write_aside(self, state: ConfigState, pods: tuple[Pod, ...]) -> None:
        """Labels, statuses and what is left over, beside the steps: one that hangs holds up no fence and no map."""
        if self._aside is None or self._aside.done():
            self._aside = asyncio.create_task(self._aside_of(state, pods), name=f"labels and statuses of {self.key}")

    async def _aside_of(self, state: ConfigState, pods: tuple[Pod, ...]) -> None:
        try:
            await self._writer.keep_callbacks(pods)
            await self._report_on(state, pods)
            leftovers, self._leftovers = self._leftovers, ()
            await self._each(self._writer.delete(name, judged) for name, judged in leftovers)
            self._aside_failures = 0
        except KubeError as error:
            self._aside_failures += 1
            if self._aside_failures == 1 or self._aside_failures % 30 == 0:
                log.warning("report_failed", config=str(self.key), error=str(error), failures=self._aside_failures)
        except Exception:
            log.exception("report_failed", config=str(self.key))

    # -- acting

    async def _act(self, outlook: Outlook) -> bool:
        now = self._clock()
        if outlook == self._planned and now < self._plan_again:
            return False
        observed = Observed(
            map=self.maps.map,
            map_uid=self.maps.uid,
            pods=outlook.pods,
            weights=self._users.weights(self.key),
            replicas=outlook.replicas,
            now=now,
            overweight_since=self._overweight_since,
            newcomer_since=self._newcomer_since,
            orphans=outlook.orphans,
            copy=self._newest_copy(outlook),
            astray_since=self._astray_since,
            remembered_epoch=0 if self.maps.map else self._users.owner_epoch(self.key),
        )
        self._leftovers = tuple((name, outlook.lease_versions.get(name)) for name in leftover_leases(observed))
        written = await self._each(self._writer.create(lease) for lease in missing_leases(observed))
        planned = plan(observed)
        self._overweight_since = planned.new_overweight_since
        self._newcomer_since = planned.new_newcomer_since
        self._astray_since = planned.new_astray_since
        written += await self._each(self._fence(fence, outlook) for fence in planned.fences)
        if planned.next_map is not None:
            written.append(await self.maps.write(planned.next_map, planned.changes))
            if written[-1]:
                self._report.map_written(planned.changes, now)
        self._planned = None if written else outlook
        recheck = planned.recheck_after
        self._plan_again = now + (recheck if recheck is not None else 10 * STEP_SECONDS)
        if any(written) or not written:
            self._conflicts = 0
            return bool(written)
        # Somebody was faster, once: look again at once. What is in the way each time is asked for with the steps.
        self._conflicts += 1
        return self._conflicts == 1

    def _newest_copy(self, outlook: Outlook) -> ShardMap | None:
        """Of this operator's own copy and those that pods show on their Leases: a new leader has none (P10)."""
        own = self.maps.copy
        leases = (*(pod.lease for pod in outlook.pods), *(orphan.lease for orphan in outlook.orphans))
        shown = [lease.map_copy for lease in leases if lease is not None and lease.map_copy]
        return newest_copy(shown, above=own.epoch if own is not None else 0) or own

    async def _fence(self, fence: Fence, outlook: Outlook) -> bool:
        seen = self._pods.sighting(self.key.namespace, fence.lease_name).state
        written = await self._writer.fence(fence, outlook.lease_versions.get(fence.lease_name))
        if written and seen is not None and seen.holder is not None:
            self._report.pod_lost(fence)
        return written

    async def _each(self, writes: Iterable[Awaitable[bool]]) -> list[bool]:
        """Some at a time, each of them tried: one that hangs or is refused holds up no other. Gives which were written.

        Raises:
            KubeError: the first that was not done.
        """

        async def one(write: Awaitable[bool]) -> bool:
            async with self._writers:
                return await write

        done = await asyncio.gather(*map(one, writes), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result
        return [result for result in done if isinstance(result, bool)]

    # -- reporting

    def _note_owners(self, outlook: Outlook) -> None:
        """What others do by the map: the StatefulSet shrinks behind the drain, users of lost slots are reported."""
        shard_map = self.maps.map
        if shard_map is None:
            if self.key not in self._state.highest_owner:
                self._note_highest(None)
            return
        lives = {observation.ref: observation for observation in outlook.pods}
        ordinals = [lives[ref].ordinal for ref in shard_map.pods if ref in lives]
        highest = max(ordinals, default=None)
        if self.key not in self._state.highest_owner or highest != self._state.highest_owner[self.key]:
            self._note_highest(highest)
        lost = self._losses.lost(self._clock(), shard_map, lives, hopeless=outlook.replicas == 0)
        before = self._state.lost.get(self.key, frozenset())
        if lost != before:
            self._state.lost[self.key] = lost
            self._users.slots_lost(self.key, lost ^ before)

    def _note_highest(self, ordinal: int | None) -> None:
        self._state.highest_owner[self.key] = ordinal
        self._configs.add(self.key)

    async def _report_on(self, state: ConfigState, pods: tuple[Pod, ...]) -> None:
        now = self._clock()
        if state.looked and self._report.due(now):
            await self._report.write(state, tuple(self._pod_view(pod, now) for pod in pods), now)

    def _pod_view(self, pod: Pod, now: float) -> PodView:
        sighting = self._pods.sighting(self.key.namespace, pod.ref.name)
        return PodView(pod, sighting.state, sighting.observer.state(now, pod.ref, exists=True))

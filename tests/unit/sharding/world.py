"""A small cluster in memory around the project's own protocol code: an API server, pods' processes, operators, time.

Only what is not the protocol is made up here: resourceVersions, lagging watches, requests that land late. What a
process or an operator does with what it reads is `Ownership`, `Right`, `LeaseObserver` and `plan`, as in production.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.ownership import Ownership
from mailpush.sharding.planning.death import LeaseObserver, PodLife
from mailpush.sharding.planning.leftovers import leftover_leases
from mailpush.sharding.planning.observed import OrphanLease
from mailpush.sharding.planning.planner import Observed, PodObservation, missing_leases, named_only_by_map, plan
from mailpush.sharding.rights import Right
from mailpush.sharding.shardmap import PodRef, ShardMap
from tests.unit.sharding.apiserver import Api, PodObject

Write = Callable[[], bool]


@dataclass
class Process:
    """One process of a pod: takes its Lease, renews, follows the map."""

    api: Api
    ref: PodRef
    map_position: int
    nonce: str
    right: Right = field(default_factory=Right)
    ownership: Ownership | None = None
    paused: bool = False
    dead: bool = False
    cut_off: bool = False
    map_lags: bool = False
    leases_lag: bool = False
    stops_slowly: bool = False
    draining: bool = False
    late_writes: list[Write] | None = None
    lease_positions: dict[str, int] = field(default_factory=dict)

    @property
    def runs(self) -> frozenset[int]:
        """Slots that it would act for when the clock lets it: also while it is paused."""
        return frozenset() if self.dead or self.ownership is None else self.ownership.running

    def step(self, now: float, renew: bool = True, read: bool = True) -> None:
        """One turn of its loops; in any turn only one of them may have come to something."""
        if self.dead or self.paused:
            return
        self.right.ticked(now)
        if self.api.up and not self.cut_off:
            if self.ownership is None:
                self._take(now)
            else:
                if renew:
                    self._renew(now)
                if read:
                    self._read()
        if self.ownership is not None and not self.dead:
            if not self.stops_slowly:
                self.ownership.stopped(self.ownership.to_stop())
            self.ownership.started(self.ownership.to_start())

    def _take(self, now: float) -> None:
        pod = self.api.pods.get(self.ref.name)
        version, lease = self.api.lease(self.ref.name)
        if pod is None or pod.ref != self.ref or lease is None:
            return
        if self.api.put_lease(self.ref.name, version, self._told(lease.taken_by(self._holder()))):
            self.ownership = Ownership(self.ref, lease)
            self.right.renewed(now)
            self._read(only_one=True)

    def _renew(self, now: float) -> None:
        assert self.ownership is not None
        version, lease = self.api.lease(self.ref.name)
        if lease is None or lease.holder != self._holder():
            self.exit()
            return
        if not self.right.may_renew(now):
            return
        new = self._told(lease.with_ack(self.ownership.ack()))

        def write() -> bool:
            if not self.api.put_lease(self.ref.name, version, new):
                return False
            self.right.renewed(now)
            return True

        if self.late_writes is None:
            write()
        else:
            self.late_writes.append(write)

    def _read(self, only_one: bool = False) -> None:
        if self.dead or self.ownership is None:
            return
        if not self.map_lags:
            last = self.map_position if only_one else len(self.api.maps) - 1
            for position in range(self.map_position, last + 1):
                if position < len(self.api.maps):
                    self.ownership.observe_map(*self.api.maps[position])
            self.map_position = max(self.map_position, last)
        if not self.leases_lag:
            for name in self.ownership.givers():
                # A watch may still show any older version: it shows them all, in order.
                for _, lease in self.api.leases.get(name, [])[self.lease_positions.get(name, 0) :]:
                    self.ownership.observe_lease(name, lease)
                self.lease_positions[name] = len(self.api.leases.get(name, []))

    def clean_exit(self) -> None:
        """Stops everything, then empties the holder, then ends."""
        if self.dead or self.paused or self.ownership is None or not self.api.up or self.cut_off:
            self.exit()  # without a word: nobody hears it
            return
        self.ownership.retire()
        self.ownership.stopped(self.ownership.to_stop())
        version, lease = self.api.lease(self.ref.name)
        if lease is not None and lease.holder == self._holder():
            self.api.put_lease(self.ref.name, version, lease.with_ack(self.ownership.ack()).released())
        self.exit()

    def exit(self) -> None:
        self.dead = True

    def _holder(self) -> Holder:
        return Holder(self.ref.name, self.ref.uid, self.nonce)

    def _told(self, lease: LeaseState) -> LeaseState:
        return replace(lease, capable=True, draining=self.draining, formats=frozenset({1}))


@dataclass
class Operator:
    """One operator process that believes to lead: observers, plans, and perhaps writes still in its hands."""

    api: Api
    observers: dict[str, LeaseObserver] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    overweight_since: float | None = None
    astray_since: float | None = None
    leases_lag: bool = False
    held: list[Write] | None = None

    def observe(self, now: float) -> None:
        for name in sorted({*self.api.pods, *self.api.leases, *(pod.name for pod in self._named())}):
            observer = self.observers.setdefault(name, LeaseObserver(name))
            versions = self.api.leases.get(name, [])
            if not versions:
                observer.see(now, None, None)
            elif not self.leases_lag or name not in self.positions:
                for version, lease in versions[self.positions.get(name, len(versions) - 1) :]:
                    observer.see(now, version, lease)
                self.positions[name] = len(versions)

    def step(self, now: float, weights: list[int], replicas: int, copies: list[ShardMap], max_in_flight: int) -> None:
        if not self.api.up:
            return
        self.observe(now)
        shard_map, seen = self.api.map(), None
        if shard_map is not None and self.api.map_uid is not None:
            seen = (self.api.map_uid, shard_map.epoch)
        objects = {pod.ref: pod for pod in self.api.pods.values()}
        refs = [*objects, *named_only_by_map(shard_map, list(objects))]
        observed = Observed(
            map=shard_map,
            map_uid=self.api.map_uid,
            pods=tuple(self._observation(now, ref, objects.get(ref)) for ref in refs),
            weights=weights,
            replicas=replicas,
            now=now,
            overweight_since=self.overweight_since,
            astray_since=self.astray_since,
            orphans=self._orphans(now, {ref.name for ref in refs}),
            copy=max(copies, key=lambda copy: copy.epoch, default=None),
            slots=self.api.slots,
        )
        for wanted in missing_leases(observed):
            self._write(partial(self.api.create_lease, wanted.name, LeaseState(floor=wanted.floor)))
        for name in leftover_leases(observed):
            version = self.observers[name].resource_version
            assert version is not None
            self._write(partial(self.api.remove_lease, name, version))
        todo = plan(observed, max_in_flight)
        self.overweight_since = todo.new_overweight_since
        self.astray_since = todo.new_astray_since
        if todo.fences:
            capable = [pod for pod in observed.pods if pod.life is PodLife.ALIVE and pod.lease and pod.lease.capable]
            assert capable, "S2: a pod is fenced although nobody can take its slots"
        for fence in todo.fences:
            observer = self.observers[fence.lease_name]
            assert observer.lease is not None
            assert observer.resource_version is not None
            fenced = observer.lease.fenced(fence.floor)
            self._write(partial(self.api.put_lease, fence.lease_name, observer.resource_version, fenced))
        if todo.next_map is not None:
            assert not todo.fences
            assert sum(len(move.slots) for move in todo.next_map.moves) <= max_in_flight
            self._write(partial(self.api.put_map, seen, todo.next_map))

    def _orphans(self, now: float, known: set[str]) -> tuple[OrphanLease, ...]:
        return tuple(
            OrphanLease(
                name, lease, observer.state(now, PodRef(name, lease.holder.uid if lease.holder else ""), exists=False)
            )
            for name, observer in sorted(self.observers.items())
            if name not in known and (lease := observer.lease) is not None
        )

    def _write(self, write: Write) -> None:
        if self.held is None:
            write()
        else:
            self.held.append(write)

    def _named(self) -> frozenset[PodRef]:
        shard_map = self.api.map()
        return shard_map.named() if shard_map else frozenset()

    def _observation(self, now: float, ref: PodRef, pod: PodObject | None) -> PodObservation:
        observer = self.observers[ref.name]
        return PodObservation(
            ref=ref,
            phase=pod.phase if pod else "",
            deleting=pod.deleting if pod else False,
            ordinal=int(ref.name.rpartition("-")[2]),
            revision_current=pod.revision_current if pod else True,
            lease=observer.lease,
            life=observer.state(now, ref, exists=pod is not None),
        )


class World:
    """Everything together, and the two promises: S1 (never two owners), and an owner for each slot in the end."""

    def __init__(self, pods: int = 3, slots: int = 6, max_in_flight: int = 2) -> None:
        self.now = 100.0
        self.api = Api(slots)
        self.replicas = pods
        self.weights = [1] * slots
        self.max_in_flight = max_in_flight
        self.processes: list[Process] = []
        self.operators = [Operator(self.api)]
        self.late: list[Write] = []
        for ordinal in range(pods):
            self.create_pod(f"l-{ordinal}")

    def create_pod(self, name: str) -> None:
        ref = PodRef(name, f"uid-{self.api.number()}")
        self.api.pods[name] = PodObject(ref)
        self.start(name)

    def start(self, name: str, stale_by: int = 0) -> Process:
        """The kubelet starts a container of the pod object of this name; its first list may come from a stale cache."""
        position = max(0, len(self.api.maps) - 1 - stale_by)
        process = Process(self.api, self.api.pods[name].ref, position, nonce=self.api.number())
        self.processes.append(process)
        return process

    def alive(self, name: str) -> Process | None:
        """The process of the pod object of this name."""
        pod = self.api.pods.get(name)
        return next((one for one in self.processes if pod and one.ref == pod.ref and not one.dead), None)

    def copies(self) -> list[ShardMap]:
        """The maps that live processes have in memory."""
        return [
            self.api.maps[one.map_position][1]
            for one in self.processes
            if not one.dead and not one.paused and one.ownership is not None and one.ownership.epoch
        ]

    def operate(self, operator: Operator) -> None:
        operator.step(self.now, self.weights, self.replicas, self.copies(), self.max_in_flight)

    def api_goes(self, up: bool) -> None:
        self.api.up = up
        for operator in self.operators:
            for observer in operator.observers.values():
                if up:
                    observer.readable(self.now)
                else:
                    observer.unreadable(self.now)

    def owners(self, slot: int) -> list[Process]:
        """The processes that may act for `slot` now."""
        return [one for one in self.processes if slot in one.runs and one.right.holds(self.now)]

    def check_one_owner(self) -> None:
        for slot in range(self.api.slots):
            owners = [f"{one.ref} ({one.nonce})" for one in self.owners(slot)]
            assert len(owners) <= 1, f"S1: slot {slot} has two owners: {owners}"

    def pass_time(self, seconds: float) -> None:
        """Nothing happens but that time passes."""
        self.now += seconds

    def run(self, seconds: float, restart: bool = True) -> None:
        """A world in order: everybody acts each half second, the kubelet starts what has ended."""
        for _ in range(int(2 * seconds)):
            self.pass_time(0.5)
            for process in list(self.processes):
                process.step(self.now)
                self.check_one_owner()
            for operator in self.operators:
                self.operate(operator)
                self.check_one_owner()
            for name, pod in self.api.pods.items():
                if restart and pod.phase == "Running" and self.alive(name) is None:
                    self.start(name)
            self.processes = [one for one in self.processes if not one.dead] or self.processes[-1:]

    def usable(self) -> list[Process]:
        """The processes that are to own slots when nothing is wrong."""
        return [
            process
            for name, pod in self.api.pods.items()
            if pod.phase == "Running"
            and not pod.deleting
            and int(name.rpartition("-")[2]) < self.replicas
            and (process := self.alive(name)) is not None
            and not process.draining
        ]

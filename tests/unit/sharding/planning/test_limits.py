"""Every plan fits the definition of a ShardMap, also after restarts have mixed the slots of a hundred pods."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.planner import MAX_IN_FLIGHT, MAX_MOVES, Observed, Plan, PodObservation, plan
from mailpush.sharding.planning.restore import COPY_WITHIN
from mailpush.sharding.shardmap import PodRef, ShardMap
from mailpush.sharding.slots import SLOTS

CRD = yaml.safe_load((Path(__file__).parents[4] / "crds/shardmaps.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
DEFINITION = Draft202012Validator(SCHEMA)
"""What the API server takes, as it is installed."""
PODS = 100
UID = "map"
MOST_CHANGE = 1024
"""Characters that the definition takes for a change's message."""


class Cluster:
    """A hundred pods that do at once what the map says; `weights` are 100,000 users."""

    def __init__(self, seed: int, pods: int = PODS, users: int = 100_000) -> None:
        chance = random.Random(seed)
        self.refs = [PodRef(f"l-{ordinal}", f"u{ordinal}") for ordinal in range(pods)]
        self.weights = [0] * SLOTS
        for _ in range(users):
            self.weights[chance.randrange(SLOTS)] += 1
        # Aged: each pod's slots lie anywhere, and have had to go to every other pod at some time.
        owners = [slot % pods for slot in range(SLOTS)]
        chance.shuffle(owners)
        self.map = ShardMap(5, False, tuple(self.refs), tuple(owners))
        self.replicas: int | None = pods
        self.draining: set[int] = set()
        self.dead: set[int] = set()
        self.returned: set[int] = set()
        self.fenced: set[str] = set()

    def observed(self) -> Observed:
        return Observed(
            map=self.map,
            map_uid=UID,
            pods=tuple(self._pod(ordinal) for ordinal in range(len(self.refs))),
            weights=self.weights,
            replicas=self.replicas,
            now=1000.0,
        )

    def follow(self, todo: Plan) -> None:
        self.fenced.update(fence.lease_name for fence in todo.fences)
        if todo.next_map is not None:
            self.map = todo.next_map

    def _pod(self, ordinal: int) -> PodObservation:
        ref, epoch = self.refs[ordinal], self.map.epoch
        lease = LeaseState(
            holder=Holder(ref.name, ref.uid, "n"),
            map_uid=UID,
            applied_epoch=epoch,
            released_through=epoch,
            capable=True,
            draining=ordinal in self.draining,
        )
        life = PodLife.RETURNED if ordinal in self.returned else PodLife.ALIVE
        if ordinal in self.dead:
            life = PodLife.EXPIRED
            if ref.name in self.fenced:
                lease, life = LeaseState(map_uid=UID, floor=epoch + 1), PodLife.RELEASED
        return PodObservation(ref, "Running", False, ordinal, True, lease, life)


def fits(todo: Plan) -> None:
    assert all(len(change.text) <= MOST_CHANGE for change in todo.changes)
    if todo.next_map is not None:
        spec = todo.next_map.to_spec()
        assert [error.message[:200] for error in DEFINITION.iter_errors(spec)] == []
        assert len(todo.next_map.moves) <= MAX_MOVES
        assert todo.next_map.epoch > 0
        assert sum(len(move.slots) for move in todo.next_map.moves) <= MAX_IN_FLIGHT


def shrink(cluster: Cluster) -> None:
    cluster.replicas = 80


def drain_twenty(cluster: Cluster) -> None:
    cluster.draining = set(range(0, PODS, 5))


def lose_thirty(cluster: Cluster) -> None:
    cluster.dead = set(range(0, 90, 3))


def lose_and_drain(cluster: Cluster) -> None:
    cluster.dead = set(range(0, 30))
    cluster.draining = set(range(30, 60))


@pytest.mark.parametrize("happens", [shrink, drain_twenty, lose_thirty, lose_and_drain])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_plan_fits_and_the_last_slot_arrives(happens: Callable[[Cluster], None], seed: int) -> None:
    """100 -> 80 pods were 1,163 moves, which the API server refused for ever."""
    cluster = Cluster(seed)
    happens(cluster)
    out = (
        cluster.dead
        | cluster.draining
        | {n for n in range(PODS) if cluster.replicas is not None and n >= cluster.replicas}
    )
    for _ in range(60):
        todo = plan(cluster.observed())
        fits(todo)
        if todo.next_map is None and not todo.fences:
            break
        cluster.follow(todo)
    assert not cluster.map.moves
    left = {ref.name for ref in cluster.map.owner_refs() if ref is not None}
    assert not left & {cluster.refs[ordinal].name for ordinal in out}
    assert None not in cluster.map.owner_refs()


def test_what_is_taken_from_the_dead_is_written_first_and_by_itself() -> None:
    cluster = Cluster(3)
    lose_and_drain(cluster)
    cluster.follow(plan(cluster.observed()))
    assert len(cluster.fenced) == 30
    todo = plan(cluster.observed())
    assert todo.next_map is not None
    assert todo.next_map.moves == ()
    dead = {cluster.refs[ordinal] for ordinal in cluster.dead}
    assert not dead & set(todo.next_map.owner_refs())
    cluster.follow(todo)
    after = plan(cluster.observed()).next_map
    assert after is not None
    assert after.moves, "the drain comes next"


def test_a_lone_silent_pod_and_a_cluster_of_silent_pods_are_not_fenced() -> None:
    """After a partition every process found its Lease empty and ended, and nobody had taken over."""
    cluster = Cluster(4)
    cluster.dead = set(range(PODS))
    todo = plan(cluster.observed())
    assert (todo.fences, todo.next_map) == ((), None)
    cluster.dead.discard(7)
    cluster.returned.add(7)
    assert plan(cluster.observed()).fences == (), "it has only just come back, and the others perhaps do"
    cluster.returned.discard(7)
    assert len(plan(cluster.observed()).fences) == PODS - 1


def test_as_long_as_nobody_knows_how_many_pods_are_wanted_none_is_one_too_many() -> None:
    """Not evaluated yet counted as no replicas: every pod was leaving, and a dead pod's users were moved nowhere."""
    cluster = Cluster(5)
    cluster.replicas = None
    cluster.dead = {3}
    cluster.follow(plan(cluster.observed()))
    todo = plan(cluster.observed())
    assert todo.next_map is not None
    assert cluster.refs[3] not in todo.next_map.owner_refs()
    assert None not in todo.next_map.owner_refs()


@pytest.mark.parametrize(
    "lease",
    [
        LeaseState(holder=Holder("l-0", "u0", "n"), map_uid="of-before", applied_epoch=90, capable=True),
        LeaseState(holder=Holder("l-0", "u0", "n"), map_uid=UID, applied_epoch=90, capable=True),
        LeaseState(map_uid="of-before", applied_epoch=4, floor=91),
        LeaseState(holder=Holder("l-0", "u0", "n"), map_uid="of-before", applied_epoch=5, capable=True),
    ],
)
def test_a_map_that_is_no_successor_is_made_again_above_everything(lease: LeaseState) -> None:
    """A restored backup was raised epoch by epoch until the pods followed it: two owners (P10)."""
    cluster = Cluster(6)
    observed = cluster.observed()
    pods = (PodObservation(cluster.refs[0], "Running", False, 0, True, lease, PodLife.ALIVE), *observed.pods[1:])
    todo = plan(replace(observed, pods=pods, astray_since=observed.now - COPY_WITHIN))
    assert todo.fences == ()
    assert todo.next_map is not None
    assert todo.next_map.restoring
    assert todo.next_map.moves == ()
    assert todo.next_map.epoch == max(lease.threshold, cluster.map.epoch) + 1_000_000
    assert [change.reason for change in todo.changes] == ["MapRestored"]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    fates=st.lists(st.sampled_from(["lives", "lives", "lives", "drains", "dies"]), min_size=2, max_size=100),
    users=st.sampled_from([0, 50, 5_000, 100_000]),
    replicas=st.none() | st.integers(1, 100),
)
def test_whatever_pods_do_each_plan_fits(seed: int, fates: list[str], users: int, replicas: int | None) -> None:
    cluster = Cluster(seed, len(fates), users)
    cluster.replicas = replicas
    cluster.draining = {ordinal for ordinal, fate in enumerate(fates) if fate == "drains"}
    cluster.dead = {ordinal for ordinal, fate in enumerate(fates) if fate == "dies"}
    for _ in range(5):
        todo = plan(cluster.observed())
        fits(todo)
        cluster.follow(todo)


def test_a_map_names_no_more_pods_than_its_definition_allows() -> None:
    """A thousand pods that are replaced are two thousand for a while."""
    cluster = Cluster(7, 2_000, 1_000)
    cluster.map = replace(cluster.map, pods=tuple(cluster.refs[:1_000]), owners=tuple(n % 1_000 for n in range(SLOTS)))
    cluster.draining = set(range(1_000))
    for _ in range(3):
        todo = plan(cluster.observed())
        assert todo.next_map is not None
        fits(todo)
        cluster.follow(todo)

"""Whole stories in the small cluster: what issue and protocol promise, one fault each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.sharding.world import Operator, Process, World


@pytest.fixture
def world() -> World:
    """Three pods that have shared out all slots, two each."""
    world = World(pods=3, slots=6, max_in_flight=6)
    world.run(10)
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}
    return world


def spread(world: World) -> dict[str, int]:
    counts: dict[str, int] = {}
    for slot in range(world.api.slots):
        for process in world.owners(slot):
            counts[process.ref.name] = counts.get(process.ref.name, 0) + 1
    return counts


def process_of(world: World, name: str) -> Process:
    process = world.alive(name)
    assert process is not None
    return process


def epoch(world: World) -> int:
    shard_map = world.api.map()
    assert shard_map is not None
    return shard_map.epoch


def test_in_an_orderly_world_nothing_is_written_any_more(world: World) -> None:
    before = epoch(world)
    world.run(120)
    assert epoch(world) == before


def test_an_operator_that_restarts_moves_nothing(world: World) -> None:
    before = epoch(world)
    world.operators = [Operator(world.api)]
    world.run(60)
    assert epoch(world) == before


def test_a_killed_pod_is_replaced_within_twenty_seconds(world: World) -> None:
    world.api.pods["l-1"].phase = "Unknown"
    process_of(world, "l-1").exit()
    world.run(20, restart=False)
    assert spread(world) == {"l-0": 3, "l-2": 3}


def test_a_paused_pod_loses_its_slots_and_never_acts_beside_the_new_owner(world: World) -> None:
    paused = process_of(world, "l-1")
    paused.paused = True
    world.run(20, restart=False)
    assert spread(world) == {"l-0": 3, "l-2": 3}
    paused.paused = False
    world.run(30)
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}


def test_a_pod_that_is_cut_off_and_heals_never_acts_beside_the_new_owner(world: World) -> None:
    process_of(world, "l-1").cut_off = True
    world.run(20, restart=False)
    assert spread(world) == {"l-0": 3, "l-2": 3}
    process_of(world, "l-1").cut_off = False
    world.run(30)
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}


@pytest.mark.parametrize("pods", [1, 3])
def test_where_all_pods_are_cut_off_each_goes_on_with_its_slots_afterwards(pods: int) -> None:
    world = World(pods=pods, slots=6, max_in_flight=6)
    world.run(10)
    processes, before = list(world.processes), spread(world)
    for process in processes:
        process.cut_off = True
    world.run(60, restart=False)
    for process in processes:
        process.cut_off = False
    world.run(10, restart=False)
    assert spread(world) == before
    assert not any(process.dead for process in processes)


@settings(max_examples=60, deadline=None)
@given(
    pods=st.integers(2, 5),
    away=st.integers(9, 60),
    gaps=st.lists(st.sampled_from([0, 0.5, 1, 2.5, 5]), min_size=4, max_size=4),
    new_leader=st.booleans(),
)
def test_pods_that_were_all_cut_off_and_come_back_one_after_the_other_are_not_fenced(
    pods: int, away: int, gaps: list[float], new_leader: bool
) -> None:
    """The first one counted as a successor at once: two of three found their Leases empty, and ended."""
    world = World(pods=pods, slots=6, max_in_flight=6)
    world.run(10)
    processes, before = list(world.processes), spread(world)
    for process in processes:
        process.cut_off = True
    world.run(away, restart=False)
    if new_leader:
        world.operators = [Operator(world.api)]
    back = sorted((min(5.0, gap), process.ref.name) for gap, process in zip([0.0, *gaps], processes, strict=False))
    passed = 0.0
    for at, name in back:
        world.run(at - passed, restart=False)
        passed = at
        process_of(world, name).cut_off = False
    world.run(30, restart=False)
    assert not any(process.dead for process in processes)
    assert spread(world) == before


def test_pods_that_do_not_come_back_with_their_siblings_are_replaced_within_seven_seconds(world: World) -> None:
    for process in world.processes:
        process.cut_off = True
    world.run(40, restart=False)
    process_of(world, "l-0").cut_off = False
    world.run(6, restart=False)
    assert not process_of(world, "l-1").dead
    world.run(3, restart=False)
    assert spread(world) == {"l-0": 6}


@pytest.mark.parametrize("away", [0, 4, 9])
def test_a_dead_pod_is_replaced_within_twenty_seconds_also_where_the_others_have_hiccups(
    world: World, away: int
) -> None:
    process_of(world, "l-1").exit()
    world.run(5, restart=False)
    for process in world.processes:
        process.cut_off = True
    world.run(away, restart=False)
    for process in world.processes:
        process.cut_off = False
    world.run(15 - away, restart=False)
    assert spread(world) == {"l-0": 3, "l-2": 3}


def test_a_forced_delete_is_no_proof_of_death(world: World) -> None:
    old = process_of(world, "l-1")
    old.cut_off = True
    world.create_pod("l-1")
    world.run(8, restart=False)
    assert old.runs
    world.run(30)
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}


def test_a_restarted_container_has_its_slots_back_at_once(world: World) -> None:
    before = epoch(world)
    mine = process_of(world, "l-1").runs
    process_of(world, "l-1").exit()
    world.run(2)
    assert process_of(world, "l-1").runs == mine
    assert epoch(world) == before


def test_a_clean_stop_is_taken_over_without_waiting(world: World) -> None:
    process_of(world, "l-1").clean_exit()
    world.run(4, restart=False)
    assert spread(world) == {"l-0": 3, "l-2": 3}


def test_a_drained_pod_gives_everything_before_it_ends(world: World) -> None:
    process_of(world, "l-1").draining = True
    world.run(10)
    assert process_of(world, "l-1").runs == frozenset()
    assert spread(world) == {"l-0": 3, "l-2": 3}


def test_a_scale_down_drains_first(world: World) -> None:
    world.replicas = 2
    world.run(10)
    assert spread(world) == {"l-0": 3, "l-1": 3}
    assert process_of(world, "l-2").runs == frozenset()


def test_the_lease_of_a_pod_that_was_scaled_away_goes_and_a_process_that_comes_back_ends(world: World) -> None:
    world.replicas = 2
    world.run(10)
    back = process_of(world, "l-2")
    back.paused = True
    del world.api.pods["l-2"]  # by force: its process is still there
    world.run(10)
    assert world.api.lease("l-2")[1] is not None
    world.run(30)
    assert [world.api.lease(name)[1] is None for name in ("l-0", "l-1", "l-2")] == [False, False, True]
    back.paused = False
    world.run(10)
    assert back.dead
    world.replicas = 3
    world.create_pod("l-2")
    world.run(40)
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}


def test_an_api_that_was_down_for_an_hour_costs_nobody_a_slot(world: World) -> None:
    before = epoch(world)
    world.api_goes(False)
    world.run(3600)
    world.api_goes(True)
    world.run(20)
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}
    assert epoch(world) == before


def test_a_deleted_lease_is_made_again_and_its_pod_comes_back(world: World) -> None:
    world.api.delete_lease("l-1")
    world.run(60)
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}


def test_a_deleted_map_is_made_again_from_a_copy_and_nobody_moves(world: World) -> None:
    mine = {name: process_of(world, name).runs for name in world.api.pods}
    before = epoch(world)
    world.api.map_uid = None
    world.run(20)
    assert epoch(world) >= before + 1_000_000
    assert {name: process_of(world, name).runs for name in world.api.pods} == mine
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}


def test_a_rolling_update_leaves_every_slot_with_an_owner(world: World) -> None:
    for pod in world.api.pods.values():
        pod.revision_current = False
    for name in ("l-2", "l-1", "l-0"):
        world.api.pods[name].deleting = True
        process_of(world, name).draining = True
        world.run(10)
        process_of(world, name).clean_exit()
        world.create_pod(name)
        world.run(10)
    world.run(20)
    assert spread(world) == {"l-0": 2, "l-1": 2, "l-2": 2}


def test_a_pod_that_is_marked_failed_while_its_process_runs_keeps_its_slots_until_it_is_silent(world: World) -> None:
    """Pod garbage collection marks the pods of a Node object that is gone; their processes may run on."""
    world.run(8)
    process = world.alive("l-1")
    assert process is not None
    before = process.runs
    world.api.pods["l-1"].phase = "Failed"
    world.run(20)  # which checks that no slot has two owners
    assert process.runs == before
    process.cut_off = True
    world.run(40, restart=False)
    assert all(world.owners(slot) for slot in before)

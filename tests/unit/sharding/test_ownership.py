"""The pod's side (P3, P6, P7, P10)."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailpush.sharding.leases import Ack, Holder, LeaseState
from mailpush.sharding.ownership import Ownership
from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap

ME, OTHER, THIRD = PodRef("l-0", "me"), PodRef("l-1", "other"), PodRef("l-2", "third")
FRESH = LeaseState()


def make_map(epoch: int, owners: str, *moves: Move, restoring: bool = False) -> ShardMap:
    """`owners` is a letter per slot: m(e), o(ther), t(hird) or - for none."""
    indexes = {"m": 0, "o": 1, "t": 2, "-": NONE}
    return ShardMap(epoch, restoring, (ME, OTHER, THIRD), tuple(indexes[letter] for letter in owners), moves)


def running(start: LeaseState, *maps: ShardMap) -> Ownership:
    """A process that has followed these maps and does at once what it is to do."""
    ownership = Ownership(ME, start)
    for shard_map in maps:
        ownership.observe_map("map", shard_map)
        ownership.stopped(ownership.to_stop())
        ownership.started(ownership.to_start())
    return ownership


def giver_lease(through: int, *, uid: str = "other", map_uid: str | None = "map") -> LeaseState:
    return LeaseState(holder=Holder("l-1", uid, "n"), map_uid=map_uid, released_through=through)


def test_a_pod_runs_what_the_map_gives_it() -> None:
    ownership = running(FRESH, make_map(1, "mmo-"))
    assert ownership.desired == {0, 1}
    assert ownership.running == {0, 1}
    assert ownership.ack() == Ack("map", 1, 1)


def test_before_the_first_map_there_is_nothing_to_run_and_nothing_to_say() -> None:
    ownership = Ownership(ME, LeaseState(map_uid="map", applied_epoch=4, released_through=5))
    assert ownership.desired == frozenset()
    assert ownership.ack() == Ack("map", 4, 5)


def test_a_process_stops_before_it_acks() -> None:
    ownership = running(FRESH, make_map(1, "mmo"))
    ownership.observe_map("map", make_map(2, "moo"))
    assert ownership.to_stop() == {1}
    assert ownership.ack() == Ack("map", 1, 1)
    ownership.stopped({1})
    assert ownership.ack() == Ack("map", 2, 2)


def test_a_giver_stops_what_moves_although_the_map_still_names_it_the_owner() -> None:
    move = Move(ME, OTHER, 2, frozenset({1}))
    ownership = running(FRESH, make_map(1, "mm"))
    ownership.observe_map("map", make_map(2, "mm", move))
    assert ownership.to_stop() == {1}
    ownership.stopped({1})
    assert ownership.ack() == Ack("map", 2, 2)
    assert ownership.desired == {0}


def test_a_giver_releases_the_moves_that_are_done_without_waiting_for_later_ones() -> None:
    first, second = Move(ME, OTHER, 2, frozenset({0})), Move(ME, OTHER, 3, frozenset({1}))
    ownership = running(FRESH, make_map(1, "mmm"))
    ownership.observe_map("map", make_map(2, "mmm", first))
    ownership.observe_map("map", make_map(3, "mmm", first, second))
    ownership.stopped({0})
    assert ownership.ack() == Ack("map", 1, 2)
    ownership.stopped({1})
    assert ownership.ack() == Ack("map", 3, 3)


def test_nothing_is_released_early_while_a_slot_that_just_went_away_still_stops() -> None:
    move = Move(ME, OTHER, 3, frozenset({1}))
    ownership = running(FRESH, make_map(1, "mmm"))
    ownership.observe_map("map", make_map(3, "omm", move))
    assert ownership.ack() == Ack("map", 1, 1)
    ownership.stopped({1})
    assert ownership.ack() == Ack("map", 1, 1)


def test_where_there_is_nothing_to_release_the_ack_rises_at_once() -> None:
    assert running(FRESH, make_map(1, "oo"), make_map(2, "ot")).ack() == Ack("map", 2, 2)


def test_a_receiver_warms_up_and_starts_only_after_the_release() -> None:
    move = Move(OTHER, ME, 5, frozenset({1}))
    ownership = running(FRESH, make_map(5, "mo", move))
    assert ownership.to_start() == frozenset()
    assert ownership.to_warm() == {1}
    assert ownership.to_read() == {0, 1}
    assert ownership.givers() == {"l-1"}
    ownership.observe_lease("l-1", giver_lease(5))
    assert ownership.to_start() == {1}
    assert ownership.to_warm() == frozenset()
    ownership.started({1})
    assert ownership.running == {0, 1}
    assert ownership.givers() == frozenset()


@pytest.mark.parametrize(
    "lease",
    [
        None,
        giver_lease(4),
        giver_lease(5, uid="a later pod of the same name"),
        giver_lease(5, map_uid="a deleted map"),
        giver_lease(5, map_uid=None),
        replace(giver_lease(5), holder=None),
    ],
)
def test_what_is_no_release_by_the_very_giver_starts_nothing(lease: LeaseState | None) -> None:
    ownership = running(FRESH, make_map(5, "mo", Move(OTHER, ME, 5, frozenset({1}))))
    ownership.observe_lease("l-1", lease)
    assert ownership.to_start() == frozenset()


def test_a_release_that_was_seen_before_the_map_counts() -> None:
    ownership = Ownership(ME, FRESH)
    ownership.observe_lease("l-1", giver_lease(6))
    ownership.observe_lease("l-1", giver_lease(2))
    ownership.observe_map("map", make_map(5, "o", Move(OTHER, ME, 5, frozenset({0}))))
    assert ownership.to_start() == {0}


def test_a_received_slot_runs_on_while_the_move_has_not_ended_and_after() -> None:
    move = Move(OTHER, ME, 5, frozenset({0}))
    ownership = running(FRESH, make_map(5, "o", move))
    ownership.observe_lease("l-1", giver_lease(5))
    ownership.started(ownership.to_start())
    for later in (make_map(6, "o", move), make_map(7, "m")):
        ownership.observe_map("map", later)
        assert ownership.to_stop() == frozenset()
        assert ownership.running == {0}


def test_a_dropped_move_gives_the_slot_back_to_its_giver() -> None:
    ownership = running(FRESH, make_map(1, "m"), make_map(2, "m", Move(ME, OTHER, 2, frozenset({0}))))
    assert ownership.running == frozenset()
    ownership.observe_map("map", make_map(3, "m"))
    assert ownership.to_start() == {0}


@pytest.mark.parametrize(
    ("start", "epoch", "starts"),
    [
        (LeaseState(applied_epoch=5), 4, False),
        (LeaseState(applied_epoch=5), 5, True),
        (LeaseState(released_through=5), 4, False),
        (LeaseState(released_through=5), 5, True),
        (LeaseState(floor=5), 4, False),
        (LeaseState(floor=5), 5, True),
    ],
)
def test_a_restarted_process_starts_nothing_from_a_map_older_than_its_lease(
    start: LeaseState, epoch: int, starts: bool
) -> None:
    ownership = running(start, make_map(epoch, "m"))
    assert ownership.running == (frozenset({0}) if starts else frozenset())


def test_a_map_below_the_floor_may_be_acked_and_never_lowers_the_ack() -> None:
    start = LeaseState(map_uid="map", applied_epoch=3, released_through=3, floor=6)
    ownership = running(start, make_map(2, "m"))
    assert ownership.ack() == Ack("map", 3, 3)
    ownership.observe_map("map", make_map(5, "m"))
    assert ownership.ack() == Ack("map", 5, 5)
    assert ownership.desired == frozenset()
    ownership.observe_map("map", make_map(6, "m"))
    assert ownership.to_start() == {0}


def test_an_older_map_from_a_stale_cache_changes_nothing() -> None:
    ownership = running(FRESH, make_map(4, "oo"))
    ownership.observe_map("map", make_map(3, "mm"))
    ownership.observe_map("map", make_map(4, "mm"))
    assert ownership.desired == frozenset()


def test_a_restoring_map_stops_what_it_does_not_give_and_starts_nothing() -> None:
    ownership = running(FRESH, make_map(1, "mm-"))
    ownership.observe_map("new", make_map(1_000_001, "omm", restoring=True))
    assert ownership.to_stop() == {0}
    assert ownership.to_start() == frozenset()
    assert ownership.ack() == Ack("map", 1, 1)
    ownership.stopped({0})
    assert ownership.ack() == Ack("new", 1_000_001, 1_000_001)
    assert ownership.running == {1}
    ownership.observe_map("new", make_map(1_000_002, "omm"))
    assert ownership.to_start() == {2}


def test_another_maps_epochs_release_nothing_early() -> None:
    ownership = running(FRESH, make_map(1, "mm"))
    ownership.observe_map("new", make_map(9, "mm", Move(ME, OTHER, 9, frozenset({0}))))
    assert ownership.ack() == Ack("map", 1, 1)


def test_a_retired_process_stops_everything_and_starts_nothing_more() -> None:
    ownership = running(FRESH, make_map(1, "mo", Move(OTHER, ME, 1, frozenset({1}))))
    ownership.retire()
    ownership.observe_lease("l-1", giver_lease(1))
    assert ownership.to_stop() == {0}
    assert ownership.to_start() == frozenset()
    assert ownership.to_warm() == frozenset()
    ownership.stopped({0})
    assert ownership.running == frozenset()


class KeepsAll(Ownership):
    """Drops no release that it has seen."""

    def _may_matter(self, giver: PodRef, through: int) -> bool:
        return True


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("lease"), st.sampled_from("abc"), st.integers(0, 3)),
        st.tuples(st.just("map"), st.integers(0, 1), st.sets(st.sampled_from("abc"), min_size=1, max_size=2)),
        st.tuples(st.just("read"), st.booleans(), st.booleans()),
        st.tuples(st.just("made again"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
@example([("read", True, True), ("map", 0, {"a"}), ("lease", "a", 0), ("read", True, True)])
def test_a_release_that_is_dropped_would_have_started_nothing(steps: list[tuple[Any, ...]]) -> None:
    """Maps with moves to me are written, some of which I never see; Leases come before and after their maps."""
    one, other = Ownership(ME, FRESH), KeepsAll(ME, FRESH)
    givers = {letter: PodRef(f"l-{letter}", f"u-{letter}") for letter in "abc"}
    epoch, uid, moves = 1, "map", dict[str, Move]()

    def written() -> ShardMap:
        return ShardMap(epoch, False, (ME, *givers.values()), (1, 2, 3), tuple(moves.values()))

    for step in steps:
        if step[0] == "lease":
            giver = givers[step[1]]
            lease = LeaseState(holder=Holder(*giver, "n"), map_uid=uid, released_through=max(0, epoch - step[2]))
            one.observe_lease(giver.name, lease)
            other.observe_lease(giver.name, lease)
        elif step[0] == "map":
            for letter in step[2]:  # each slot begins to move, or its move is dropped
                epoch += 1
                slot = frozenset({"abc".index(letter)})
                if moves.pop(letter, None) is None:
                    moves[letter] = Move(givers[letter], ME, epoch, slot)
            epoch += step[1]
        elif step[0] == "made again":
            epoch, uid, moves = epoch + 1_000_000, f"{uid}'", {}
        if step[0] in ("read", "made again"):
            for ownership in (one, other):
                ownership.observe_map(uid, written())
                ownership.stopped(ownership.to_stop())
            assert one.to_start() == other.to_start()
            if step[1]:
                one.started(one.to_start())
                other.started(other.to_start())
        assert one.desired == other.desired


def test_what_a_process_remembers_of_others_releases_does_not_grow_with_their_lives() -> None:
    """Each life of each pod left an entry for ever: a rolling restart of 100 pods is 100 more."""
    ownership = running(FRESH, make_map(1, "mo"))
    for life in range(1000):
        lease = giver_lease(1 + life, uid=f"life-{life}", map_uid=f"map-{life // 100}")
        ownership.observe_lease("l-1", lease)
        ownership.observe_map("map", make_map(1 + life, "mo"))
        assert len(ownership._releases) <= 1


def test_a_slot_is_inherited_unless_its_giver_was_seen_to_release_it() -> None:
    ownership = Ownership(ME, FRESH)
    ownership.observe_map("map", make_map(5, "moo-", Move(OTHER, ME, 5, frozenset({1, 2}))))
    assert ownership.inherited({0}) == {0}, "of this pod's former process, or nobody's"
    ownership.observe_lease("l-1", giver_lease(5))
    assert ownership.inherited(ownership.to_start()) == {0}
    ownership.observe_map("map", make_map(6, "mmm-"))
    assert ownership.inherited({1, 2}) == frozenset(), "although the move has ended before it was started"


def test_what_a_giver_dies_with_is_inherited() -> None:
    ownership = Ownership(ME, FRESH)
    ownership.observe_map("map", make_map(5, "mo", Move(OTHER, ME, 5, frozenset({1}))))
    ownership.observe_map("map", make_map(6, "mm"))
    assert ownership.inherited({1}) == {1}


def test_a_slot_that_goes_and_comes_back_by_a_death_is_inherited() -> None:
    ownership = running(FRESH, make_map(5, "mo", Move(OTHER, ME, 5, frozenset({1}))))
    ownership.observe_lease("l-1", giver_lease(5))
    ownership.started(ownership.to_start())
    ownership.observe_map("map", make_map(6, "mm"))
    ownership.observe_map("map", make_map(7, "mo"))
    ownership.stopped(ownership.to_stop())
    ownership.observe_map("map", make_map(8, "mm"))
    assert ownership.inherited({1}) == {1}

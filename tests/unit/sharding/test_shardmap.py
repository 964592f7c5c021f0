"""The shard map and its spec (P2)."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap, ShardMapError, lost_between
from mailpush.sharding.slots import SLOTS

A, B, C = PodRef("l-0", "a"), PodRef("l-1", "b"), PodRef("l-2", "c")
SMALL = ShardMap(7, False, (A, None, B), (0, 0, 2, NONE), (Move(A, B, 6, frozenset({1})),))


def small_spec(**changes: Any) -> dict[str, Any]:
    return {**SMALL.to_spec(), **changes}


@st.composite
def shard_maps(draw: st.DrawFn) -> ShardMap:
    pods = draw(st.lists(st.sampled_from([A, B, C]), unique=True, min_size=1))
    places: tuple[PodRef | None, ...] = tuple(draw(st.permutations([*pods, None])))
    used = [place for place, pod in enumerate(places) if pod is not None]
    owners = tuple(draw(st.lists(st.sampled_from([*used, NONE]), min_size=8, max_size=8)))
    moves: dict[tuple[int, int, int], set[int]] = {}
    for slot in draw(st.sets(st.integers(0, 7))):
        receiver = draw(st.sampled_from(used))
        if owners[slot] not in (NONE, receiver):
            moves.setdefault((owners[slot], receiver, draw(st.integers(0, 3))), set()).add(slot)
    as_moves = []
    for (giver, receiver, epoch), slots in moves.items():
        from_pod, to_pod = places[giver], places[receiver]
        assert from_pod is not None
        assert to_pod is not None
        as_moves.append(Move(from_pod, to_pod, epoch, frozenset(slots)))
    return ShardMap(draw(st.integers(0, 2**63 - 1)), draw(st.booleans()), places, owners, tuple(as_moves))


@given(shard_maps())
def test_a_map_comes_back_as_it_went(shard_map: ShardMap) -> None:
    assert ShardMap.from_spec(shard_map.to_spec(), slots=8) == shard_map


def test_the_spec_has_the_protocols_form() -> None:
    assert SMALL.to_spec() == {
        "formatVersion": 1,
        "epoch": 7,
        "restoring": False,
        "pods": [{"name": "l-0", "uid": "a"}, {"name": "", "uid": ""}, {"name": "l-1", "uid": "b"}],
        "owners": base64.b64encode(bytes([0, 0, 0, 0, 0, 2, 255, 255])).decode(),
        "moves": [{"from": 0, "to": 2, "epoch": 6, "slots": "1"}],
    }


def test_the_empty_map_has_every_slot_and_no_owner() -> None:
    empty = ShardMap.empty()
    assert len(empty.owners) == SLOTS
    assert empty.epoch == 0
    assert empty.owner_of(SLOTS - 1) is None
    assert empty.named() == frozenset()
    assert ShardMap.from_spec(empty.to_spec()) == empty


def test_a_moving_slot_still_belongs_to_its_giver() -> None:
    assert SMALL.owner_of(1) == A
    assert SMALL.slots_of(A) == {0, 1}
    assert SMALL.slots_of(B) == {2}
    assert SMALL.slots_of(C) == frozenset()
    assert SMALL.moving() == {1: SMALL.moves[0]}
    assert SMALL.named() == {A, B}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (small_spec(formatVersion=2), "formatVersion is 2"),
        (small_spec(formatVersion=True), "formatVersion is True"),
        ({}, "formatVersion is None"),
        (small_spec(epoch=-1), "epoch is -1"),
        (small_spec(epoch="7"), "epoch is '7'"),
        (small_spec(restoring="no"), "restoring"),
        (small_spec(pods="l-0"), "pods is no list"),
        (small_spec(pods=[{"name": "l-0"}]), "without a name and a uid"),
        (small_spec(pods=[{"name": "l-0", "uid": ""}]), "without a name and a uid"),
        (small_spec(pods=[{"name": "l-0", "uid": "a"}] * 3), "names a pod twice"),
        (small_spec(pods=SMALL.to_spec()["pods"][:2]), "owners names the pod 2"),
        (small_spec(owners="!"), "no base64"),
        (small_spec(owners="AAAA"), "holds 3 bytes, not the 8 of 4 slots"),
        (small_spec(owners=None), "holds 0 bytes"),
        (small_spec(moves=[{"from": 0, "to": 0, "epoch": 1, "slots": "1"}]), "to itself"),
        (small_spec(moves=[{"from": 0, "to": 1, "epoch": 1, "slots": "1"}]), "a free place"),
        (small_spec(moves=[{"from": 0, "to": 9, "epoch": 1, "slots": "1"}]), "to is 9"),
        (small_spec(moves=[{"from": 0, "to": 2, "epoch": 1, "slots": "2"}]), "does not own"),
        (small_spec(moves=[{"from": 0, "to": 2, "epoch": 1, "slots": "3"}]), "does not own"),
        (small_spec(moves=[{"from": 0, "to": 2, "epoch": 1, "slots": "9"}]), "goes beyond 3"),
        (small_spec(moves=[{"from": 0, "to": 2, "epoch": 1, "slots": "1"}] * 2), "two moves name one slot"),
        (small_spec(moves=["1"]), "no object"),
    ],
)
def test_a_spec_that_cannot_be_followed_is_refused(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ShardMapError, match=says):
        ShardMap.from_spec(spec, slots=4)


MOVING = ShardMap(6, False, (A, B, C), (0, 0, 1, NONE), (Move(A, B, 6, frozenset({1})),))


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        ((0, 1, 1, NONE), set()),
        ((0, 0, 1, NONE), set()),
        ((0, 0, 1, 2), set()),
        ((0, 1, 2, NONE), {B}),
        ((2, 2, 1, NONE), {A}),
        ((NONE, 1, 1, NONE), {A}),
    ],
    ids=["a move has ended", "nothing", "a first owner", "died", "died while it gave", "no owner any more"],
)
def test_who_loses_slots_without_having_moved_them_is_lost(after: tuple[int, ...], lost: set[PodRef]) -> None:
    assert lost_between(MOVING, ShardMap(7, False, (A, B, C), after)) == lost


def test_a_later_life_of_the_same_pod_is_another_pod() -> None:
    later = PodRef(B.name, "b2")
    assert lost_between(MOVING, ShardMap(7, False, (A, later, C), (0, 0, 1, NONE))) == {B}

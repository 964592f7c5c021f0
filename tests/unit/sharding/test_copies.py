"""A pod's copy of the map on its Lease (P10): as it goes in, as it comes out, and what is no copy."""

import base64
import json
import random
import uuid
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.sharding.copies import encode_copy, epoch_of, newest_copy
from mailpush.sharding.leases import LeaseState, lease_annotations, parse_lease, replaced_annotations
from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap
from mailpush.sharding.slots import SLOTS

A, B = PodRef("l-0", "u0"), PodRef("l-1", "u1")
MAP = ShardMap(7, False, (A, None, B), (0, 2, NONE), (Move(A, B, 7, frozenset({0})),))


def test_a_copy_comes_out_as_it_went_in_but_for_the_moves() -> None:
    copy = encode_copy(MAP)
    assert epoch_of(copy) == 7
    assert newest_copy([copy], above=6, slots=3) == replace(MAP, moves=())
    assert newest_copy([copy], above=7, slots=3) is None
    newer = encode_copy(replace(MAP, epoch=9))
    assert newest_copy([copy, newer, copy], above=0, slots=3) == replace(MAP, epoch=9, moves=())


def test_the_copy_of_the_largest_map_fits_into_an_annotation_three_times() -> None:
    chance = random.Random(1)
    pods = tuple(
        PodRef(f"mail-push-{'n' * 40}-{number}", str(uuid.UUID(int=chance.getrandbits(128)))) for number in range(1024)
    )
    largest = ShardMap(2**61, False, pods, tuple(chance.randrange(1024) for _ in range(SLOTS)))
    copy = encode_copy(largest)
    assert len(copy) < 262_144 / 3
    assert newest_copy([copy], above=0) == largest


def packed(epoch: int, content: bytes) -> str:
    return f"{epoch}:{base64.b64encode(zlib.compress(content)).decode()}"


GOOD = encode_copy(MAP)
SPEC = json.dumps(MAP.to_spec()).encode()


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "9",
        "9:",
        "9:!",
        "9:AAAA",
        GOOD[:-8],
        "9" + GOOD[1:],
        packed(9, b"[" * 100_000),
        packed(9, b"null"),
        packed(9, b"[]"),
        packed(9, b"{}"),
        packed(9, SPEC),
        packed(9, b" " * 50_000_000 + SPEC),
        packed(2**62, SPEC.replace(b'"epoch": 7', b'"epoch": 4611686018427387904')),
        "-" + GOOD,
    ],
)
def test_what_is_no_copy_is_passed_over_for_an_older_one(broken: str) -> None:
    assert newest_copy([broken, GOOD], above=0, slots=3) == replace(MAP, moves=())
    assert newest_copy([broken], above=0, slots=3) is None


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda content: packed(9, content)))
def test_no_text_raises(text: str) -> None:
    newest_copy([text], above=0, slots=3)


def test_a_copy_stands_on_the_lease_as_long_as_it_is_shown() -> None:
    before = {"somebody": "else's", **lease_annotations(LeaseState(map_copy=GOOD, applied_epoch=7))}
    assert parse_lease({"metadata": {"annotations": before}}).map_copy == GOOD
    after = replaced_annotations(before, LeaseState(applied_epoch=8))
    found = parse_lease({"metadata": {"annotations": after}})
    assert (found.applied_epoch, found.map_copy) == (8, "")
    assert after["somebody"] == "else's"
    assert LeaseState(map_copy=GOOD).fenced(8).map_copy == ""

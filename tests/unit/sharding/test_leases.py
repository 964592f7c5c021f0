"""What a Lease says (P3)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.sharding.leases import (
    COUNTED,
    Ack,
    CallbackReport,
    Holder,
    LeaseState,
    RotationReport,
    ServerReport,
    WritesReport,
    lease_annotations,
    parse_lease,
    replaced_annotations,
)

WORDS = st.text("abcdefgh-0123456789", min_size=1, max_size=12)
NUMBERS = st.integers(0, 2**61)
STATES = st.builds(
    LeaseState,
    holder=st.none() | st.builds(Holder, WORDS, WORDS, WORDS),
    map_uid=st.none() | WORDS,
    applied_epoch=NUMBERS,
    released_through=NUMBERS,
    floor=NUMBERS,
    config_hash=st.none() | WORDS,
    capable=st.booleans(),
    reason=st.text(max_size=20),
    draining=st.booleans(),
    packages=st.frozensets(WORDS),
    counts=st.fixed_dictionaries(dict.fromkeys(COUNTED, NUMBERS)),
    denied=st.dictionaries(WORDS, NUMBERS),
    degraded=st.dictionaries(WORDS, WORDS),
    redis=WORDS | st.just(""),
    callbacks=st.builds(CallbackReport, NUMBERS, st.booleans(), WORDS),
    servers=st.dictionaries(WORDS, st.builds(ServerReport, NUMBERS, NUMBERS, WORDS, NUMBERS, st.text(max_size=20))),
    eviction=st.just("") | WORDS,
    formats=st.frozensets(st.integers(1, 9)),
    passcrypt=st.just("") | WORDS,
    storage=st.just("") | WORDS,
    token=st.just("") | WORDS,
    doveadm=st.just("") | WORDS,
    rotation=st.none() | st.builds(RotationReport, NUMBERS, NUMBERS, NUMBERS, st.booleans()),
    writes=st.none() | st.builds(WritesReport, NUMBERS, NUMBERS, st.text(), st.text()),
)


def lease_object(annotations: Any, holder: Any = "l-0/u/n") -> dict[str, Any]:
    return {"metadata": {"name": "l-0", "annotations": annotations}, "spec": {"holderIdentity": holder}}


@given(STATES)
def test_a_lease_comes_back_as_it_went(state: LeaseState) -> None:
    holder = str(state.holder) if state.holder else None
    assert parse_lease(lease_object(lease_annotations(state), holder)) == state


def test_the_annotations_have_the_protocols_names() -> None:
    state = LeaseState(
        holder=Holder("l-0", "u", "n"),
        map_uid="m",
        applied_epoch=7,
        released_through=6,
        floor=5,
        config_hash="abc",
        capable=True,
        packages=frozenset({"open-xchange-push-dovecot", "open-xchange-push-imapidle"}),
        counts={"assigned": 3, "listening": 2, "failed": 0},
        denied={"ClientNotAllowed": 1},
        formats=frozenset({1}),
        signs=True,
        passcrypt="0123",
        storage="away",
        token="TokenRefused",
        doveadm="DoveadmUnreachable",
        rotation=RotationReport(100, 40, 2, waits="l-1"),
        writes=WritesReport(3, 1, "LegacyRows", "oxdatabase_5"),
        kept="Database",
        migration=RotationReport(9, 9, 0, True),
    )
    assert lease_annotations(state) == {
        "mailpush.dev/map-uid": "m",
        "mailpush.dev/applied-epoch": "7",
        "mailpush.dev/released-through": "6",
        "mailpush.dev/floor": "5",
        "mailpush.dev/config-hash": "abc",
        "mailpush.dev/capable": "true",
        "mailpush.dev/reason": "",
        "mailpush.dev/draining": "false",
        "mailpush.dev/packages": "open-xchange-push-dovecot,open-xchange-push-imapidle",
        "mailpush.dev/counts": '{"assigned":3,"listening":2,"failed":0,"sweeping":0,"denied":{"ClientNotAllowed":1}}',
        "mailpush.dev/formats": "1",
        "mailpush.dev/signs": "l-0/u/n",
        "mailpush.dev/passcrypt": "0123",
        "mailpush.dev/credentials": (
            '{"storage":"away","token":"TokenRefused","doveadm":"DoveadmUnreachable","kept":"Database",'
            '"rotation":[100,40,2,false],"rotationWaits":"l-1","migration":[9,9,0,true],'
            '"writes":[3,1,"LegacyRows","oxdatabase_5"]}'
        ),
    }
    assert str(state.holder) == "l-0/u/n"


@pytest.mark.parametrize("obj", [{}, {"metadata": None, "spec": None}, lease_object(None, None), lease_object("x", "")])
def test_an_empty_lease_says_nothing(obj: dict[str, Any]) -> None:
    assert parse_lease(obj) == LeaseState()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("applied-epoch", "seven"),
        ("applied-epoch", "-1"),
        ("applied-epoch", "9" * 5000),
        ("applied-epoch", "٣"),
        ("applied-epoch", 7),
        ("floor", "9999999999999999999"),
        ("capable", "TRUE"),
        ("draining", "yes"),
        ("counts", "{"),
        ("counts", "[1]"),
        ("counts", '{"assigned":"3","failed":true}'),
        ("counts", '{"denied":[1]}'),
        ("counts", '{"degraded":{"devices":7}}'),
        ("counts", "[" * 100_000),
        ("credentials", "{"),
        ("credentials", '{"storage":7,"rotation":[1,2,3]}'),
        ("credentials", '{"rotation":[true,2,3,false]}'),
        ("credentials", '{"rotationWaits":"l-1"}'),
        ("credentials", '{"writes":[1,2,3,"x"]}'),
        ("formats", "one,-2"),
        ("packages", ",,"),
        ("signs", "true"),
        ("signs", "l-0/u/another process"),
    ],
)
def test_a_broken_annotation_counts_as_absent(key: str, value: Any) -> None:
    holder = Holder("l-0", "u", "n")
    assert parse_lease(lease_object({f"mailpush.dev/{key}": value})) == LeaseState(holder=holder)


def test_what_an_older_process_leaves_out_does_not_stay_from_the_one_before() -> None:
    before = lease_annotations(LeaseState(passcrypt="0123", storage="away", rotation=RotationReport(3)))
    after = replaced_annotations({"somebody": "else's", **before}, LeaseState())
    assert after == {"somebody": "else's", **lease_annotations(LeaseState())}


def test_that_a_process_signs_its_answers_holds_for_that_process_alone() -> None:
    """A process of an older version takes the Lease and may leave the annotation of the former one."""
    written = lease_annotations(LeaseState(holder=Holder("l-0", "u", "1"), signs=True))
    assert parse_lease(lease_object(written, "l-0/u/1")).signs
    assert not parse_lease(lease_object(written, "l-0/u/2")).signs
    assert not parse_lease(lease_object(written, None)).signs


@pytest.mark.parametrize("identity", ["somebody", "a/b", "a//c", "a/b/c/d", "/"])
def test_a_holder_of_another_form_is_a_holder_and_no_release(identity: str) -> None:
    holder = parse_lease(lease_object({}, identity)).holder
    assert holder is not None
    assert holder.uid == ""


def test_what_a_starting_process_writes_keeps_the_epochs_and_nothing_else() -> None:
    old = LeaseState(
        holder=Holder("l-0", "u", "1"), map_uid="m", applied_epoch=3, released_through=4, floor=5, capable=True
    )
    new = old.taken_by(Holder("l-0", "u", "2"))
    assert new == LeaseState(
        holder=Holder("l-0", "u", "2"), map_uid="m", applied_epoch=3, released_through=4, floor=5, capable=False
    )
    assert new.threshold == 5


@pytest.mark.parametrize(
    ("ack", "result"),
    [
        (Ack("m", 8, 8), ("m", 8, 8)),
        (Ack("m", 7, 8), ("m", 7, 8)),
        (Ack("m", 6, 6), ("m", 7, 7)),
        (Ack("other", 7, 9), ("m", 7, 7)),
        (Ack("other", 6, 6), ("m", 7, 7)),
        (Ack("other", 1_000_007, 1_000_007), ("other", 1_000_007, 1_000_007)),
        (Ack(None, 0, 0), ("m", 7, 7)),
    ],
)
def test_an_ack_never_lowers_what_the_lease_says(ack: Ack, result: tuple[str, int, int]) -> None:
    state = LeaseState(map_uid="m", applied_epoch=7, released_through=7).with_ack(ack)
    assert (state.map_uid, state.applied_epoch, state.released_through) == result


def test_a_fence_takes_the_holder_and_never_lowers_the_floor() -> None:
    held = LeaseState(holder=Holder("l-0", "u", "n"), floor=9, applied_epoch=3, capable=True)
    assert held.fenced(12) == LeaseState(floor=12, applied_epoch=3)
    assert held.fenced(4).floor == 9
    assert held.released() == LeaseState(floor=9, applied_epoch=3)

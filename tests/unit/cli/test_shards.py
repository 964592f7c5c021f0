"""`kubectl mailpush shards` and `plan`: what they say of a fleet."""

import json
from typing import Any

import pytest
import yaml

from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.kubectl.shards.output import written
from mailpush.cli.kubectl.shards.reading import weighs
from mailpush.cli.kubectl.shards.view import View, view
from mailpush.cli.kubectl.shards.whatif import what_if
from mailpush.sharding.shardmap import Move
from mailpush.sharding.slots import SLOTS
from tests.unit.cli.fleets import EPOCH, MAP_UID, fleet, lease, pod, ref, shard_map

EVEN = [1] * SLOTS
DELETING = {"metadata": {"deletionTimestamp": "2026-05-01T12:00:00Z"}}


def state_of(shown: View, ordinal: int) -> str:
    return next(row.state for row in shown.pods if row.name == ref(ordinal).name)


def test_each_pod_has_its_line_with_what_it_has_and_does() -> None:
    text = list(view(fleet()).lines())
    assert text[0] == "MailPushConfig main: epoch 7, 60 users, imbalance 1.00; 3 of 3 pods capable"
    assert text[2].split() == ["POD", "NODE", "SLOTS", "USERS", "LISTENING", "FAILED", "STATE", "RENEWED", "EPOCH"]
    assert text[4].split() == ["mail-push-main-1", "node-1", "5461", "20", "19", "1", "capable", "1s", "ago", "7"]
    assert len(text) == 6


@pytest.mark.parametrize(
    ("a_pod", "a_lease", "replicas", "state"),
    [
        ({}, {"draining": True}, 3, "draining"),
        (DELETING, {}, 3, "ending"),
        ({}, {}, 2, "leaving: only 2 pods are wanted"),
        ({}, {"capable": False, "reason": "PermanentPushDisabled"}, 3, "not capable: PermanentPushDisabled"),
        ({}, {"capable": False}, 3, "starting"),
        ({}, {"ago": 7.0}, 3, "silent"),
        ({}, {"ago": None}, 3, "not running"),
        ({"metadata": {"uid": "another"}}, {}, 3, "replaced by a pod of the same name"),
        ({"metadata": {"labels": {"controller-revision-hash": "old"}}}, {}, 3, "capable, old revision"),
    ],
)
def test_a_pods_state_is_a_word_or_two(
    a_pod: dict[str, Any], a_lease: dict[str, Any], replicas: int, state: str
) -> None:
    shown = view(
        fleet(
            replicas=replicas, pods=[pod(0), pod(1), pod(2, **a_pod)], leases=[lease(0), lease(1), lease(2, **a_lease)]
        )
    )
    assert state_of(shown, 2) == state
    last = shown.pods[-1]
    assert last.capable == (state.startswith("capable"))


def test_a_pod_without_a_lease_and_one_without_an_object_are_told_apart() -> None:
    shown = view(fleet(pods=[pod(0), pod(1)], leases=[lease(0), lease(2)]))
    assert state_of(shown, 1) == "no Lease yet"
    assert state_of(shown, 2) == "deleted"
    assert "1 of the 3 pods that are wanted do not exist" in shown.waits


def moving(*, released: bool, ago: float | None = 1.0) -> View:
    move = Move(ref(0), ref(3), EPOCH, frozenset({0, 3}))
    why = "to spread the users evenly"
    change = {
        "epoch": EPOCH,
        "time": "2026-05-01T11:59:59Z",
        "reason": "Rebalanced",
        "message": f"2 slots from {ref(0).name} to {ref(3).name}: {why}",
    }
    giver = lease(0, ago, released_through=EPOCH if released else EPOCH - 1)
    return view(
        fleet(
            replicas=4,
            pods=[pod(ordinal) for ordinal in range(4)],
            leases=[giver, *(lease(ordinal) for ordinal in (1, 2, 3))],
            found=shard_map(3, move, changes=(change,)),
        )
    )


@pytest.mark.parametrize(
    ("shown", "waits"),
    [
        (moving(released=False), "mail-push-main-0 to stop them (it has applied epoch 7)"),
        (moving(released=True), "nobody: released, mail-push-main-3 starts them"),
        (moving(released=False, ago=20), "mail-push-main-0, which has not renewed its Lease for 20 s"),
        (moving(released=False, ago=None), "mail-push-main-0, which does not run"),
    ],
)
def test_a_move_says_why_and_for_whom_it_waits(shown: View, waits: str) -> None:
    (move,) = shown.moves
    assert (move.giver, move.receiver, move.slots) == (ref(0).name, ref(3).name, 2)
    assert (move.why, move.waits) == ("to spread the users evenly", waits)
    assert any(waits in line for line in shown.lines())


def test_slots_of_a_silent_pod_wait_for_the_operator_or_for_another_pod() -> None:
    shown = view(fleet(leases=[lease(0), lease(1), lease(2, 20)]))
    assert any("after 15 s the operator gives them to other pods" in sentence for sentence in shown.waits)
    alone = view(fleet(1, leases=[lease(0, 20)]))
    silent = "16384 slots of mail-push-main-0, which has not renewed its Lease for 20 s"
    assert alone.waits == (f"{silent}: no other pod is capable, so they stay",)


def test_slots_without_an_owner_and_a_map_that_is_not_there_are_told() -> None:
    assert (
        "16384 slots have no owner: they wait for a pod that is capable"
        in view(fleet(0, replicas=1, pods=[pod(0)], leases=[lease(0)])).waits
    )
    nothing = fleet(0, replicas=1, pods=[], leases=[])
    assert next(iter(view(nothing).lines())).startswith("MailPushConfig main: epoch 7")


def test_a_map_that_is_restored_waits_for_those_who_have_not_applied_it() -> None:
    found = shard_map(2)
    found["spec"]["restoring"] = True
    shown = view(fleet(2, found=found, leases=[lease(0), lease(1, applied_epoch=EPOCH - 1)]))
    assert shown.waits == ("the map is being restored; nothing starts before it is applied by mail-push-main-1",)


def test_a_map_that_cannot_be_read_is_an_error_that_says_so() -> None:
    found = shard_map(2)
    found["spec"]["owners"] = "AAAA"
    with pytest.raises(Trouble, match="ShardMap main: owners holds 3 bytes"):
        fleet(2, found=found)


def test_json_and_yaml_say_the_same() -> None:
    shown = moving(released=False)
    data = json.loads(written("json", shown.json, shown.lines))
    assert yaml.safe_load(written("yaml", shown.json, shown.lines)) == data
    assert data["moves"][0]["waitsFor"].startswith("mail-push-main-0 to stop them")
    assert data["pods"][0]["renewedSecondsAgo"] == 1.0
    assert (data["epoch"], data["pods"][3]["capable"]) == (EPOCH, True)


# -- plan


def test_one_pod_more_takes_its_share_and_nobody_else_moves() -> None:
    found = what_if(fleet(weights=EVEN), 4)
    assert found.replicas == (3, 4)
    assert found.ideal == SLOTS // 4
    assert found.ideal * 0.95 <= found.moved.users <= found.ideal * 1.05
    assert {receiver for _, receiver, _ in found.moves} == {ref(3).name}
    name, now, then = found.pods[3]
    assert (name, now.users, then.users) == (ref(3).name, 0, found.moved.users)
    assert found.imbalance[1] <= 1.01


def test_fewer_pods_give_away_all_that_the_last_ones_have_and_no_more() -> None:
    found = what_if(fleet(4, weights=EVEN), 2)
    gone = {name: (now.users, then.users) for name, now, then in found.pods if name in (ref(2).name, ref(3).name)}
    assert set(gone.values()) == {(SLOTS // 4, 0)}
    assert found.moved.users == found.ideal == SLOTS // 2
    assert any("highest numbers go" in note for note in found.notes)


def test_a_pod_that_is_taken_out_loses_everything_to_those_that_stay() -> None:
    found = what_if(fleet(weights=EVEN), None, [ref(1).name])
    assert found.moved.users == found.ideal
    assert {giver for giver, _, _ in found.moves} == {ref(1).name}
    assert [then.users for name, _, then in found.pods if name == ref(1).name] == [0]
    assert "without mail-push-main-1" in next(found.lines())


def test_what_is_on_its_way_already_is_not_counted_as_moved() -> None:
    move = Move(ref(0), ref(3), EPOCH, frozenset(range(0, 3 * 900, 3)))
    four = [pod(ordinal) for ordinal in range(4)]
    seen = fleet(
        replicas=4, pods=four, leases=[lease(number) for number in range(4)], found=shard_map(3, move), weights=EVEN
    )
    found = what_if(seen, 4)
    assert found.moved.users == 0
    assert "900 slots are on their way now; they count as if they had arrived" in found.notes


def test_a_pod_that_does_not_run_counts_as_if_it_did_and_is_named() -> None:
    found = what_if(fleet(leases=[lease(0), lease(1), lease(2, 60)], weights=EVEN), 4)
    assert any(note.startswith("mail-push-main-2 of the 3 pods that are wanted do not run") for note in found.notes)
    assert all(then.users for _, _, then in found.pods)


def test_a_pod_that_is_not_capable_gets_nobody_and_is_named() -> None:
    found = what_if(fleet(2, replicas=2, leases=[lease(0), lease(1, capable=False, reason="Off")], weights=EVEN), 3)
    assert "mail-push-main-1 is not capable (Off), so it gets nobody" in found.notes
    assert [then.users for name, _, then in found.pods if name == ref(1).name] == [0]


def test_with_no_pods_at_all_nobody_moves_and_that_is_said() -> None:
    found = what_if(fleet(weights=EVEN), 0)
    assert (found.moved.users, found.ideal) == (0, 0)
    assert "with 0 pods nobody is listened for, and no slot moves" in found.notes


def test_an_unknown_pod_is_named_with_those_that_there_are() -> None:
    with pytest.raises(Trouble, match=r"no pod mail-push-main-9 of MailPushConfig main \(there: mail-push-main-0"):
        what_if(fleet(weights=EVEN), None, ["mail-push-main-9"])


def test_a_first_pod_gets_everything_without_a_move() -> None:
    found = what_if(fleet(0, replicas=0, pods=[], leases=[], weights=EVEN), 1)
    assert (found.moved.slots, found.ideal) == (0, 0)
    assert found.pods[0][0] == ref(0).name
    assert (found.pods[-1][1].slots, found.pods[0][2].users) == (SLOTS, SLOTS)


def test_a_plan_in_json_has_what_its_table_says() -> None:
    found = what_if(fleet(weights=EVEN), 4)
    data = json.loads(written("json", found.json, found.lines))
    assert data["replicas"] == {"now": 3, "then": 4}
    assert data["moved"]["users"] == found.moved.users
    assert sum(move["users"] for move in data["moves"]) == found.moved.users
    table = list(found.lines())
    assert f"{found.moved.users} of {SLOTS} users would move, and {found.ideal} have to" in table[0]
    assert table[2].split() == ["POD", "USERS", "THEN", "SLOTS", "THEN"]


@pytest.mark.parametrize(
    ("user", "counts"),
    [
        ({"metadata": {}}, True),
        ({"metadata": {}, "status": {"conditions": [{"type": "Accepted", "status": "True"}]}}, True),
        ({"metadata": {}, "status": {"conditions": [{"type": "Accepted", "status": "False"}]}}, False),
        ({"metadata": {"deletionTimestamp": "now"}}, False),
    ],
)
def test_users_count_as_the_operator_counts_them(user: dict[str, Any], counts: bool) -> None:
    assert weighs(user) is counts


def test_the_leases_of_the_fleet_are_those_of_its_map() -> None:
    assert fleet().map_uid == MAP_UID

"""Pods as the operator sees them, and slots that nobody took over."""

from typing import Any

import pytest

from mailpush.controller.owner import ConfigKey
from mailpush.controller.shards.lost_slots import LOST_AFTER, Losses
from mailpush.controller.state import LONGEST_TROUBLE, pod_of
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.observed import PodObservation
from mailpush.sharding.shardmap import NONE, PodRef, ShardMap

MAIN = ConfigKey("mail", "main")


def test_a_pod_of_another_stateful_set_is_none_of_ours() -> None:
    body: dict[str, Any] = {
        "metadata": {
            "name": "mail-push-main-10",
            "namespace": "mail",
            "uid": "u",
            "labels": {"controller-revision-hash": "r", "mailpush.dev/callback": "open"},
            "ownerReferences": [{"kind": "StatefulSet", "name": "mail-push-main"}],
        },
        "spec": {"volumes": [{"projected": {"sources": [{"configMap": {"name": "boot"}}, {"secret": {"name": "s"}}]}}]},
        "status": {"phase": "Running"},
    }
    found = pod_of(body, "mail-push-main")
    assert found is not None
    assert (found.ordinal, found.phase, found.callback_open, found.config_maps) == (
        10,
        "Running",
        True,
        frozenset({"boot"}),
    )
    assert pod_of(body, "mail-push-main-1") is None
    body["metadata"]["ownerReferences"] = []
    assert pod_of(body, "mail-push-main") is None, "somebody's own pod with our labels"


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "listener", **state}]}


TROUBLES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"phase": "Running"}, ""),
    (container(state={"running": {}}), ""),
    (container(state={"waiting": {"reason": "ContainerCreating"}}), ""),
    (
        container(state={"waiting": {"reason": "ErrImageNeverPull", "message": "image is not there"}}),
        "ErrImageNeverPull: image is not there",
    ),
    ({"initContainerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}, "ImagePullBackOff"),
    (
        container(
            state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s"}},
            lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}},
        ),
        "CrashLoopBackOff; it ended with OOMKilled, exit code 137",
    ),
    (
        {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
        "cannot be scheduled: 0/3 nodes are available",
    ),
    ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, ""),
    (container(state={"waiting": {"reason": "R", "message": "m" * 9999}}), ("R: " + "m" * 9999)[:LONGEST_TROUBLE]),
)


@pytest.mark.parametrize(("status", "trouble"), TROUBLES)
def test_what_keeps_a_pod_from_running_is_known_in_kubernetes_words(status: dict[str, Any], trouble: str) -> None:
    body = {
        "metadata": {
            "name": "mail-push-main-0",
            "uid": "u",
            "ownerReferences": [{"kind": "StatefulSet", "name": "mail-push-main"}],
        },
        "status": status,
    }
    found = pod_of(body, "mail-push-main")
    assert found is not None
    assert found.trouble == trouble


def test_slots_are_lost_half_a_minute_after_their_pod_died_and_no_more_when_it_comes_back() -> None:
    one, two = PodRef("p-0", "a"), PodRef("p-1", "b")
    shard_map = ShardMap(3, False, (one, two), (0, 1, NONE))

    def seen(life: PodLife) -> dict[PodRef, PodObservation]:
        return {
            ref: PodObservation(ref, "Running", False, number, True, None, life if ref == one else PodLife.ALIVE)
            for number, ref in enumerate((one, two))
        }

    losses = Losses()
    assert losses.lost(0, shard_map, seen(PodLife.UNCERTAIN)) == frozenset()
    assert losses.lost(10, shard_map, seen(PodLife.EXPIRED)) == frozenset()
    assert losses.lost(LOST_AFTER, shard_map, seen(PodLife.EXPIRED)) == {2}, "it never had an owner"
    assert losses.lost(10 + LOST_AFTER, shard_map, seen(PodLife.EXPIRED)) == {0, 2}
    assert losses.lost(11 + LOST_AFTER, shard_map, seen(PodLife.ALIVE)) == {2}
    assert losses.lost(12 + LOST_AFTER, shard_map, seen(PodLife.EXPIRED)) == {2}, "counted anew"


def test_where_no_pod_is_wanted_nobody_waits_for_a_new_owner() -> None:
    owner = PodRef("p-0", "a")
    shard_map = ShardMap(3, False, (owner,), (0, NONE))
    dead = {owner: PodObservation(owner, "", True, 0, True, None, PodLife.EXPIRED)}
    assert Losses().lost(0, shard_map, dead) == frozenset()
    assert Losses().lost(0, shard_map, dead, hopeless=True) == {0, 1}

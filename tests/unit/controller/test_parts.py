"""The operator's small parts: election, health, events, environment."""

from pathlib import Path
from typing import Any

import pytest

from mailpush.controller.election import LASTS, LeaseJudge, Look
from mailpush.controller.environment import OperatorSettings, SettingsProblem
from mailpush.controller.owner import ConfigKey
from mailpush.controller.shards.lost_slots import LOST_AFTER, Losses
from mailpush.controller.state import OperatorState, pod_of
from mailpush.controller.triggers import Triggers
from mailpush.http.health import Pulse
from mailpush.kube.objects import older
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.planning.observed import PodObservation
from mailpush.sharding.shardmap import NONE, PodRef, ShardMap
from tests.unit.controller.builders import OWNER, Keys, Others, state

MAIN = ConfigKey("mail", "main")


# -- election


def lease(version: str, holder: str | None = "other") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": holder} if holder else {}}


def test_a_standby_counts_from_the_last_change_that_it_saw_itself() -> None:
    watchman = LeaseJudge()
    assert watchman.look(None, 0) is Look.MISSING
    assert watchman.look(lease("1"), 100) is Look.HELD
    assert watchman.look(lease("1"), 100 + LASTS - 0.1) is Look.HELD
    assert watchman.look(lease("2"), 100 + LASTS) is Look.HELD
    assert watchman.look(lease("2"), 100 + 2 * LASTS) is Look.EXPIRED
    assert watchman.look(lease("3", holder=None), 200) is Look.FREE


def test_time_in_which_the_api_could_not_be_read_proves_nothing() -> None:
    watchman = LeaseJudge()
    watchman.look(lease("1"), 0)
    watchman.unreadable(14)
    assert watchman.look(lease("1"), 16) is Look.HELD


# -- health


def test_a_loop_that_stops_beating_is_found_and_one_that_ended_is_not_missed() -> None:
    now = [0.0]
    pulse = Pulse(lambda: now[0])
    pulse.beat("reconcile", within=10)
    pulse.beat("shards of mail/main", within=10)
    now[0] = 9
    assert pulse.problems() == []
    pulse.end("shards of mail/main")
    now[0] = 11
    assert pulse.problems() == ["reconcile has been silent for 11 s"]
    pulse.beat("reconcile", within=10)
    pulse.fault("kopf's watches", "nothing new")
    assert pulse.problems() == ["kopf's watches: nothing new"]
    pulse.fault("kopf's watches", None)
    assert pulse.problems() == []


# -- events


class Events:
    def __init__(self) -> None:
        self.reconciled = Keys()
        self.others = Others()
        self.secrets = self.others.secrets
        self.world = OperatorState()
        self.triggers = Triggers(self.world, self.reconciled, self.others, self.others)  # type: ignore[arg-type]


def child(version: str = "1", kind: str = "Service", **changes: Any) -> dict[str, Any]:
    metadata = {**OWNER.metadata("mail-push-main"), "resourceVersion": version}
    return {"kind": kind, "metadata": metadata, "spec": {"a": 1}, **changes}


def test_an_event_that_only_tells_of_a_status_wakes_nobody() -> None:
    it = Events()
    it.triggers.child_event(child("1"), deleted=False)
    it.triggers.child_event(child("2", status={"x": 1}), deleted=False)
    assert it.reconciled == [MAIN]
    it.triggers.child_event(child("3", spec={"a": 2}), deleted=False)
    it.triggers.child_event(child("3", spec={"a": 2}), deleted=True)
    assert it.reconciled == [MAIN] * 3


def test_a_rollout_that_ends_wakes_the_reconcile_which_then_frees_the_old_boot_config_map() -> None:
    it = Events()
    for version, current in (("1", "r1"), ("2", "r1"), ("3", "r2")):
        status = {"currentRevision": current, "updateRevision": "r2"}
        it.triggers.child_event(child(version, kind="StatefulSet", status=status), deleted=False)
    assert it.reconciled == [MAIN] * 2
    assert it.world.revisions == {MAIN: "r2"}


def test_a_child_is_known_by_its_owner_when_its_label_is_gone_and_by_its_label_when_its_owner_is() -> None:
    without_labels, without_owner, foreign = child(), child(), child()
    without_labels["metadata"]["labels"] = {}
    without_owner["metadata"]["ownerReferences"] = []
    foreign["metadata"] = {"namespace": "mail", "name": "x"}
    assert [ConfigKey.of_child(body) for body in (without_labels, without_owner, foreign)] == [MAIN, MAIN, None]


def test_a_secret_wakes_those_that_refer_to_it() -> None:
    it = Events()
    it.world.configs[MAIN] = state(secrets=frozenset({"master"}))
    for name in ("master", "another"):
        body = {"kind": "Secret", "metadata": {"namespace": "mail", "name": name, "resourceVersion": "1"}, "data": {}}
        it.triggers.secret_event(body, deleted=False)
    assert it.reconciled == [MAIN]
    assert it.secrets == ["master", "another"]


# -- pods, losses


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


# -- environment


def test_the_environment_says_where_and_with_which_image() -> None:
    found = OperatorSettings.from_environment(
        {
            "MAILPUSH_IMAGE": "image",
            "MAILPUSH_NAMESPACES": "a, b,a",
            "POD_NAMESPACE": "own",
            "MAILPUSH_IMAGE_PULL_SECRETS": "x",
            "MAILPUSH_HEALTH_PORT": "0",
        }
    )
    assert (found.namespaces, found.own_namespace, found.image_pull_secrets, found.health_port) == (
        ("a", "b"),
        "own",
        ("x",),
        0,
    )
    assert found.listener_cluster_role == "mail-push-listener"
    assert OperatorSettings.from_environment({"MAILPUSH_IMAGE": "i", "POD_NAMESPACE": "own"}).namespaces == ("own",)


def test_there_is_an_admin_endpoint_only_where_its_port_is_named() -> None:
    assert OperatorSettings.from_environment({"MAILPUSH_IMAGE": "i"}).admin_port is None
    given = {"MAILPUSH_IMAGE": "i", "MAILPUSH_ADMIN_PORT": "1099", "MAILPUSH_ADMIN_DIRECTORY": "/etc/admin"}
    found = OperatorSettings.from_environment(given)
    assert (found.admin_port, found.admin_directory, found.admin_tls_directory) == (1099, Path("/etc/admin"), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"MAILPUSH_IMAGE": "i", "MAILPUSH_ADMIN_PORT": "rmi"},
        {"MAILPUSH_IMAGE": "i", "MAILPUSH_HEALTH_PORT": "http"},
        {"MAILPUSH_IMAGE": "i", "MAILPUSH_IMAGE_PULL_POLICY": "Sometimes"},
    ],
)
def test_a_wrong_environment_is_told_by_the_variables_name(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsProblem, match="MAILPUSH_"):
        OperatorSettings.from_environment(wrong)


def test_resource_versions_are_compared_as_numbers() -> None:
    assert older("9", "10")
    assert not older("10", "9")
    assert not older("x", "10")

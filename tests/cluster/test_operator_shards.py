"""The operator's shard loop on a real API server, with pods that keep real Leases and nothing else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mailpush import names
from mailpush.sharding.leases import LeaseState, parse_lease
from tests.sites.namespace import Namespace, wait_for
from tests.sites.operator import OperatorSite, Pods

ZERO, ONE, TWO = (f"mail-push-main-{ordinal}" for ordinal in range(3))


@pytest.fixture
def site(namespace: Namespace) -> Iterator[OperatorSite]:
    """An operator and a MailPushConfig with two pods that are alive and share the slots."""
    site = OperatorSite(namespace)
    try:
        site.secret("master", password="x")
        site.operator = site.start()
        site.config()
        site.start_pods()
        wait_for("slots spread over two pods", lambda: site.owners() == {ZERO, ONE})
        yield site
    finally:
        site.close()


def pods(site: OperatorSite) -> Pods:
    assert site.pods is not None
    return site.pods


def lease(site: OperatorSite, name: str) -> LeaseState:
    found = site.namespace.get("lease", name)
    assert found is not None
    return parse_lease(found)


def callback_label(site: OperatorSite, name: str) -> str | None:
    found: dict[str, Any] = (site.namespace.get("pod", name) or {"metadata": {}})["metadata"].get("labels", {})
    return found.get(names.CALLBACK_LABEL)


def leads(site: OperatorSite, process: str) -> bool:
    return bool(site.logged(process, "leading"))


def told(site: OperatorSite, **status: int) -> bool:
    """Whether a shard loop has told this of the map, which it does at the end of a step."""
    found = (site.namespace.get("shardmap", "main") or {}).get("status", {})
    return all(found.get(key) == value for key, value in status.items())


def test_a_killed_operator_that_comes_back_moves_nobody(site: OperatorSite) -> None:
    site.register(3)
    site.wait_condition("pu", "main-1-3", "Accepted", status="True")
    wait_for("the map is told with the user", lambda: told(site, users=1))
    epoch = site.epoch()
    site.kill(site.operator)
    again = site.start()
    wait_for("the new one leads", lambda: leads(site, again))
    site.register(4)
    site.wait_condition("pu", "main-1-4", "Accepted", status="True")
    wait_for("it has told of the map as it found it", lambda: told(site, users=2))
    assert site.epoch() == epoch
    # Only a new pod gives it something to do, and by then it has judged the others.
    site.config(listeners={"replicas": 3})
    wait_for("the third pod gets its share", lambda: site.owners() == {ZERO, ONE, TWO})
    # From its log, where no change is dropped.
    changes = site.logged(again, "shard_map_written")
    first = [change["message"] for change in changes if change["epoch"] == epoch + 1]
    assert any(TWO in message for message in first), changes
    wait_for("the status tells the last change first", lambda: last_change(site).get("epoch") == site.epoch())
    assert last_change(site)["message"] in [change["message"] for change in changes]


def last_change(site: OperatorSite) -> dict[str, Any]:
    status = (site.namespace.get("shardmap", "main") or {}).get("status", {})
    return next(iter(status.get("changes", [])), {})


def test_a_standby_leads_at_once_when_the_leader_ends_and_nothing_moves(site: OperatorSite) -> None:
    standby = site.start()
    wait_for("the standby observes", lambda: site.logged(standby, "standing_by"))
    assert site.health(standby, "/livez") == 200
    epoch = site.epoch()
    assert site.stop(site.operator) == 0
    wait_for("the standby leads", lambda: leads(site, standby))
    assert [line["found"] for line in site.logged(standby, "leading")] == ["free"], "it has waited for the Lease to end"
    site.register(3)
    site.wait_condition("pu", "main-1-3", "Accepted", status="True")
    wait_for("it has told of the map as it found it", lambda: told(site, users=1))
    assert site.epoch() == epoch


def test_a_pod_that_falls_silent_gets_no_callbacks_then_loses_its_slots_and_comes_back(site: OperatorSite) -> None:
    wait_for("callbacks come", lambda: callback_label(site, ONE) == names.CALLBACK_OPEN)
    before = lease(site, ONE)
    pods(site).silent.add(ONE)
    wait_for("callbacks go elsewhere", lambda: callback_label(site, ONE) is None)
    wait_for("the other pod has everything", lambda: site.owners() == {ZERO})
    acts = [line["event"] for line in site.log(site.operator) if ONE in (line.get("pod"), line.get("lease"))]
    assert acts[acts.index("lease_fenced") - 1] == "callbacks_closed", "six seconds of silence prove nothing"
    fenced = lease(site, ONE)
    assert fenced.holder is None
    assert fenced.floor > before.floor
    assert callback_label(site, ZERO) == names.CALLBACK_OPEN
    wait_for("an Event tells of it", lambda: lost_pods(site) == [f"{ONE} has not renewed its Lease"])
    wait_for("another who has its slots", lambda: notes(site, "SlotsTakenOver") == [f"{ONE} is gone"])
    pods(site).silent.discard(ONE)
    wait_for("it has slots again", lambda: site.owners() == {ZERO, ONE})
    wait_for("callbacks come again", lambda: callback_label(site, ONE) == names.CALLBACK_OPEN)


def notes(site: OperatorSite, reason: str) -> list[str]:
    """What Events on the MailPushConfig say, up to the details."""
    found = [one for one in site.namespace.list("events.events.k8s.io") if one["reason"] == reason]
    return [one["note"].partition(":")[0] for one in found if one["regarding"]["kind"] == "MailPushConfig"]


def lost_pods(site: OperatorSite) -> list[str]:
    found = site.namespace.list("events.events.k8s.io")
    lost = [one for one in found if one["reason"] == "PodLost" and one["regarding"]["kind"] == "MailPushConfig"]
    return [one["note"].partition(" and ")[0] for one in lost]


def test_where_every_pod_is_silent_callbacks_stay_open_and_users_are_told_that_their_owner_is_lost(
    site: OperatorSite,
) -> None:
    site.register(39)
    site.wait_condition("pu", "main-1-39", "Accepted", status="True")
    site.listener_says(39, "True", "Registered")
    pods(site).silent.update((ZERO, ONE))
    site.wait_condition("pu", "main-1-39", "Listening", status="Unknown", reason="OwnerLost")
    assert (site.namespace.get("pu", "main-1-39") or {})["status"]["reason"] == "OwnerLost"
    # Of the one that fell silent first it may have been taken off for a moment.
    wait_for(
        "callbacks stay open", lambda: {callback_label(site, name) for name in (ZERO, ONE)} == {names.CALLBACK_OPEN}
    )
    site.wait_condition("mpc", "main", "Ready", status="False")
    pods(site).silent.clear()
    site.wait_condition("mpc", "main", "ListenersAvailable", status="True")
    site.wait_condition("mpc", "main", "Ready", status="True")
    site.listener_says(39, "True", "Registered")
    site.wait_condition("pu", "main-1-39", "Listening", status="True", reason="Registered")
    site.wait_condition("pu", "main-1-39", "Accepted", status="True")


def test_a_scale_down_drains_before_the_pod_goes(site: OperatorSite) -> None:
    pods(site).deaf.add(ONE)
    site.config(listeners={"replicas": 1})
    wait_for("moves away from it", lambda: givers(site) == {ONE})
    assert replicas(site) == 2
    pods(site).deaf.discard(ONE)
    wait_for("everything is on the other", lambda: site.owners() == {ZERO})
    wait_for("the StatefulSet shrinks", lambda: replicas(site) == 1)


def test_a_scale_down_of_another_leader_drains_too(site: OperatorSite) -> None:
    pods(site).deaf.add(ONE)
    assert site.stop(site.operator) == 0
    site.config(listeners={"replicas": 1})
    site.operator = site.start()
    wait_for("moves away from it", lambda: givers(site) == {ONE})
    assert replicas(site) == 2
    pods(site).deaf.discard(ONE)
    wait_for("everything is on the other", lambda: site.owners() == {ZERO})
    wait_for("the StatefulSet shrinks", lambda: replicas(site) == 1)


def givers(site: OperatorSite) -> set[str]:
    shard_map = site.shard_map()
    return {move.giver.name for move in shard_map.moves} if shard_map is not None else set()


def replicas(site: OperatorSite) -> int:
    found: dict[str, Any] = site.namespace.get("statefulset", "mail-push-main") or {}
    return int(found["spec"]["replicas"])


def test_a_deleted_shard_map_is_made_again_with_its_owners_and_without_a_moment_of_two(site: OperatorSite) -> None:
    before = site.shard_map()
    assert before is not None
    site.namespace.kubectl("delete", "shardmap", "main")
    wait_for("slots have owners again", lambda: site.owners() == {ZERO, ONE})
    after = site.shard_map()
    assert after is not None
    assert after.epoch > before.epoch + 1_000_000
    assert after.owner_refs() == before.owner_refs()


def test_an_edited_shard_map_is_put_right(site: OperatorSite) -> None:
    before = site.shard_map()
    assert before is not None
    site.namespace.kubectl("patch", "shardmap", "main", "--type=merge", "-p", json.dumps({"spec": {"owners": "AAAA"}}))

    def right() -> bool:
        return site.owners() == {ZERO, ONE} and (site.shard_map() or before).owner_refs() == before.owner_refs()

    wait_for("the owners as before", lambda: readable(site) and right())


def readable(site: OperatorSite) -> bool:
    try:
        return site.shard_map() is not None
    except ValueError:
        return False


def test_a_deleted_lease_comes_back_above_the_map_and_the_pod_goes_on(site: OperatorSite) -> None:
    epoch = site.epoch()
    site.namespace.kubectl("delete", "lease", ONE)
    wait_for("it is there again", lambda: site.namespace.get("lease", ONE))
    floor = lease(site, ONE).floor
    assert floor > epoch
    # By a map that it may follow again: it starts nothing under one that is below.
    wait_for("both pods have slots", lambda: site.epoch() >= floor and site.owners() == {ZERO, ONE})


def test_an_api_server_that_is_away_for_longer_than_a_lease_lasts_kills_nobody(site: OperatorSite) -> None:
    epoch = site.epoch()
    site.namespace.plane.stop_apiserver()
    try:
        wait_for("the leader has to end", lambda: site.logged(site.operator, "leadership_lost"))
    finally:
        site.namespace.plane.start_apiserver()
    again = site.start()
    wait_for("another leads", lambda: leads(site, again))
    site.register(5)
    site.wait_condition("pu", "main-1-5", "Accepted", status="True")
    wait_for("it has told of the map as it found it", lambda: told(site, users=1))
    site.wait_condition("mpc", "main", "ListenersAvailable", status="True")
    # Only a new pod gives it something to do, and by then it has judged the others.
    site.config(listeners={"replicas": 3})
    wait_for("the third pod gets its share", lambda: site.owners() == {ZERO, ONE, TWO})
    assert not site.logged(again, "lease_fenced")
    first = [one["message"] for one in site.logged(again, "shard_map_written") if one["epoch"] == epoch + 1]
    assert any(TWO in message for message in first)


def test_a_pod_that_is_scaled_away_is_told_as_drained_and_a_map_that_is_deleted_as_restored(site: OperatorSite) -> None:
    site.config(listeners={"replicas": 1})
    wait_for("one pod has everything", lambda: site.owners() == {ZERO})
    draining = f"{ONE} is above the 1 replicas that are wanted"
    wait_for("the drain is told once", lambda: notes(site, "PodDraining") == [draining])
    site.namespace.kubectl("delete", "shardmap", "main")
    wait_for("the map is there again", lambda: site.epoch() > 1_000_000 and site.owners() == {ZERO})
    wait_for("that it begins", lambda: len(notes(site, "ShardMapRestoring")) == 1)
    wait_for("that it is over", lambda: len(notes(site, "ShardMapRestored")) == 1)
    columns = site.namespace.kubectl("get", "shardmaps").splitlines()
    assert columns[0].split() == ["NAME", "EPOCH", "PODS", "USERS", "MOVING", "IMBALANCE", "AGE"]
    assert columns[1].split()[:3] == ["main", str(site.epoch()), "1"]

"""`kubectl mailpush shards` and `plan` on a real API server: what they say is what is there, and what then happens."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpush.sharding.slots import SLOTS, slot_of
from tests.sites.namespace import Namespace, wait_for
from tests.sites.operator import OperatorSite

ZERO, ONE, TWO = (f"mail-push-main-{ordinal}" for ordinal in range(3))
USERS = range(1, 31)


@pytest.fixture
def site(namespace: Namespace) -> Iterator[OperatorSite]:
    """Two pods that keep their Leases and share thirty users."""
    site = OperatorSite(namespace)
    try:
        site.secret("master", password="x")
        site.operator = site.start()
        site.config()
        site.start_pods()
        site.register(*USERS)
        wait_for("slots spread over two pods", lambda: site.owners() == {ZERO, ONE})
        wait_for("all users are accepted", lambda: accepted(site) == len(USERS))
        yield site
    finally:
        site.close()


def accepted(site: OperatorSite) -> int:
    path = '{.items[*].status.conditions[?(@.type=="Accepted")].status}'
    return site.namespace.kubectl("get", "pushusers", "-o", f"jsonpath={path}").count("True")


def plugin(site: OperatorSite, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`kubectl mailpush`, as kubectl starts it."""
    done = subprocess.run(
        [Path(sys.executable).parent / "kubectl-mailpush", *arguments, "-n", site.namespace.name],
        env={"KUBECONFIG": str(site.namespace.plane.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def shown(site: OperatorSite, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plugin(site, *arguments, "-o", "json").stdout)
    return found


def users_of(site: OperatorSite) -> Counter[str]:
    """Users of each pod by the map itself."""
    shard_map = site.shard_map()
    assert shard_map is not None
    owners = [shard_map.owner_of(slot_of(1, number)) for number in USERS]
    return Counter(owner.name for owner in owners if owner is not None)


def test_it_shows_who_has_what_and_a_pod_that_falls_silent(site: OperatorSite) -> None:
    found = shown(site, "shards")
    assert [pod["name"] for pod in found["pods"]] == [ZERO, ONE]
    assert sum(pod["slots"] for pod in found["pods"]) == SLOTS
    assert {pod["state"] for pod in found["pods"]} == {"capable"}
    assert found["epoch"] == site.epoch()
    assert (found["moves"], found["waits"]) == ([], [])
    text = plugin(site, "shards", "main").stdout
    assert text.startswith("MailPushConfig main: epoch ")
    assert site.pods is not None
    site.pods.silent.add(ONE)
    silent = wait_for(
        "it is shown as silent",
        lambda: next((pod for pod in shown(site, "shards")["pods"] if pod["state"] in ("silent", "not running")), None),
    )
    assert (silent["name"], silent["capable"]) == (ONE, False)


def test_a_plan_is_what_then_happens(site: OperatorSite) -> None:
    before = users_of(site)
    epoch = site.epoch()
    planned = shown(site, "plan", "--replicas", "3")
    assert site.epoch() == epoch, "a plan changes nothing"
    assert {pod["name"]: pod["now"]["users"] for pod in planned["pods"]} == {**before, TWO: 0}
    assert planned["moved"]["users"] == planned["idealUsers"] == 10
    site.namespace.kubectl("scale", "mailpushconfig", "main", "--replicas=3")
    wait_for("the third pod has its share", lambda: site.owners() == {ZERO, ONE, TWO})
    assert users_of(site) == {pod["name"]: pod["then"]["users"] for pod in planned["pods"]}
    back = shown(site, "plan", "--without", TWO)
    assert back["moved"]["users"] == 10
    assert {pod["name"]: pod["then"]["users"] for pod in back["pods"]}[TWO] == 0


def test_what_cannot_be_answered_says_what_to_do(site: OperatorSite) -> None:
    assert "say what is to change: --replicas N, --without POD" in plugin(site, "plan", code=2).stderr
    assert "there is no MailPushConfig other" in plugin(site, "shards", "other", code=2).stderr
    assert f"there is no pod nobody of MailPushConfig main (there: {ZERO}, {ONE})" in (
        plugin(site, "plan", "--without", "nobody", code=2).stderr
    )
    site.config("second", listeners={"replicas": 0})
    assert "has several MailPushConfigs (main, second): name one after the command" in (
        plugin(site, "shards", code=2).stderr
    )

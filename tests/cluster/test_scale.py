"""The number of listener pods, set by others than the MailPushConfig's author; which of them may be evicted."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailpush import names
from tests.sites.namespace import Namespace, wait_for
from tests.sites.operator import MAIL_PUSH, OperatorSite

STATEFUL_SET = ("statefulset", "mail-push-main")


@pytest.fixture
def site(namespace: Namespace) -> Iterator[OperatorSite]:
    """An operator and a MailPushConfig that its administrator applies as the chart does."""
    site = OperatorSite(namespace)
    try:
        site.secret("master", password="x")
        site.operator = site.start()
        yield site
    finally:
        site.close()


def apply(site: OperatorSite, folder: Path, *flags: str, **listeners: Any) -> None:
    manifest = {
        "apiVersion": names.API_VERSION,
        "kind": "MailPushConfig",
        "metadata": {"name": "main"},
        "spec": {
            "packages": {"status": {"open-xchange-push-dovecot": "enabled"}},
            "mailAccess": {
                "passwordSource": "global",
                "masterPasswordSecretRef": {"name": "master", "key": "password"},
                "servers": [{"host": "dovecot"}],
            },
            "listeners": listeners,
        },
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(manifest))
    done = subprocess.run(
        [MAIL_PUSH, "apply", "-n", site.namespace.name, "-f", str(file), *flags],
        env={"KUBECONFIG": str(site.namespace.plane.kubeconfig), "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def wanted(site: OperatorSite) -> int | None:
    """Pods that the StatefulSet wants."""
    found = site.namespace.get(*STATEFUL_SET)
    return None if found is None else int(found["spec"]["replicas"])


def replicas(site: OperatorSite) -> int:
    return int((site.namespace.get("mpc", "main") or {})["spec"]["listeners"]["replicas"])


def scale(site: OperatorSite) -> dict[str, Any]:
    """The scale subresource, as an autoscaler reads it."""
    path = f"/apis/{names.API_VERSION}/namespaces/{site.namespace.name}/mailpushconfigs/main/scale"
    found: dict[str, Any] = json.loads(site.namespace.kubectl("get", "--raw", path))
    return found


def test_kubectl_scale_sets_the_pods_and_who_leaves_the_number_out_does_not_set_it_back(
    site: OperatorSite, tmp_path: Path
) -> None:
    apply(site, tmp_path, logLevel="info")
    wait_for("two pods by default", lambda: wanted(site) == 2)
    site.namespace.kubectl("scale", "mailpushconfig", "main", "--replicas=3")
    wait_for("three", lambda: wanted(site) == 3)
    wait_for("the status says so", lambda: scale(site)["status"].get("replicas") == 3)
    selector = scale(site)["status"]["selector"]
    pods = [pod["metadata"]["name"] for pod in site.namespace.list("pods", selector)]
    assert sorted(pods) == [f"mail-push-main-{ordinal}" for ordinal in range(3)]
    apply(site, tmp_path, logLevel="debug")
    wait_for("another setting", lambda: (site.namespace.get("mpc", "main") or {})["spec"]["listeners"]["logLevel"])
    assert replicas(site) == 3
    apply(site, tmp_path, replicas=1)
    wait_for("who names the number has it", lambda: wanted(site) == 1)


def test_an_autoscaler_that_is_switched_on_finds_the_pods_that_there_are(site: OperatorSite, tmp_path: Path) -> None:
    apply(site, tmp_path, replicas=4)
    wait_for("four pods", lambda: wanted(site) == 4)
    apply(site, tmp_path, "--autoscaled", logLevel="info")
    assert replicas(site) == 4
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "mail-push"},
        "spec": {
            "scaleTargetRef": {"apiVersion": names.API_VERSION, "kind": "MailPushConfig", "name": "main"},
            "minReplicas": 5,
            "maxReplicas": 9,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                }
            ],
        },
    }
    # There are no metrics here, and none are needed for the least that it wants.
    site.namespace.apply(json.dumps(autoscaler))
    wait_for("the autoscaler has its five", lambda: wanted(site) == 5)
    apply(site, tmp_path, "--autoscaled", logLevel="debug")
    assert replicas(site) == 5
    # And without it the number goes back, as with each field that an owner leaves out.
    site.namespace.kubectl("delete", "hpa", "mail-push")
    apply(site, tmp_path, replicas=2)
    wait_for("two", lambda: wanted(site) == 2)
    apply(site, tmp_path, logLevel="info")
    assert replicas(site) == 2


def evict(site: OperatorSite, pod: str) -> str:
    """What the API server says to the eviction of a pod, as `kubectl drain` asks for it; empty where it does it."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": site.namespace.name},
    }
    path = f"/api/v1/namespaces/{site.namespace.name}/pods/{pod}/eviction"
    done = site.namespace.plane.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    return "" if done.returncode == 0 else done.stderr


def ready(site: OperatorSite, pod: str) -> None:
    """As a kubelet says of a pod: there is none here."""
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"status": {"phase": "Running", "conditions": conditions}}
    site.namespace.kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", json.dumps(status))


def uid_of(site: OperatorSite, pod: str) -> str | None:
    found = site.namespace.get("pod", pod)
    return None if found is None else str(found["metadata"]["uid"])


def allowed(site: OperatorSite) -> int | None:
    budget = site.namespace.get("pdb", "mail-push-main") or {}
    status: dict[str, int] = budget.get("status", {})
    return status.get("disruptionsAllowed") if status.get("expectedPods") else None


def test_two_pods_are_not_evicted_together_and_a_lone_one_keeps_no_node_from_being_drained(
    site: OperatorSite, tmp_path: Path
) -> None:
    apply(site, tmp_path, replicas=2)
    pods = [f"mail-push-main-{ordinal}" for ordinal in range(2)]
    wait_for("both pods", lambda: len(site.namespace.list("pods")) == len(pods))
    for pod in pods:
        ready(site, pod)
    wait_for("one may go", lambda: allowed(site) == 1)
    uid = uid_of(site, pods[1])
    assert evict(site, pods[1]) == ""
    assert "Cannot evict pod as it would violate the pod's disruption budget" in evict(site, pods[0])
    wait_for("its successor", lambda: uid_of(site, pods[1]) not in (uid, None))
    apply(site, tmp_path, replicas=1)
    wait_for("one pod", lambda: wanted(site) == 1)
    wait_for("it may go", lambda: allowed(site) == 1)
    assert evict(site, pods[0]) == ""

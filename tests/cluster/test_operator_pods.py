"""What the operator's StatefulSet comes to on a real API server: a site's wishes, and what others put into it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from tests.sites.namespace import wait_for
from tests.sites.operator import OperatorSite, running

STATEFUL_SET = ("statefulset", "mail-push-main")


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[OperatorSite]:
    with running(control_plane, "operator-pods") as site:
        yield site


def template(site: OperatorSite) -> dict[str, Any]:
    found = site.namespace.get(*STATEFUL_SET) or {}
    spec: dict[str, Any] = found["spec"]["template"]
    return spec


def test_what_the_spec_wishes_of_the_pods_reaches_the_stateful_set(site: OperatorSite) -> None:
    term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    listeners = {"replicas": 2, "affinity": affinity, "labels": {"team": "mail"}, "podSecurityContext": context}
    site.config(listeners={**listeners, "annotations": {"example.org/a": "b"}})
    wait_for("the affinity", lambda: "nodeAffinity" in template(site)["spec"]["affinity"])
    assert template(site)["spec"]["affinity"]["nodeAffinity"] == affinity["nodeAffinity"]
    assert template(site)["spec"]["securityContext"] == context
    assert template(site)["metadata"]["labels"]["team"] == "mail"
    assert template(site)["metadata"]["annotations"]["example.org/a"] == "b"
    site.config(listeners={"replicas": 2, "affinity": {"nodeAffinities": {}}})
    said = site.wait_condition("mpc", "main", "ConfigurationValid", status="False", reason="ReconcileFailed")
    assert "nodeAffinities" in said["message"]
    site.config()
    site.wait_condition("mpc", "main", "ConfigurationValid", status="True")
    wait_for("all is as it was", lambda: "nodeAffinity" not in template(site)["spec"]["affinity"])


def test_what_others_put_into_the_pods_is_taken_out_and_a_restart_by_hand_is_left(site: OperatorSite) -> None:
    before = template(site)["spec"]
    site.namespace.kubectl("set", "env", "/".join(STATEFUL_SET), "STRAY=1")
    site.namespace.kubectl(
        "patch", *STATEFUL_SET, "-p", json.dumps(pods({"priorityClassName": "system-node-critical"}))
    )
    sidecar = {"name": "sidecar", "image": "example.org/sidecar:1"}
    site.namespace.kubectl("patch", *STATEFUL_SET, "-p", json.dumps(pods({"containers": [sidecar]})))
    wait_for("it is put right", lambda: template(site)["spec"] == before)
    site.namespace.kubectl("rollout", "restart", "/".join(STATEFUL_SET))
    site.namespace.kubectl("patch", *STATEFUL_SET, "-p", json.dumps({"spec": {"replicas": 7}}))
    wait_for("a later reconcile", lambda: (site.namespace.get(*STATEFUL_SET) or {})["spec"]["replicas"] == 2)
    assert "kubectl.kubernetes.io/restartedAt" in template(site)["metadata"]["annotations"]


def pods(spec: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}

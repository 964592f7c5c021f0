"""The ServiceAccounts of the chart on a real API server: what each may do, and no more."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from tests.chart.conftest import CHART, EXAMPLE, Helm, allowed, wait_until_allowed
from tests.chart.operators import operator_process, wait
from tests.sites.namespace import wait_for

pytestmark = pytest.mark.cluster
NAMESPACE = "rights"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:mail-push"
HOOKS = f"system:serviceaccount:{NAMESPACE}:mail-push-hooks"
LISTENER = f"system:serviceaccount:{NAMESPACE}:mail-push-main-listener"
ROLE = f"{NAMESPACE}-mail-push-listener"
PODS = ("mail-push-main-0", "mail-push-main-1")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The chart installed, without anything that runs, and a listener's ServiceAccount, pods and Leases by hand."""
    helm = Helm("helm4", tmp_path_factory.mktemp("helm"))
    values = yaml.safe_load(EXAMPLE.read_text())
    with ControlPlane.start() as plane:
        plane.kubectl("create", "namespace", NAMESPACE, check=True)
        plane.kubectl("create", "namespace", "elsewhere", check=True)
        code, text = helm.cluster(plane, NAMESPACE, "install", "mail-push", CHART, "--no-hooks", values=values)
        assert code == 0, text
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s", check=True)
        apply(plane, *listener_objects())
        # Until each account has its rights, that something is forbidden proves nothing.
        for account, more in (
            (OPERATOR, ("--subresource=status",)),
            (HOOKS, ()),
            (LISTENER, ("--subresource=status",)),
        ):
            wait_until_allowed(plane, account, "patch", "pushusers.mailpush.dev", *more, namespace=NAMESPACE)
        yield plane


def listener_objects() -> list[dict[str, Any]]:
    account = "mail-push-main-listener"
    pods: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"serviceAccountName": account, "containers": [{"name": "listener", "image": "none"}]},
        }
        for name in PODS
    ]
    leases = [
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}}
        for name in PODS
    ]
    user = {
        "apiVersion": "mailpush.dev/v1alpha1",
        "kind": "PushUser",
        "metadata": {"name": "main-1-3"},
        "spec": {"configRef": {"name": "main"}, "contextId": 1, "userId": 3},
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
        role_binding(account, ROLE),
        *pods,
        *leases,
        user,
    ]


def role_binding(account: str, role: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
    }


def apply(plane: ControlPlane, *objects: dict[str, Any]) -> None:
    plane.kubectl("-n", NAMESPACE, "apply", "-f", "-", input=yaml.safe_dump_all(objects), check=True)


def test_leases_and_shard_maps_have_a_priority_level_that_statuses_do_not_fill(plane: ControlPlane) -> None:
    """The answer names the level from which a request was served."""
    listener = plane.kubeconfig_for_service_account(NAMESPACE, "mail-push-main-listener")
    own = ("get", "prioritylevelconfiguration", f"{NAMESPACE}-mail-push-leases", "-o", "jsonpath={.metadata.uid}")
    level = plane.kubectl(*own, check=True).stdout

    def served_from(*what: str) -> str:
        said = plane.kubectl("-n", NAMESPACE, "get", *what, "--v=8", as_kubeconfig=listener, check=True).stderr
        found = re.findall(r"X-Kubernetes-Pf-Prioritylevel-Uid\W+([0-9a-f-]{36})", said, re.IGNORECASE)
        assert found, said
        return str(found[-1])

    wait_for("the API server has taken the FlowSchema in", lambda: served_from("lease", PODS[0]) == level)
    assert served_from("shardmaps.mailpush.dev") == level
    assert served_from("pushusers.mailpush.dev") != level


@pytest.mark.parametrize(
    ("account", "what", "yes"),
    [
        (OPERATOR, ("watch", "mailpushconfigs.mailpush.dev"), True),
        (OPERATOR, ("patch", "pushusers.mailpush.dev", "--subresource=status"), True),
        (OPERATOR, ("create", "shardmaps.mailpush.dev"), True),
        (OPERATOR, ("create", "statefulsets.apps"), True),
        (OPERATOR, ("create", "leases.coordination.k8s.io"), True),
        (OPERATOR, ("create", "events.events.k8s.io"), True),
        (OPERATOR, ("patch", "events.events.k8s.io"), True),
        (OPERATOR, ("delete", "events.events.k8s.io"), False),
        (OPERATOR, ("delete", "pushusers.mailpush.dev"), True),  # admin.enabled, as in the example
        (OPERATOR, ("delete", "mailpushconfigs.mailpush.dev"), False),
        (OPERATOR, ("create", "pods"), False),
        (OPERATOR, ("list", "namespaces"), False),
        (OPERATOR, ("create", "pods", "--subresource=exec"), False),
        (OPERATOR, ("create", "roles.rbac.authorization.k8s.io"), False),
        (OPERATOR, ("create", "serviceaccounts", "--subresource=token"), False),
        (OPERATOR, ("bind", "clusterroles.rbac.authorization.k8s.io/cluster-admin"), False),
        (LISTENER, ("watch", "pushusers.mailpush.dev"), True),
        (LISTENER, ("patch", "pushusers.mailpush.dev", "--subresource=status"), True),
        (LISTENER, ("watch", "shardmaps.mailpush.dev"), True),
        (LISTENER, ("update", "leases.coordination.k8s.io"), True),
        (LISTENER, ("get", "secrets"), True),
        (LISTENER, ("patch", "pushusers.mailpush.dev"), False),
        (LISTENER, ("update", "shardmaps.mailpush.dev"), False),
        (LISTENER, ("create", "leases.coordination.k8s.io"), False),
        (LISTENER, ("delete", "leases.coordination.k8s.io"), False),
        (LISTENER, ("list", "secrets"), False),
        (LISTENER, ("watch", "mailpushconfigs.mailpush.dev"), False),
        (HOOKS, ("patch", "mailpushconfigs.mailpush.dev"), True),
        (HOOKS, ("patch", "pushusers.mailpush.dev"), True),
        (HOOKS, ("get", "customresourcedefinitions.apiextensions.k8s.io"), False),
        (HOOKS, ("delete", "pushusers.mailpush.dev"), False),
        (HOOKS, ("get", "secrets"), False),
    ],
)
def test_each_account_may_do_what_it_needs_and_no_more(
    plane: ControlPlane, account: str, what: tuple[str, ...], yes: bool
) -> None:
    if yes:
        wait_until_allowed(plane, account, *what, namespace=NAMESPACE)
    else:
        assert not allowed(plane, account, *what, namespace=NAMESPACE)


@pytest.mark.parametrize("account", [OPERATOR, LISTENER, HOOKS])
def test_nobody_has_rights_in_another_namespace(plane: ControlPlane, account: str) -> None:
    for what in ("secrets", "pushusers.mailpush.dev", "mailpushconfigs.mailpush.dev", "leases.coordination.k8s.io"):
        assert not allowed(plane, account, "get", what, namespace="elsewhere")


def test_the_operator_can_give_a_pod_the_listener_s_role_and_no_other(plane: ControlPlane) -> None:
    operator = plane.kubeconfig_for_service_account(NAMESPACE, "mail-push")

    def binds(role: str) -> subprocess.CompletedProcess[str]:
        text = yaml.safe_dump(role_binding("mail-push-third-listener", role))
        return plane.kubectl("-n", NAMESPACE, "create", "-f", "-", input=text, as_kubeconfig=operator)

    assert "forbidden" in binds("cluster-admin").stderr
    assert "forbidden" in binds("edit").stderr
    done = binds(ROLE)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def listener(plane: ControlPlane) -> Path:
    """The kubeconfig of the first listener pod, its token bound to the pod as the kubelet's are."""
    return plane.kubeconfig_for_service_account(NAMESPACE, "mail-push-main-listener", pod=PODS[0])


def renew(plane: ControlPlane, kubeconfig: Path, name: str) -> subprocess.CompletedProcess[str]:
    lease = json.loads(plane.kubectl("-n", NAMESPACE, "get", "lease", name, "-o", "json", check=True).stdout)
    lease["spec"]["holderIdentity"] = f"{name}/uid/{time.monotonic_ns()}"
    return plane.kubectl("-n", NAMESPACE, "replace", "-f", "-", input=json.dumps(lease), as_kubeconfig=kubeconfig)


def refused(attempt: Callable[[], subprocess.CompletedProcess[str]], sentence: str, seconds: float = 60) -> bool:
    """Whether it comes to be refused so: a new policy takes the API server a moment to put into force."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done = attempt()
        if done.returncode != 0 and sentence in done.stderr:
            return True
        time.sleep(0.2)
    return False


def test_a_listener_pod_renews_its_own_lease_only(plane: ControlPlane, listener: Path) -> None:
    sentence = f"Lease {PODS[1]} is not this pod's"
    assert refused(lambda: renew(plane, listener, PODS[1]), sentence)
    done = renew(plane, listener, PODS[0])
    assert done.returncode == 0, done.stderr


def test_a_token_of_no_pod_renews_no_lease(plane: ControlPlane) -> None:
    unbound = plane.kubeconfig_for_service_account(NAMESPACE, "mail-push-main-listener")
    assert refused(lambda: renew(plane, unbound, PODS[0]), f"Lease {PODS[0]} is not this pod's")


def test_the_operator_renews_any_lease(plane: ControlPlane) -> None:
    operator = plane.kubeconfig_for_service_account(NAMESPACE, "mail-push")
    done = renew(plane, operator, PODS[1])
    assert done.returncode == 0, done.stderr


def test_a_listener_writes_a_user_s_status_and_not_the_spec(plane: ControlPlane, listener: Path) -> None:
    def patch(body: dict[str, Any], *args: str) -> subprocess.CompletedProcess[str]:
        command = ("patch", "pushuser", "main-1-3", "--type=merge", "-p", json.dumps(body), *args)
        return plane.kubectl("-n", NAMESPACE, *command, as_kubeconfig=listener)

    done = patch({"status": {"pod": PODS[0]}}, "--subresource=status")
    assert done.returncode == 0, done.stderr
    assert "forbidden" in patch({"spec": {"suspend": True}}).stderr


def test_view_and_edit_of_the_cluster_reach_our_resources(plane: ControlPlane) -> None:
    apply(plane, role_binding("reader", "view"), role_binding("writer", "edit"))
    reader, writer = (f"system:serviceaccount:{NAMESPACE}:{name}" for name in ("reader", "writer"))
    # The controller-manager aggregates the two roles, each in its own time.
    wait_until_allowed(plane, reader, "list", "pushusers.mailpush.dev", namespace=NAMESPACE)
    wait_until_allowed(plane, writer, "create", "pushusers.mailpush.dev", namespace=NAMESPACE)
    assert not allowed(plane, reader, "create", "pushusers.mailpush.dev", namespace=NAMESPACE)
    assert not allowed(plane, writer, "update", "shardmaps.mailpush.dev", namespace=NAMESPACE)


def test_the_operator_works_with_the_rights_of_its_own_service_account(plane: ControlPlane, tmp_path: Path) -> None:
    """Started as its Deployment starts it, but here: with the Deployment's environment and the account's token."""
    log = tmp_path / "operator.log"
    with operator_process(plane, NAMESPACE, log) as process:
        apply(plane, *second_installation())
        for kind, name, path in (
            ("mailpushconfig", "second", '{.status.conditions[?(@.type=="ConfigurationValid")].status}'),
            ("shardmap", "second", "{.spec.epoch}"),
            ("lease", "mail-push-second-1", "{.metadata.name}"),
            ("pushuser", "second-1-3", '{.status.conditions[?(@.type=="Accepted")].status}'),
            ("pushuser", "second-1-3", "{.metadata.labels.mailpush\\.dev/slot}"),
            ("events.events.k8s.io", "--field-selector=reason=Accepted", "{.items[*].regarding.name}"),
            ("statefulset", "mail-push-second", "{.metadata.name}"),
            ("serviceaccount", "mail-push-second-listener", "{.metadata.name}"),
        ):
            wait(process, log, lambda: value(plane, kind, name, path), f"{kind} {name}: {path}")  # noqa: B023
    complaints = [line for line in log.read_text().splitlines() if "forbidden" in line.lower()]
    assert complaints == []
    assert log.stat().st_size > 0, "it said nothing at all"


def second_installation() -> list[dict[str, Any]]:
    """The example once more under another name: with its Secrets, two pods and a push user."""
    spec = yaml.safe_load(EXAMPLE.read_text())["mailPushConfig"]["spec"]
    spec["listeners"] = {"replicas": 2}
    spec["packages"] = {"status": {"open-xchange-push-dovecot": "enabled"}}
    del spec["mailAccess"]["servers"][0]["caSecretRef"]
    secrets = {"mail-master": ["password"], "webhook": ["secret"], "admin": ["login", "password"]}
    user = {"configRef": {"name": "second"}, "contextId": 1, "userId": 3, "login": "anton"}
    ours = "mailpush.dev/v1alpha1"
    return [
        *(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "labels": {"mailpush.dev/use": "master-password.webhook.admin"}},
                "stringData": dict.fromkeys(keys, "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"),
            }
            for name, keys in secrets.items()
        ),
        {"apiVersion": ours, "kind": "MailPushConfig", "metadata": {"name": "second"}, "spec": spec},
        {
            "apiVersion": ours,
            "kind": "PushUser",
            "metadata": {"name": "second-1-3"},
            "spec": user | {"clients": ["open-xchange-mobile-api-facade"]},
        },
    ]


def value(plane: ControlPlane, kind: str, name: str, path: str) -> str:
    return plane.kubectl("-n", NAMESPACE, "get", kind, name, "-o", f"jsonpath={path}").stdout.strip()

"""A namespace that is deleted with its push users and with the operator's rights, which go with it."""

from pathlib import Path

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from mailpush import names
from tests.chart.conftest import CHART, EXAMPLE, Helm, wait_until_allowed
from tests.chart.operators import operator_process, wait

pytestmark = pytest.mark.cluster
NAMESPACE = "ending"
USERS = 200


def push_users() -> str:
    """As they are once they were registered at Dovecot, without all that leads there."""
    return yaml.safe_dump_all(
        {
            "apiVersion": names.API_VERSION,
            "kind": "PushUser",
            "metadata": {"name": f"main-1-{number}", "finalizers": [names.FINALIZER]},
            "spec": {"configRef": {"name": "main"}, "contextId": 1, "userId": number, "login": f"u{number}"},
        }
        for number in range(1, USERS + 1)
    )


def test_it_ends_although_the_operators_rights_end_first(tmp_path: Path) -> None:
    helm = Helm("helm4", tmp_path)
    values = yaml.safe_load(EXAMPLE.read_text())
    log = tmp_path / "operator.log"
    with ControlPlane.start() as plane:
        plane.kubectl("create", "namespace", NAMESPACE, check=True)
        code, text = helm.cluster(plane, NAMESPACE, "install", "mail-push", CHART, "--no-hooks", values=values)
        assert code == 0, text
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s", check=True)
        account = f"system:serviceaccount:{NAMESPACE}:mail-push"
        wait_until_allowed(plane, account, "patch", "pushusers.mailpush.dev", namespace=NAMESPACE)
        spec = values["mailPushConfig"]["spec"]
        config = {"apiVersion": names.API_VERSION, "kind": "MailPushConfig", "metadata": {"name": "main"}, "spec": spec}
        plane.kubectl("-n", NAMESPACE, "apply", "-f", "-", input=yaml.safe_dump(config), check=True)
        plane.kubectl("-n", NAMESPACE, "create", "-f", "-", input=push_users(), check=True)
        with operator_process(plane, NAMESPACE, log) as process:

            def judged() -> bool:
                path = '{.items[*].status.conditions[?(@.type=="Accepted")].status}'
                found = plane.kubectl("-n", NAMESPACE, "get", "pushusers", "-o", f"jsonpath={path}").stdout
                return len(found.split()) == USERS

            wait(process, log, judged, "all users have their condition Accepted")
            plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false", check=True)

            def gone() -> bool:
                return not plane.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name").stdout

            wait(process, log, gone, "the namespace is gone")
    assert "namespace_ends" in log.read_text()

"""Install, upgrade, uninstall and install again with both Helms on a real API server.

There is no kubelet here, so hooks would wait for ever: `--no-hooks`, and what the Jobs do is done by the same command
with the same ServiceAccount. The Jobs themselves run in the test of the main job on real nodes.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from tests.chart.conftest import CHART, EXAMPLE, Helm, Values, process_environment, wait_until_allowed

pytestmark = pytest.mark.cluster
NAMESPACE = "mail"
PAGE: Values = {"core-mw": {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}}}
PUSH_USER = """
apiVersion: mailpush.dev/v1alpha1
kind: PushUser
metadata: {name: main-1-3, finalizers: [mailpush.dev/registration]}
spec: {configRef: {name: main}, contextId: 1, userId: 3, login: anton, clients: [open-xchange-mobile-api-facade]}
"""


class Site:
    """A namespace of a cluster, and one of the Helms for it."""

    def __init__(self, plane: ControlPlane, helm: Helm) -> None:
        self.plane = plane
        self._helm = helm

    def helm(self, *args: str | Path, values: Values | None = None) -> tuple[int, str]:
        return self._helm.cluster(self.plane, NAMESPACE, *args, "--no-hooks", values=values)

    def installed(self, values: Values, release: str = "mail-push") -> str:
        """Installs, waits for the CRDs and gives the notes."""
        code, text = self.helm("install", release, CHART, values=values)
        assert code == 0, text
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s", check=True)
        return text.partition("NOTES:")[2]

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return self.plane.kubectl("-n", NAMESPACE, *args, input=input, check=True).stdout

    def names(self, kind: str) -> list[str]:
        return [line.partition("/")[2] for line in self.kubectl("get", kind, "-o", "name").split()]

    def apply_job(self, folder: Path, release: str = "mail-push") -> subprocess.CompletedProcess[str]:
        """What the post-install Job does, with what its ConfigMap holds."""
        file = folder / "mailpushconfig.yaml"
        file.write_text(self.kubectl("get", "configmap", f"{release}-config", "-o", "jsonpath={.data.*}"))
        return self._as_job(release, "apply", f"--filename={file}")

    def cleanup_job(self, release: str = "mail-push") -> subprocess.CompletedProcess[str]:
        """What the pre-delete Job does where nobody is left to unregister."""
        return self._as_job(release, "cleanup", "--wait-seconds=0")

    def _as_job(self, release: str, *command: str) -> subprocess.CompletedProcess[str]:
        account = f"system:serviceaccount:{NAMESPACE}:{release}-hooks"
        for what in ("mailpushconfigs.mailpush.dev", "pushusers.mailpush.dev"):
            wait_until_allowed(self.plane, account, "patch", what, namespace=NAMESPACE)
        kubeconfig = self.plane.kubeconfig_for_service_account(NAMESPACE, f"{release}-hooks")
        return subprocess.run(
            [Path(sys.executable).with_name("mail-push"), *command, f"--namespace={NAMESPACE}"],
            env=process_environment() | {"KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def replicas(self) -> str:
        return self.kubectl("get", "mailpushconfig", "main", "-o", "jsonpath={.spec.listeners.replicas}")


@pytest.fixture
def site(helm: Helm) -> Iterator[Site]:
    """On a cluster of its own: CRDs are the cluster's, and deleting them can take the API server a minute."""
    with ControlPlane.start() as plane:
        plane.kubectl("create", "namespace", NAMESPACE, check=True)
        yield Site(plane, helm)


def test_from_install_to_install_under_another_name(site: Site, tmp_path: Path) -> None:
    example = yaml.safe_load(EXAMPLE.read_text())
    assert "MailAccessMissing" not in site.installed(example)
    assert site.names("deployment") == ["mail-push"]
    done = site.apply_job(tmp_path)
    assert done.returncode == 0, done.stderr
    assert site.replicas() == "4"

    example["mailPushConfig"]["spec"]["listeners"]["replicas"] = 5
    example["replicaCount"] = 2
    code, text = site.helm("upgrade", "mail-push", CHART, values=example)
    assert code == 0, text
    done = site.apply_job(tmp_path)
    assert done.returncode == 0, done.stderr
    assert site.replicas() == "5"
    assert site.names("poddisruptionbudget") == ["mail-push"]

    site.kubectl("apply", "-f", "-", input=PUSH_USER)
    done = site.cleanup_job()
    assert done.returncode == 0, done.stderr
    assert site.names("mailpushconfig") == []
    assert site.kubectl("get", "pushuser", "main-1-3", "-o", "jsonpath={.metadata.finalizers}") == ""
    code, text = site.helm("uninstall", "mail-push")
    assert code == 0, text
    assert site.names("deployment") == []
    assert site.names("pushusers") == ["main-1-3"], "push users are the site's own and outlive the release"
    assert len(site.names("crd")) == 3

    code, text = site.helm("install", "other", CHART, values=PAGE)
    assert code != 0, "the CRDs still belong to the first release"
    assert "ownership" in text
    assert ".mailpush.dev" in text

    notes = site.installed({**PAGE, "crds": {"install": False}}, "other")
    assert "MailAccessMissing" in notes
    assert "masterPasswordSecretRef" in notes
    assert f"http://mail-push-main.{NAMESPACE}.svc:8009" in notes
    assert notes.index("push_notification_driver") < notes.index(f"helm -n {NAMESPACE} uninstall other")
    done = site.apply_job(tmp_path, "other-mail-push")
    assert done.returncode == 0, done.stderr
    assert site.names("deployment") == ["other-mail-push"]

    code, text = site.helm("upgrade", "other", CHART, "--take-ownership", values=PAGE)
    assert code == 0, text
    code, text = site.helm("uninstall", "other")
    assert code == 0, text
    assert site.names("pushusers") == ["main-1-3"]


@pytest.mark.parametrize("helm", ["helm4"], indirect=True)
def test_what_the_api_server_refuses_is_said_and_fails_the_job(site: Site, tmp_path: Path) -> None:
    """The chart's schema takes it, since only the API server's rules know that a password source is missing."""
    spec = {"mailAccess": {"passwordSource": "session", "servers": [{"name": "default", "host": "dovecot"}]}}
    site.installed({**PAGE, "mailPushConfig": {"spec": spec}})
    done = site.apply_job(tmp_path)
    assert done.returncode != 0
    assert 'mailAccess.passwordSource is "session"' in done.stderr + done.stdout
    assert site.names("mailpushconfig") == []

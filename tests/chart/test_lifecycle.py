"""Install, upgrade, uninstall and install again with both Helms on a real API server.

There is no kubelet here, so hooks would wait for ever: `--no-hooks`, and what the Jobs do is done by the same command
with the same ServiceAccount; where Helm has to wait for a hook, `Jobs` plays the kubelet.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from tests.chart.conftest import CHART, EXAMPLE, Helm, Manifest, Values, process_environment, wait_until_allowed
from tests.chart.jobs import MAIL_PUSH, Jobs

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

    def helm(self, *args: str | Path, values: Values | None = None, namespace: str = NAMESPACE) -> tuple[int, str]:
        return self._helm.cluster(self.plane, namespace, *args, "--no-hooks", values=values)

    def template(self, release: str, values: Values) -> list[Manifest]:
        """What `helm template` prints, hooks included."""
        return self._helm.render(values, release=release, namespace=NAMESPACE)

    def everything(self) -> set[str]:
        """All that a release installs, by name."""
        kinds = "deployments,roles,rolebindings,serviceaccounts,configmaps,leases,mailpushconfigs,clusterroles"
        return set(self.kubectl("get", kinds, "-o", "name").split())

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
        account = f"system:serviceaccount:{NAMESPACE}:{release}-hooks"
        for what in ("mailpushconfigs.mailpush.dev", "pushusers.mailpush.dev"):
            wait_until_allowed(self.plane, account, "patch", what, namespace=NAMESPACE)
        kubeconfig = self.plane.kubeconfig_for_service_account(NAMESPACE, f"{release}-hooks")
        return subprocess.run(
            [MAIL_PUSH, "apply", f"--filename={file}", f"--namespace={NAMESPACE}"],
            env=process_environment() | {"KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def uninstalled(self, folder: Path, release: str = "mail-push") -> Jobs:
        """Uninstalls with the hook that unregisters; there is no operator here, so that gives up in the end."""
        jobs = Jobs(self.plane, NAMESPACE, folder)
        with jobs.running():
            code, text = self._helm.cluster(self.plane, NAMESPACE, "uninstall", release, "--timeout=3m")
        assert code == 0, text
        return jobs

    def tested(self, folder: Path, *, succeeds: bool) -> str:
        """What the Job of `helm test` says; the test fails where Helm takes it otherwise."""
        jobs = Jobs(self.plane, NAMESPACE, folder)
        with jobs.running():
            code, text = self._helm.cluster(self.plane, NAMESPACE, "test", "mail-push", "--timeout=3m")
        assert (code == 0) is succeeds, text
        return jobs.done["check"].stdout

    def becomes_ready(self) -> None:
        """As the operator writes it, of which there is none here."""
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Listening",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
        patch = json.dumps({"status": {"conditions": [condition]}})
        self.kubectl("patch", "mailpushconfig", "main", "--subresource=status", "--type=merge", "-p", patch)

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
    example["hooks"] = {"timeoutSeconds": 65}  # nobody unregisters users here, or makes it ready: no Job need wait long
    notes = site.installed(example)
    assert "MailAccessMissing" not in notes
    assert "NOBODY IS NOTIFIED" not in notes
    assert "without Redis" not in notes
    assert site.names("deployment") == ["mail-push"]
    done = site.apply_job(tmp_path)
    assert done.returncode == 0, done.stderr
    assert site.replicas() == "4"
    assert "the operator has not looked at it yet" in site.tested(tmp_path, succeeds=False)
    site.becomes_ready()
    assert "Ready=True" in site.tested(tmp_path, succeeds=True)

    example["mailPushConfig"]["spec"]["listeners"]["replicas"] = 5
    example["replicaCount"] = 2
    code, text = site.helm("upgrade", "mail-push", CHART, values=example)
    assert code == 0, text
    done = site.apply_job(tmp_path)
    assert done.returncode == 0, done.stderr
    assert site.replicas() == "5"
    assert site.names("poddisruptionbudget") == ["mail-push"]

    site.kubectl("apply", "-f", "-", input=PUSH_USER)
    jobs = site.uninstalled(tmp_path)
    assert "Helm is removing the release mail-push" in jobs.done["cleanup-0"].stdout
    assert site.names("mailpushconfig") == []
    assert site.kubectl("get", "pushuser", "main-1-3", "-o", "jsonpath={.metadata.finalizers}") == ""
    assert site.names("deployment") == []
    assert site.names("lease") == []
    assert site.names("pushusers") == ["main-1-3"], "push users are the site's own and outlive the release"
    assert len(site.names("crd")) == 3

    code, text = site.helm("install", "other", CHART, values=PAGE)
    assert code != 0, "the CRDs still belong to the first release"
    assert "ownership" in text
    assert ".mailpush.dev" in text

    properties = {"com.openexchange.mail.loginSource": "mail", "com.openexchange.mail.masterPassword": "hunter2"}
    stack = {"core-mw": {**PAGE["core-mw"], "properties": properties}, "traefik": {"enabled": True}}
    notes = site.installed({**stack, "crds": {"install": False}}, "other")
    assert "into spec.properties: com.openexchange.mail.loginSource." in notes
    assert "com.openexchange.mail.masterPassword, a secret" in notes
    assert "mailPushConfig.spec.mailAccess.masterPasswordSecretRef (docs" in notes
    assert "hunter2" not in notes
    assert "this chart has no such values: traefik." in notes
    assert "MailAccessMissing" in notes
    assert "NOBODY IS NOTIFIED YET: there is no webhook" in notes
    assert "Several listener pods without Redis" in notes
    for word in ("masterPasswordSecretRef", "caSecretRef", "mailpush.dev/use=ca", "helm -n mail test other"):
        assert word in notes
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


OTHER_NAMESPACE = "post"


def test_a_second_release_for_one_namespace_is_refused_with_a_sentence_and_changes_nothing(
    site: Site, tmp_path: Path
) -> None:
    """It was installed, led beside the first, and its uninstallation deleted the first's MailPushConfig."""
    site.installed(PAGE)
    done = site.apply_job(tmp_path)
    assert done.returncode == 0, done.stderr
    before = site.everything()
    again = {**PAGE, "crds": {"install": False}}
    for namespace, values in ((NAMESPACE, again), (OTHER_NAMESPACE, {"watchNamespaces": [NAMESPACE], **again})):
        code, text = site.helm("install", "second", CHART, "--create-namespace", values=values, namespace=namespace)
        assert code != 0
        if namespace == NAMESPACE:
            assert "the namespace mail is served by the release mail-push (in the namespace mail) already" in text
    assert site.everything() == before
    code, text = site.helm("upgrade", "mail-push", CHART, values=PAGE)
    assert code == 0, text
    code, text = site.helm("install", "second", CHART, "--create-namespace", values=again, namespace=OTHER_NAMESPACE)
    assert code == 0, text


def test_the_jobs_of_a_second_release_leave_the_first_s_alone(site: Site, tmp_path: Path) -> None:
    """Where it came in by another way than Helm's, as by `kubectl apply`."""
    site.installed(PAGE)
    assert site.apply_job(tmp_path).returncode == 0
    site.kubectl("apply", "-f", "-", input=PUSH_USER)
    second = site.template("second", {**PAGE, "crds": {"install": False}})
    site.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(second))
    jobs = Jobs(site.plane, NAMESPACE, tmp_path)
    refused = jobs.run_job("second-mail-push-apply")["apply"]
    assert refused.returncode == 1
    assert "it belongs to the Helm release mail-push" in refused.stderr
    site.kubectl("annotate", "deployment", "second-mail-push", "mailpush.dev/uninstall=second")
    cleaned = jobs.run_job("second-mail-push-cleanup")["cleanup-0"]
    assert cleaned.returncode == 0, cleaned.stderr
    assert "mailpushconfig.mailpush.dev/main stays: another release serves it" in cleaned.stdout
    assert site.names("mailpushconfig") == ["main"]
    config = yaml.safe_load(site.kubectl("get", "mailpushconfig", "main", "-o", "yaml"))
    assert "annotations" not in config["metadata"]
    assert "mailpush.dev/registration" in site.kubectl("get", "pushuser", "main-1-3", "-o", "jsonpath={.metadata}")


@pytest.mark.parametrize("helm", ["helm4"], indirect=True)
def test_what_the_api_server_refuses_is_said_and_fails_the_job(site: Site, tmp_path: Path) -> None:
    """The chart's schema takes it, since only the API server's rules know that a password source is missing."""
    spec = {"mailAccess": {"passwordSource": "session", "servers": [{"name": "default", "host": "dovecot"}]}}
    site.installed({**PAGE, "mailPushConfig": {"spec": spec}})
    done = site.apply_job(tmp_path)
    assert done.returncode != 0
    assert 'mailAccess.passwordSource is "session"' in done.stderr + done.stdout
    assert site.names("mailpushconfig") == []

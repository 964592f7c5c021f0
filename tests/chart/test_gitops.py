"""The chart without Helm's hooks: whoever applies what `helm template` prints, kustomize, and tools that keep it so."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from dev.processes import run
from dev.programs import binaries
from mailpush.api.pushuser import PushUserSpec
from mailpush.api.schema import closed_spec_schema
from tests.chart.conftest import CHART, EXAMPLE, ROOT, Helm, Manifest, Values, kinds, mail_push_config, one
from tests.chart.jobs import Jobs

NAMESPACE = "mail"
VALUES: Values = yaml.safe_load(EXAMPLE.read_text())
NAMES = ROOT / "examples" / "kustomize" / "names.yaml"
WITHOUT_HOOKS: Values = {**VALUES, "hooks": {"enabled": False}}
USER: Manifest = {
    "apiVersion": "mailpush.dev/v1alpha1",
    "kind": "PushUser",
    "metadata": {"name": "main-1-3", "finalizers": ["mailpush.dev/registration"]},
    "spec": {"configRef": {"name": "main"}, "contextId": 1, "userId": 3, "clients": ["a"], "login": "anton"},
}


def test_without_hooks_the_mail_push_config_is_an_object_and_nothing_is_a_job(helm: Helm) -> None:
    manifests = helm.render(WITHOUT_HOOKS)
    assert not [item for item in manifests if item["kind"] == "Job"]
    assert not [item for item in manifests if "helm.sh/hook" in item["metadata"].get("annotations", {})]
    assert not [name for _, name in kinds(manifests) if name.startswith("mail-push-hooks")]
    found = one(manifests, "MailPushConfig", "main")
    by_job = mail_push_config(helm.render(VALUES))
    assert by_job is not None
    assert found["spec"] == by_job["spec"]
    # Argo CD applies it after the CRD and the operator, and tries nothing before the CRD is there.
    assert found["metadata"]["annotations"] == {
        "argocd.argoproj.io/sync-wave": "1",
        "argocd.argoproj.io/sync-options": "SkipDryRunOnMissingResource=true",
    }


def secret_references(schema: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Where a schema has names of Secrets, as kustomize writes a path: lists are passed through."""
    if isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            if name.endswith("SecretRef") or name == "secretRef":
                yield "/".join((*path, name, "name"))
            else:
                yield from secret_references(field, (*path, name))
        for part in (schema.get("items"), *(schema.get("anyOf") or ())):
            yield from secret_references(part, path)


def test_kustomize_is_told_of_every_field_that_names_a_secret() -> None:
    user = PushUserSpec.model_json_schema()
    wanted = {("MailPushConfig", path) for path in secret_references(closed_spec_schema(), ("spec",))}
    wanted |= {("PushUser", path) for path in secret_references(user, ("spec",))}
    assert len(wanted) > 8
    told = next(entry for entry in yaml.safe_load(NAMES.read_text())["nameReference"] if entry["kind"] == "Secret")
    assert {(field["kind"], field["path"]) for field in told["fieldSpecs"]} == wanted


@pytest.mark.parametrize("helm", ["helm3"], indirect=True)
def test_a_prefix_of_kustomize_s_reaches_all_that_is_named(helm: Helm, tmp_path: Path) -> None:
    """By way of its own `helmCharts`, which passes the output of `helm template` on."""
    shutil.copytree(CHART, tmp_path / "charts" / "mail-push")
    shutil.copy(NAMES, tmp_path)
    secrets = ("mail-master", "dovecot-ca", "webhook", "admin")
    objects = [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}} for name in secrets]
    (tmp_path / "site.yaml").write_text(yaml.safe_dump_all([USER, *objects]))
    chart = {"name": "mail-push", "releaseName": "mail-push", "namespace": NAMESPACE, "valuesInline": WITHOUT_HOOKS}
    kustomization = {
        "namePrefix": "our-",
        "namespace": NAMESPACE,
        "configurations": [NAMES.name],
        "resources": ["site.yaml"],
        "helmGlobals": {"chartHome": "charts"},
        "helmCharts": [chart],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    program = ("--enable-helm", "--helm-command", str(binaries.path(helm.major)))
    done = run.quiet(binaries.path("kubectl"), "kustomize", tmp_path, *program, env={"HOME": str(tmp_path)})
    manifests = [item for item in yaml.safe_load_all(done.stdout) if item]
    spec = one(manifests, "MailPushConfig", "our-main")["spec"]
    assert spec["mailAccess"]["masterPasswordSecretRef"]["name"] == "our-mail-master"
    assert spec["mailAccess"]["servers"][0]["caSecretRef"]["name"] == "our-dovecot-ca"
    assert spec["transports"]["webhooks"][0]["secretRef"]["name"] == "our-webhook"
    assert spec["admin"]["authSecretRef"]["name"] == "our-admin"
    assert one(manifests, "PushUser", "our-main-1-3")["spec"]["configRef"]["name"] == "our-main"
    role = next(
        item["metadata"]["name"]
        for item in manifests
        if item["kind"] == "ClusterRole" and "listener" in item["metadata"]["name"]
    )
    container = one(manifests, "Deployment", "our-mail-push")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "MAILPUSH_LISTENER_CLUSTER_ROLE", "value": role} in container["env"]
    rules = one(manifests, "Role", "our-mail-push")["rules"]
    assert [rule["resourceNames"] for rule in rules if "bind" in rule["verbs"]] == [[role]]
    policy = next(item for item in manifests if item["kind"] == "ValidatingAdmissionPolicy")["metadata"]["name"]
    binding = next(item for item in manifests if item["kind"] == "ValidatingAdmissionPolicyBinding")
    assert binding["spec"]["policyName"] == policy


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.start() as plane:
        yield plane


class Applied:
    """A namespace into which somebody applies what `helm template` prints."""

    def __init__(self, plane: ControlPlane, helm: Helm, namespace: str, folder: Path) -> None:
        self.plane = plane
        self.helm = helm
        self.namespace = namespace
        self.jobs = Jobs(plane, namespace, folder)
        plane.kubectl("create", "namespace", namespace, check=True)

    def apply(self, values: Values, *more: Manifest, how: tuple[str, ...] = ()) -> tuple[int, str]:
        manifests = [*self.helm.render(values, namespace=self.namespace), *more]
        done = self.plane.kubectl("-n", self.namespace, "apply", *how, "-f", "-", input=yaml.safe_dump_all(manifests))
        return done.returncode, done.stdout + done.stderr

    def established(self) -> None:
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s", check=True)

    def get(self, kind: str, name: str) -> Any:
        return json.loads(self.plane.kubectl("-n", self.namespace, "get", kind, name, "-o", "json", check=True).stdout)


@pytest.mark.cluster
@pytest.mark.parametrize("how", [(), ("--server-side", "--force-conflicts")], ids=["client-side", "server-side"])
@pytest.mark.parametrize("helm", ["helm4"], indirect=True)
def test_applied_twice_with_its_jobs_nothing_is_unregistered_and_nothing_deleted(
    plane: ControlPlane, helm: Helm, tmp_path: Path, how: tuple[str, ...]
) -> None:
    """The Job before uninstallation came as an ordinary one, unregistered everybody and deleted the MailPushConfig."""
    site = Applied(plane, helm, f"jobs-{len(how)}", tmp_path)
    assert site.apply(VALUES, how=how)[0] == 0
    site.established()
    assert site.jobs.run_job("mail-push-apply")["apply"].returncode == 0
    assert site.apply(VALUES, USER, how=how)[0] == 0
    before = site.get("mailpushconfig", "main"), site.get("pushuser", "main-1-3")
    done = site.jobs.run_job("mail-push-cleanup")["cleanup-0"]
    assert done.returncode == 0, done.stderr
    assert "this is no pre-delete hook of Helm's" in done.stdout
    assert (site.get("mailpushconfig", "main"), site.get("pushuser", "main-1-3")) == before


@pytest.mark.cluster
def test_applied_over_what_helm_has_installed_nothing_is_deleted_either(
    plane: ControlPlane, helm: Helm, tmp_path: Path
) -> None:
    site = Applied(plane, helm, f"over-{helm.major}", tmp_path)
    values = {**VALUES, "crds": {"install": False}}
    plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"), check=True)
    site.established()
    code, text = helm.cluster(plane, site.namespace, "install", "mail-push", CHART, "--no-hooks", values=values)
    assert code == 0, text
    assert site.apply(values, USER)[0] == 0
    assert site.jobs.run_job("mail-push-apply")["apply"].returncode == 0
    before = site.get("mailpushconfig", "main"), site.get("pushuser", "main-1-3")
    done = site.jobs.run_job("mail-push-cleanup")["cleanup-0"]
    assert done.returncode == 1
    assert "was installed by Helm, but this Job was not made by it" in done.stderr
    assert (site.get("mailpushconfig", "main"), site.get("pushuser", "main-1-3")) == before
    # The word of intent, as the sentence says.
    word = done.stderr.partition("kubectl ")[2].split()
    plane.kubectl(*word, check=True)
    patch = json.dumps({"metadata": {"finalizers": None}})
    plane.kubectl("-n", site.namespace, "patch", "pushuser", "main-1-3", "--type=merge", "-p", patch, check=True)
    done = site.jobs.run_job("mail-push-cleanup")["cleanup-0"]
    assert done.returncode == 0, done.stderr
    assert "mailpushconfig.mailpush.dev/main deleted" in done.stdout


@pytest.mark.cluster
@pytest.mark.parametrize("helm", ["helm4"], indirect=True)
def test_without_hooks_a_second_apply_changes_nothing(plane: ControlPlane, helm: Helm, tmp_path: Path) -> None:
    site = Applied(plane, helm, "no-hooks", tmp_path)
    site.apply(WITHOUT_HOOKS)  # the CRD may not be served yet for the MailPushConfig
    site.established()
    code, text = site.apply(WITHOUT_HOOKS)
    assert code == 0, text
    code, text = site.apply(WITHOUT_HOOKS)
    assert code == 0, text
    changed = [line for line in text.splitlines() if not line.endswith("unchanged")]
    assert changed == []
    assert site.get("mailpushconfig", "main")["spec"]["listeners"]["replicas"] == 4

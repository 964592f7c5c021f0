"""What the chart renders is what Kubernetes knows, strictly, and what a careful administrator accepts."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart.conftest import EXAMPLE, ROOT, Helm, Manifest, Values, kinds, one

VERSIONS = ("1.30", "1.37")
EVERYTHING: Values = {
    "core-mw": {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}},
    "watchNamespaces": ["mail", "other"],
    "replicaCount": 2,
    "imagePullSecrets": ["one", {"name": "two"}],
    "global": {"imageRegistry": "registry.example", "imagePullSecrets": [{"name": "zero"}]},
    "image": {"digest": "sha256:" + "0" * 64},
    "crds": {"annotations": {"example.org/a": "b"}},
    "serviceAccount": {"annotations": {"a": "b"}, "labels": {"c": "d"}},
    "podDisruptionBudget": {"enabled": True},
    "autoscaling": {
        "enabled": True,
        "minReplicas": 3,
        "targetCPUUtilizationPercentage": 80,
        "targetMemoryUtilizationPercentage": 70,
        "metrics": [
            {
                "type": "ContainerResource",
                "containerResource": {
                    "name": "memory",
                    "container": "listener",
                    "target": {"type": "AverageValue", "averageValue": "700Mi"},
                },
            }
        ],
        "annotations": {"a": "b"},
        "labels": {"c": "d"},
    },
    "networkPolicy": {
        "enabled": True,
        "callbackFrom": [{"podSelector": {"matchLabels": {"app": "dovecot"}}}],
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "adminFrom": [{"podSelector": {"matchLabels": {"app": "admins"}}}],
    },
    "admin": {
        "enabled": True,
        "existingSecret": "admin",
        "tls": {"existingSecret": "admin-tls"},
        "service": {"annotations": {"a": "b"}, "labels": {"c": "d"}},
    },
    "metrics": {"service": {"enabled": True, "annotations": {"a": "b"}, "labels": {"c": "d"}}},
    "commonLabels": {"team": "mail"},
    "logLevel": "debug",
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    "priorityClassName": "system-cluster-critical",
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "tolerations": [{"key": "mail", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraEnvFrom": [{"configMapRef": {"name": "c"}}],
    "extraVolumes": [{"name": "v", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
    "extraObjects": [
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-text'}}",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-map"}},
    ],
}
LITTLE: Values = {
    "crds": {"install": False},
    "rbac": {"create": False},
    "serviceAccount": {"create": False},
    "admissionPolicy": {"create": False},
    "flowControl": {"create": False},
    "hooks": {"cleanup": {"enabled": False}},
}
CASES: dict[str, Values] = {
    "defaults": {},
    "example": yaml.safe_load(EXAMPLE.read_text()),
    "everything": EVERYTHING,
    "little": LITTLE,
}


@pytest.mark.parametrize("case", CASES)
def test_lint_finds_nothing(helm: Helm, case: str) -> None:
    code, text = helm.lint(CASES[case])
    assert code == 0, text
    assert "[WARNING]" not in text


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_strictly_valid(helm: Helm, case: str, version: str) -> None:
    manifests = helm.render(CASES[case])
    assert manifests
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{manifest['kind']} {manifest['metadata']['name']}: {error.message}")


@pytest.mark.parametrize("case", CASES)
def test_no_object_comes_twice(helm: Helm, case: str) -> None:
    manifests = helm.render(CASES[case])
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in manifests]
    assert len(names) == len(set(names))


def test_both_helms_render_the_same(tmp_path: Path) -> None:
    for values in CASES.values():
        assert Helm("helm4", tmp_path).render(values) == Helm("helm3", tmp_path).render(values)


def test_the_crds_are_the_generated_ones_and_are_kept(helm: Helm) -> None:
    rendered = [item for item in helm.render() if item["kind"] == "CustomResourceDefinition"]
    sources = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]
    assert len(sources) == 3
    by_name = {item["metadata"]["name"]: item for item in rendered}
    assert by_name.keys() == {source["metadata"]["name"] for source in sources}
    for source in sources:
        crd = by_name[source["metadata"]["name"]]
        assert crd["spec"] == source["spec"]
        annotations = {"helm.sh/resource-policy": "keep", **source["metadata"].get("annotations", {})}
        assert crd["metadata"]["annotations"] == annotations


def test_crds_can_be_left_out_or_given_up(helm: Helm) -> None:
    assert "CustomResourceDefinition" not in {kind for kind, _ in kinds(helm.render({"crds": {"install": False}}))}
    for item in helm.render({"crds": {"keep": False}}):
        assert "helm.sh/resource-policy" not in item["metadata"].get("annotations", {})


def pod_specs(manifests: list[Manifest]) -> list[dict[str, Any]]:
    return [item["spec"]["template"]["spec"] for item in manifests if item["kind"] in {"Deployment", "Job"}]


def test_all_pods_keep_to_the_restricted_standard(helm: Helm) -> None:
    found = pod_specs(helm.render(EVERYTHING))
    assert len(found) == 4
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_every_pod_runs_the_image_that_was_asked_for(helm: Helm) -> None:
    for pod in pod_specs(helm.render(EVERYTHING)):
        assert pod["imagePullSecrets"] == [{"name": "zero"}, {"name": "one"}, {"name": "two"}]
        for container in pod["containers"]:
            assert container["image"] == "registry.example/mail-push/mail-push@sha256:" + "0" * 64
    operator = one(helm.render(EVERYTHING), "Deployment", "mail-push")
    environment = {entry["name"]: entry.get("value") for entry in container_of(operator)["env"]}
    assert environment["MAILPUSH_IMAGE"] == container_of(operator)["image"], "listeners run the operator's image"
    assert environment["MAILPUSH_IMAGE_PULL_SECRETS"] == "zero,one,two"
    assert environment["MAILPUSH_NAMESPACES"] == "mail,other"


def container_of(workload: Manifest) -> dict[str, Any]:
    container: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return container


def test_the_operator_binds_the_one_role_that_it_is_told_of(helm: Helm) -> None:
    manifests = helm.render()
    environment = {
        entry["name"]: entry.get("value") for entry in container_of(one(manifests, "Deployment", "mail-push"))["env"]
    }
    role = environment["MAILPUSH_LISTENER_CLUSTER_ROLE"]
    assert role
    one(manifests, "ClusterRole", role)
    rules = one(manifests, "Role", "mail-push")["rules"]
    assert [rule["resourceNames"] for rule in rules if "bind" in rule["verbs"]] == [[role]]
    assert not [rule for rule in rules if "escalate" in rule["verbs"] or "*" in rule["verbs"] + rule["resources"]]


def test_the_admin_endpoint_is_off_and_with_it_the_right_to_delete_push_users(helm: Helm) -> None:
    def deletes(manifests: list[Manifest]) -> bool:
        rules = one(manifests, "Role", "mail-push")["rules"]
        return any("pushusers" in rule["resources"] and "delete" in rule["verbs"] for rule in rules)

    def variables(manifests: list[Manifest]) -> set[str]:
        return {entry["name"] for entry in container_of(one(manifests, "Deployment", "mail-push"))["env"]}

    off = helm.render()
    assert not deletes(off)
    assert not [name for name in variables(off) if "ADMIN" in name]
    assert "mail-push-admin" not in {item["metadata"]["name"] for item in off if item["kind"] == "Service"}
    on = helm.render({"admin": {"enabled": True, "existingSecret": "admin"}})
    assert deletes(on)
    assert {name for name in variables(on) if "ADMIN" in name} == {"MAILPUSH_ADMIN_PORT", "MAILPUSH_ADMIN_DIRECTORY"}
    assert one(on, "Service", "mail-push-admin")["spec"]["ports"] == [
        {"name": "admin", "port": 1099, "targetPort": "admin"}
    ]
    volumes = one(on, "Deployment", "mail-push")["spec"]["template"]["spec"]["volumes"]
    # A Secret that is missing keeps nobody from starting: without it nobody is let in.
    assert [volume["secret"] for volume in volumes if "secret" in volume] == [
        {"secretName": "admin", "defaultMode": 0o440, "optional": True}
    ]


def test_nothing_has_a_right_beyond_the_namespaces(helm: Helm) -> None:
    """But to see that one of them is being deleted: a Namespace object has no namespace."""
    manifests = helm.render(EVERYTHING)
    (binding,) = [item for item in manifests if item["kind"] == "ClusterRoleBinding"]
    names, verbs = ["mail", "other"], ["get", "list", "watch"]
    assert one(manifests, "ClusterRole", binding["roleRef"]["name"])["rules"] == [
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": names, "verbs": verbs}
    ]
    spaces = {item["metadata"]["namespace"] for item in manifests if item["kind"] == "RoleBinding"}
    assert spaces == {"mail", "other"}


def test_two_releases_of_one_name_in_two_namespaces_do_not_meet(helm: Helm) -> None:
    def without_namespace(namespace: str) -> set[tuple[str, str]]:
        manifests = helm.render({"crds": {"install": False}}, namespace=namespace)
        return kinds([item for item in manifests if "namespace" not in item["metadata"]])

    first, second = without_namespace("mail"), without_namespace("post")
    assert first
    assert not first & second


def test_a_second_replica_brings_a_disruption_budget(helm: Helm) -> None:
    assert ("PodDisruptionBudget", "mail-push") not in kinds(helm.render())
    assert ("PodDisruptionBudget", "mail-push") in kinds(helm.render({"replicaCount": 2}))


def test_a_failed_job_stays_and_its_output_is_shown(helm: Helm) -> None:
    manifests = helm.render(CASES["example"])
    hooks = {"apply": "post-install,post-upgrade,post-rollback", "cleanup": "pre-delete", "test": "test"}
    for name, hook in hooks.items():
        annotations = one(manifests, "Job", f"mail-push-{name}")["metadata"]["annotations"]
        assert annotations == {
            "helm.sh/hook": hook,
            "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
            "helm.sh/hook-output-log-policy": "hook-failed",
        }


def test_no_name_gets_too_long(helm: Helm) -> None:
    manifests = helm.render({"fullnameOverride": "f" * 80, **CASES["example"]}, release="r" * 53)
    checked = [item for item in manifests if item["kind"] in {"Deployment", "Job", "Service"}]
    assert {len(item["metadata"]["name"]) <= 63 for item in checked} == {True}

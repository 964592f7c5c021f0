"""Children of a MailPushConfig: what is built, without any cluster."""

import base64
import json
from typing import Any

import pytest

from mailpush import names
from mailpush.api.mailpushconfig import Listeners
from mailpush.controller.configs import property_files, workload
from mailpush.controller.configs.children import Desired, children
from mailpush.controller.environment import OperatorSettings
from tests.unit.controller.builders import OPERATOR, OWNER, evaluation

BOOT = "mail-push-main-boot-1"


def built(settings: OperatorSettings = OPERATOR, **changes: Any) -> dict[str, dict[str, Any]]:
    evaluated = evaluation(**changes)
    desired = Desired(OWNER, evaluated.spec.listeners, 2, evaluated.rendered)
    return {f"{child.resource.kind}/{child.name}": child.manifest for child in children(desired, settings)}


def stateful_set(listeners: dict[str, Any] | None = None, settings: OperatorSettings = OPERATOR) -> dict[str, Any]:
    return workload.stateful_set(OWNER, Listeners.model_validate(listeners or {}), 2, BOOT, settings)


def test_the_config_map_tells_pods_the_fingerprint_of_the_passcrypt_that_they_are_to_have() -> None:
    evaluated = evaluation()
    for fingerprint in ("", "0123"):
        desired = Desired(OWNER, evaluated.spec.listeners, 2, evaluated.rendered, fingerprint)
        found = next(one.manifest for one in children(desired, OPERATOR) if one.name == "mail-push-main-properties")
        assert found["metadata"]["annotations"].get("mailpush.dev/passcrypt", "") == fingerprint


def test_every_child_but_the_service_that_dovecot_calls_belongs_to_its_mail_push_config() -> None:
    children = built()
    kept = [name for name, manifest in children.items() if "ownerReferences" not in manifest["metadata"]]
    assert kept == ["Service/mail-push-main"]
    for name, manifest in children.items():
        assert manifest["metadata"]["labels"] == names.listener_labels("main"), name
        assert manifest["metadata"]["namespace"] == "mail", name
        if name in kept:
            continue
        owner = manifest["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "MailPushConfig",
            "main",
            "uid-of-main",
            True,
        ), name


def test_the_children_are_those_of_the_contract_and_the_stateful_set_comes_last() -> None:
    found = list(built())
    boot = next(name for name in found if "-boot-" in name)
    assert set(found) == {
        "ServiceAccount/mail-push-main-listener",
        "RoleBinding/mail-push-main-listener",
        "Service/mail-push-main-pods",
        "Service/mail-push-main",
        "Service/mail-push-main-credentials",
        "Secret/mail-push-main-secrets",
        "ConfigMap/mail-push-main-properties",
        boot,
        "PodDisruptionBudget/mail-push-main",
        "StatefulSet/mail-push-main",
    }
    assert found[-1] == "StatefulSet/mail-push-main"
    assert found.index("Secret/mail-push-main-secrets") < found.index("ConfigMap/mail-push-main-properties")


def test_no_secret_stands_anywhere_but_in_the_secret() -> None:
    everything = built()
    secret = everything.pop("Secret/mail-push-main-secrets")
    text = base64.b64decode(secret["data"]["mail-push-secrets.properties"]).decode()
    assert "secret word" in text
    assert "secret word" not in json.dumps(everything)
    assert base64.b64encode(b"secret word").decode() not in json.dumps(everything)


def test_the_pods_mount_the_boot_config_map_and_a_change_of_other_settings_does_not_roll_them() -> None:
    before, after = built(), built(allowedClients=["phone*"])
    assert before["StatefulSet/mail-push-main"] == after["StatefulSet/mail-push-main"]
    assert before["ConfigMap/mail-push-main-properties"] != after["ConfigMap/mail-push-main-properties"]
    rolled = built(redis={"url": "redis://redis/0"})["StatefulSet/mail-push-main"]
    assert rolled["spec"]["template"] != before["StatefulSet/mail-push-main"]["spec"]["template"]


def test_the_callback_service_selects_one_label_more_than_the_stateful_set_and_the_template_bears_it() -> None:
    found = built()
    selector = found["StatefulSet/mail-push-main"]["spec"]["selector"]["matchLabels"]
    labels = found["StatefulSet/mail-push-main"]["spec"]["template"]["metadata"]["labels"]
    service = found["Service/mail-push-main"]["spec"]
    assert service["selector"] == {**selector, names.CALLBACK_LABEL: names.CALLBACK_OPEN}
    assert service["selector"].items() <= labels.items()
    assert service["ports"][0]["port"] == 8009
    headless = found["Service/mail-push-main-pods"]["spec"]
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)
    assert headless["selector"] == selector


def test_a_login_hook_reaches_the_admin_port_of_ready_pods() -> None:
    found = built()
    service = found["Service/mail-push-main-credentials"]["spec"]
    assert service["selector"] == found["StatefulSet/mail-push-main"]["spec"]["selector"]["matchLabels"]
    assert "publishNotReadyAddresses" not in service
    ports = found["StatefulSet/mail-push-main"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    named = {port["name"]: port["containerPort"] for port in ports}
    assert [named[port["targetPort"]] for port in service["ports"]] == [1099]


def test_the_pods_are_restricted_and_have_no_volume_claims() -> None:
    found = stateful_set()["spec"]
    pod = found["template"]["spec"]
    container = pod["containers"][0]
    assert found["podManagementPolicy"] == "Parallel"
    assert "volumeClaimTemplates" not in found
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert not any("subPath" in mount for mount in container["volumeMounts"])


LISTENERS: tuple[tuple[dict[str, Any], str, Any], ...] = (
    ({"image": "example.org/other:2"}, "image", "example.org/other:2"),
    ({}, "image", "example.org/mail-push:1"),
    ({"imagePullPolicy": "Always"}, "imagePullPolicy", "Always"),
    ({}, "imagePullPolicy", "IfNotPresent"),
    ({"resources": {"limits": {"memory": "2Gi"}}}, "resources", {"limits": {"memory": "2Gi"}}),
    ({}, "resources", {"limits": {"memory": "1Gi"}, "requests": {"cpu": "50m", "memory": "128Mi"}}),
)


@pytest.mark.parametrize(("listeners", "field", "value"), LISTENERS)
def test_the_container_is_as_the_spec_says(listeners: dict[str, Any], field: str, value: Any) -> None:
    assert stateful_set(listeners)["spec"]["template"]["spec"]["containers"][0][field] == value


def test_a_pod_may_be_without_requests_and_limits() -> None:
    (container,) = stateful_set({"resources": {}})["spec"]["template"]["spec"]["containers"]
    assert "resources" not in container


def test_node_choice_and_pull_secrets_reach_the_pods() -> None:
    settings = OperatorSettings(("mail",), "mail", "image", image_pull_secrets=("registry",))
    toleration = {"key": "mail", "operator": "Exists"}
    pod = stateful_set({"nodeSelector": {"disk": "ssd"}, "tolerations": [toleration]}, settings)["spec"]["template"][
        "spec"
    ]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [toleration]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_what_is_made_once_is_random_and_marked_for_use() -> None:
    one, other = property_files.new_internal_secret(OWNER), property_files.new_internal_secret(OWNER)
    key = base64.b64decode(one["data"][names.INTERNAL_KEY_FILE])
    assert len(key) == 32
    assert one["data"] != other["data"]
    callback = property_files.new_callback_secret(OWNER)
    assert callback["type"] == names.CALLBACK_SECRET_TYPE
    assert base64.b64decode(callback["data"]["password"]).isalnum()


def test_what_a_site_adds_to_the_pods_is_there_and_the_operators_own_labels_win() -> None:
    affinity: dict[str, Any] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    }
    template = stateful_set(
        {
            "affinity": affinity,
            "priorityClassName": "mail",
            "labels": {"team": "mail", names.CONFIG_LABEL: "other", names.CALLBACK_LABEL: "closed"},
            "annotations": {"sidecar.istio.io/inject": "false"},
            "podSecurityContext": {"runAsNonRoot": True},
            "securityContext": {"readOnlyRootFilesystem": True},
            "logLevel": "debug",
        }
    )["spec"]["template"]
    pod = template["spec"]
    assert (pod["affinity"]["nodeAffinity"], pod["priorityClassName"]) == (affinity["nodeAffinity"], "mail")
    assert pod["securityContext"] == {"runAsNonRoot": True}
    assert pod["containers"][0]["securityContext"] == {"readOnlyRootFilesystem": True}
    assert {"name": "MAILPUSH_LOG_LEVEL", "value": "debug"} in pod["containers"][0]["env"]
    assert template["metadata"]["labels"] == {
        "team": "mail",
        **names.listener_labels("main"),
        names.CALLBACK_LABEL: names.CALLBACK_OPEN,
    }
    assert template["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"


def test_a_pod_without_wishes_is_as_it_was() -> None:
    """Else a new version rolls the pods for nothing."""
    pod = stateful_set()["spec"]["template"]["spec"]
    assert pod.keys() & {"affinity", "priorityClassName", "topologySpreadConstraints"} == {
        "affinity",
        "topologySpreadConstraints",
    }
    assert not [entry for entry in pod["containers"][0]["env"] if entry["name"] == "MAILPUSH_LOG_LEVEL"]


def spread(**listeners: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """What the pods are spread by: nodes or other topologies, and those that are merely preferred."""
    pod = stateful_set(listeners)["spec"]["template"]["spec"]
    preferred = (
        pod.get("affinity", {}).get("podAntiAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution")
    )
    for constraint in (
        *pod.get("topologySpreadConstraints", ()),
        *(term["podAffinityTerm"] for term in preferred or ()),
    ):
        assert constraint["labelSelector"] == {"matchLabels": names.listener_selector("main")}
    return (
        [(one["topologyKey"], one["whenUnsatisfiable"]) for one in pod.get("topologySpreadConstraints", ())],
        [term["podAffinityTerm"]["topologyKey"] for term in preferred or ()],
    )


def test_pods_are_spread_over_nodes_and_zones_and_a_site_may_want_it_otherwise() -> None:
    nodes, zones = ("kubernetes.io/hostname", "ScheduleAnyway"), "topology.kubernetes.io/zone"
    assert spread() == ([nodes], [zones])
    assert spread(nodeSelector={"disk": "fast"}, affinity={"nodeAffinity": {}}) == ([nodes], [zones])
    assert spread(affinity={"podAntiAffinity": {}}) == ([nodes], [])
    hard = {"maxSkew": 1, "topologyKey": zones, "whenUnsatisfiable": "DoNotSchedule"}
    assert spread(topologySpreadConstraints=[hard]) == ([(zones, "DoNotSchedule")], [])
    assert spread(topologySpreadConstraints=[]) == ([], [])


def test_a_spread_with_a_selector_of_its_own_keeps_it() -> None:
    selector = {"matchLabels": {"team": "mail"}}
    constraint = {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}
    pod = stateful_set({"topologySpreadConstraints": [constraint]})["spec"]["template"]["spec"]
    assert pod["topologySpreadConstraints"] == [constraint]

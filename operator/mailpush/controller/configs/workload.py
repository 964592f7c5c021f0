"""The StatefulSet of listener pods and its PodDisruptionBudget."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from mailpush import names
from mailpush.api.mailpushconfig import Listeners
from mailpush.controller.environment import OperatorSettings
from mailpush.controller.owner import Manifest, Owner
from mailpush.logs import LEVEL_VARIABLE
from mailpush.work import status_budget

CONTAINER: Final = "listener"
USER_ID: Final = 65532
GRACE_SECONDS: Final = 60
HOSTNAME_TOPOLOGY: Final = "kubernetes.io/hostname"
ZONE_TOPOLOGY: Final = "topology.kubernetes.io/zone"
POD_SECURITY: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
)
CONTAINER_SECURITY: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
)


def stateful_set(
    owner: Owner, listeners: Listeners, replicas: int, boot_config_map: str, settings: OperatorSettings
) -> Manifest:
    """The StatefulSet.

    `replicas` may differ from what `listeners` asks for: pods that still own users are not taken away, and without a
    way to the mailboxes none is started. A new name of `boot_config_map` rolls the pods, nothing else of the
    configuration does.
    """
    labels = {**listeners.labels, **names.listener_labels(owner.name), names.CALLBACK_LABEL: names.CALLBACK_OPEN}
    return {
        "metadata": owner.metadata(names.statefulset_name(owner.name)),
        "spec": {
            "replicas": replicas,
            "serviceName": names.headless_service_name(owner.name),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": names.listener_selector(owner.name)},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {**listeners.annotations, "kubectl.kubernetes.io/default-container": CONTAINER},
                },
                "spec": _pod(owner, listeners, boot_config_map, settings),
            },
        },
    }


def set_account(stateful_set: Manifest, uid: str) -> None:
    """Writes into the pods' template which ServiceAccount they run as, by its UID.

    A token is good for one UID, and a kubelet keeps a pod's token for most of an hour, also over restarts of the
    container. So a ServiceAccount that was deleted and made again needs other pods: the annotation rolls them.
    """
    metadata = stateful_set["spec"]["template"]["metadata"]
    metadata["annotations"] = {**metadata["annotations"], names.ACCOUNT_ANNOTATION: uid}


def strangers(stateful_set: Manifest, ours: str) -> set[str]:
    """The field managers beside `ours` that have put something into the pods' spec, such as `kubectl-set`.

    What they put into the template's metadata stays: `kubectl rollout restart` writes an annotation there.
    """
    found = set()
    for entry in stateful_set["metadata"].get("managedFields") or ():
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if entry.get("manager") != ours and "f:spec" in (spec.get("f:template") or {}):
            found.add(str(entry.get("manager")))
    return found


def put_right(found: Manifest, wanted: Manifest) -> Manifest:
    """The StatefulSet as it was found, with the pods' spec that is wanted and nothing else in that."""
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    template = {**found["spec"]["template"], "spec": wanted["spec"]["template"]["spec"]}
    return {**found, "metadata": metadata, "spec": {**found["spec"], "template": template}}


def pod_disruption_budget(owner: Owner) -> Manifest:
    """One pod at a time: a drain waits until the users of the former are listened for elsewhere.

    `maxUnavailable` counts from the pods that the StatefulSet wants. So a lone pod may be evicted, which a
    `minAvailable` would forbid for ever, and so may one that is not ready, which could keep a node from being drained.
    """
    return {
        "metadata": owner.metadata(names.statefulset_name(owner.name)),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.listener_selector(owner.name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _pod(owner: Owner, listeners: Listeners, boot_config_map: str, settings: OperatorSettings) -> Manifest:
    pod: Manifest = {
        "serviceAccountName": names.service_account_name(owner.name),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "enableServiceLinks": False,
        "securityContext": _given(listeners.pod_security_context, POD_SECURITY),
        "containers": [_container(owner, listeners, settings)],
        "volumes": _volumes(owner, boot_config_map),
    }
    if listeners.node_selector:
        pod["nodeSelector"] = dict(listeners.node_selector)
    if listeners.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in listeners.tolerations]
    if spread := _spread(owner, listeners):
        pod["topologySpreadConstraints"] = spread
    if affinity := _affinity(owner, listeners):
        pod["affinity"] = affinity
    if listeners.priority_class_name:
        pod["priorityClassName"] = listeners.priority_class_name
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return pod


def _spread(owner: Owner, listeners: Listeners) -> list[Manifest]:
    ours = {"labelSelector": {"matchLabels": names.listener_selector(owner.name)}}
    if listeners.topology_spread_constraints is not None:
        return [{**ours, **constraint} for constraint in listeners.topology_spread_constraints]
    return [{"maxSkew": 1, "topologyKey": HOSTNAME_TOPOLOGY, "whenUnsatisfiable": "ScheduleAnyway", **ours}]


def _affinity(owner: Owner, listeners: Listeners) -> Manifest:
    """With the preference for zones that have fewer pods, unless the spec says what else is wanted.

    No spread constraint, as for nodes: where a node has no label for the zone, kube-scheduler then spreads over nodes
    neither (it scores no node that lacks one of the constraints' keys).
    """
    affinity = dict(listeners.affinity)
    if listeners.topology_spread_constraints is None and "podAntiAffinity" not in affinity:
        selector = {"matchLabels": names.listener_selector(owner.name)}
        term = {"weight": 100, "podAffinityTerm": {"topologyKey": ZONE_TOPOLOGY, "labelSelector": selector}}
        affinity["podAntiAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": [term]}
    return affinity


def _container(owner: Owner, listeners: Listeners, settings: OperatorSettings) -> Manifest:
    container: Manifest = {
        "name": CONTAINER,
        "image": listeners.image or settings.image,
        "imagePullPolicy": listeners.image_pull_policy or settings.image_pull_policy,
        "args": ["listener"],
        "env": _environment(owner, listeners, settings),
        "ports": [
            {"name": "callback", "containerPort": names.CALLBACK_PORT, "protocol": "TCP"},
            {"name": "internal", "containerPort": names.INTERNAL_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": names.HEALTH_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": names.ADMIN_PORT, "protocol": "TCP"},
        ],
        # A pod that starts on a busy node gets two minutes; afterwards a loop that hangs is found in half a minute.
        "startupProbe": _probe("/livez", "health", period=2, failures=60),
        "livenessProbe": _probe("/livez", "health", period=10, failures=3),
        "readinessProbe": _probe("/readyz", "callback", period=3, failures=2),
        "securityContext": _given(listeners.security_context, CONTAINER_SECURITY),
        "volumeMounts": [
            {"name": "properties", "mountPath": names.PROPERTIES_DIRECTORY, "readOnly": True},
            {"name": "internal", "mountPath": names.INTERNAL_KEY_DIRECTORY, "readOnly": True},
            {"name": "journal", "mountPath": names.JOURNAL_DIRECTORY},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
        ],
    }
    resources = {
        kind: values
        for kind, values in (
            ("limits", dict(listeners.resources.limits)),
            ("requests", dict(listeners.resources.requests)),
        )
        if values
    }
    if resources:
        container["resources"] = resources
    return container


def _given(whole: dict[str, Any] | None, default: Mapping[str, Any]) -> Manifest:
    """What the spec says in the place of the default, or the default."""
    return dict(default if whole is None else whole)


def _environment(owner: Owner, listeners: Listeners, settings: OperatorSettings) -> list[Manifest]:
    fields = {"POD_NAME": "metadata.name", "POD_UID": "metadata.uid", "POD_NAMESPACE": "metadata.namespace"}
    return [
        {"name": "MAILPUSH_CONFIG", "value": owner.name},
        {"name": "MAILPUSH_CONFIG_UID", "value": owner.uid},
        *(
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in fields.items()
        ),
        # Only where it differs: else a new version would roll the pods for nothing.
        *([{"name": LEVEL_VARIABLE, "value": listeners.log_level}] if listeners.log_level != "info" else []),
        *(
            [{"name": status_budget.VARIABLE, "value": f"{settings.status_writes:.0f}"}]
            if settings.status_writes != status_budget.WRITES_PER_SECOND
            else []
        ),
    ]


def _volumes(owner: Owner, boot_config_map: str) -> list[Manifest]:
    return [
        {
            "name": "properties",
            "projected": {
                "defaultMode": 0o440,
                "sources": [
                    {"configMap": {"name": names.properties_configmap_name(owner.name)}},
                    {"configMap": {"name": boot_config_map}},
                    {"secret": {"name": names.secrets_name(owner.name)}},
                ],
            },
        },
        {
            "name": "internal",
            "secret": {"secretName": names.internal_secret_name(owner.name), "defaultMode": 0o440},
        },
        {"name": "journal", "emptyDir": {"sizeLimit": "512Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]


def _probe(path: str, port: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
        "successThreshold": 1,
    }

"""Every event of the cluster that the operator acts on, by way of kopf. What follows from it stands elsewhere.

Handlers translate kopf's arguments and nothing else: no state handlers, timers, daemons or indices (`on.event` writes
nothing into the objects and needs no finalizer). Pods, Leases and PushUsers come by our own reflectors: see
`shards/watch.py` and `users/store.py` for why.
"""

from typing import Any

import kopf

from mailpush import names
from mailpush.controller.triggers import Triggers

CHILD_LABELS = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY},{names.CONFIG_LABEL}"
# Filtered by the server: taking the label off a child then shows as its deletion, and is put right.
CHILDREN = (
    ("apps", "v1", "statefulsets"),
    ("", "v1", "services"),
    ("", "v1", "configmaps"),
    ("", "v1", "serviceaccounts"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings"),
    ("policy", "v1", "poddisruptionbudgets"),
    (names.GROUP, names.VERSION, names.SHARD_MAPS),
)

registry = kopf.OperatorRegistry()


@kopf.on.login(registry=registry)
def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """As `Kube.connect`: a kubeconfig that is named wins over the pod's ServiceAccount."""
    import os

    if "KUBECONFIG" in os.environ:
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


@kopf.on.event(names.GROUP, names.VERSION, names.MAIL_PUSH_CONFIGS, registry=registry)
async def mail_push_config(type: str | None, body: kopf.Body, memo: Triggers, **_: Any) -> None:
    memo.config_event(dict(body), deleted=type == "DELETED")


@kopf.on.event("apps", "v1", "statefulsets", registry=registry)
@kopf.on.event("", "v1", "services", registry=registry)
@kopf.on.event("", "v1", "configmaps", registry=registry)
@kopf.on.event("", "v1", "serviceaccounts", registry=registry)
@kopf.on.event("rbac.authorization.k8s.io", "v1", "rolebindings", registry=registry)
@kopf.on.event("policy", "v1", "poddisruptionbudgets", registry=registry)
async def child(type: str | None, body: kopf.Body, memo: Triggers, **_: Any) -> None:
    memo.child_event(dict(body), deleted=type == "DELETED")


@kopf.on.event(names.GROUP, names.VERSION, names.SHARD_MAPS, registry=registry)
async def shard_map(type: str | None, body: kopf.Body, memo: Triggers, **_: Any) -> None:
    memo.shard_map_event(dict(body), deleted=type == "DELETED")


@kopf.on.event("", "v1", "secrets", registry=registry)
async def secret(type: str | None, body: kopf.Body, memo: Triggers, **_: Any) -> None:
    """Children, and those that MailPushConfigs and PushUsers refer to: no label selects them all."""
    memo.secret_event(dict(body), deleted=type == "DELETED")


def settings() -> kopf.OperatorSettings:
    """kopf with everything off that we do by other means."""
    result = kopf.OperatorSettings()
    result.posting.enabled = False
    result.scanning.disabled = True
    result.watching.chunk_size = 500
    result.watching.inactivity_timeout = 70.0
    result.watching.connect_timeout = 10.0
    for group, version, plural in CHILDREN:
        result.watching.label_selectors[group, version, plural] = CHILD_LABELS
    return result

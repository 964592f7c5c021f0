"""What listener pods may do: their ServiceAccount and its binding to the fixed ClusterRole."""

from mailpush import names
from mailpush.controller.owner import Manifest, Owner

RBAC_GROUP = "rbac.authorization.k8s.io"


def service_account(owner: Owner) -> Manifest:
    return {"metadata": owner.metadata(names.service_account_name(owner.name))}


def role_binding(owner: Owner, cluster_role: str) -> Manifest:
    """Binds within the namespace only. The operator may bind this one role and no other (the chart's `bind` right)."""
    name = names.service_account_name(owner.name)
    return {
        "metadata": owner.metadata(name),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": cluster_role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": owner.namespace}],
    }

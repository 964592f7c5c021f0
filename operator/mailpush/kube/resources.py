"""Where the API server keeps which kind."""

from dataclasses import dataclass
from typing import Final

from mailpush import names


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object.

    Attributes:
        api_version: such as `apps/v1`, or `v1` for the core group.
    """

    api_version: str
    plural: str
    kind: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, of one object, or of its subresource."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [root + self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part is not None]
        return "/".join(parts)


MAIL_PUSH_CONFIG: Final = Resource(names.API_VERSION, names.MAIL_PUSH_CONFIGS, "MailPushConfig")
PUSH_USER: Final = Resource(names.API_VERSION, names.PUSH_USERS, "PushUser")
SHARD_MAP: Final = Resource(names.API_VERSION, names.SHARD_MAPS, "ShardMap")
CONFIG_MAP: Final = Resource("v1", "configmaps", "ConfigMap")
SECRET: Final = Resource("v1", "secrets", "Secret")
SERVICE: Final = Resource("v1", "services", "Service")
SERVICE_ACCOUNT: Final = Resource("v1", "serviceaccounts", "ServiceAccount")
POD: Final = Resource("v1", "pods", "Pod")
NAMESPACE: Final = Resource("v1", "namespaces", "Namespace")
EVENT: Final = Resource("events.k8s.io/v1", "events", "Event")
STATEFUL_SET: Final = Resource("apps/v1", "statefulsets", "StatefulSet")
ROLE_BINDING: Final = Resource("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding")
POD_DISRUPTION_BUDGET: Final = Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
LEASE: Final = Resource("coordination.k8s.io/v1", "leases", "Lease")

"""Where the API server keeps which kind."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from mailpush import names
from mailpush.kube.errors import NotFoundError


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
        """The URL path of the collection, of one object, or of its subresource.

        Raises:
            NotFoundError: no object can have such a namespace or name.
        """
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [root + self.api_version]
        if namespace is not None:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        parts += [_segment(part) for part in (name, subresource) if part is not None]
        return "/".join(parts)


def _segment(name: str) -> str:
    """One segment of a path, by Kubernetes' rule for every name (path segment name validation).

    Names come from users' objects: one such as `../../other/secrets/it` must not lead anywhere else.
    """
    if name in ("", ".", "..") or "/" in name or "%" in name:
        raise NotFoundError(404, "NotFound", f"no object can be named {name!r}")
    return quote(name, safe="")


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
DEPLOYMENT: Final = Resource("apps/v1", "deployments", "Deployment")
JOB: Final = Resource("batch/v1", "jobs", "Job")
STATEFUL_SET: Final = Resource("apps/v1", "statefulsets", "StatefulSet")
ROLE_BINDING: Final = Resource("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding")
POD_DISRUPTION_BUDGET: Final = Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
LEASE: Final = Resource("coordination.k8s.io/v1", "leases", "Lease")

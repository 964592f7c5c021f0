"""Whether an installation is really being removed, before `mail-push cleanup` unregisters its users.

The chart's Job is a hook to Helm, and an ordinary Job to whoever applies what `helm template` prints (kubectl,
kustomize, Flux' Kustomizations): there it runs right after the installation. Helm creates its hooks itself, so the
Job's field manager tells; and a word of the administrator's does for tools that run the hook and go by another name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from mailpush import names

RELEASE_NAME: Final = "meta.helm.sh/release-name"
RELEASE_NAMESPACE: Final = "meta.helm.sh/release-namespace"
"""Helm writes both into what it installs, not into hooks."""
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
CONTROLLER_MANAGER: Final = "kube-controller-manager"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Release:
    """The Helm release that the chart's Job belongs to.

    Attributes:
        name: its name, and `namespace` its own.
        home: where its Deployment and the Job are (`namespaceOverride`).
        deployment: name of the operator's Deployment.
    """

    name: str
    namespace: str
    home: str
    deployment: str

    @property
    def job(self) -> str:
        """Name of the Job, as the chart names it."""
        return f"{self.deployment}-cleanup"

    @classmethod
    def parse(cls, release: str, deployment: str) -> Self | None:
        """Both are `<namespace>/<name>`; None where both are empty.

        Raises:
            ValueError: anything else.
        """
        if not release and not deployment:
            return None
        namespace, _, name = release.partition("/")
        home, _, of = deployment.partition("/")
        if not (namespace and name and home and of):
            raise ValueError("--release and --deployment go together, each as NAMESPACE/NAME")
        return cls(name, namespace, home, of)


class Answer(NamedTuple):
    """Whether to go on. Where not, `code` is the process's exit code: 0 where nothing speaks for a removal at all."""

    go: bool
    code: int
    sentence: str


def being_removed(release: Release, deployment: Object | None, job: Object | None) -> Answer:
    """What the operator's Deployment and the Job itself, as they are in the cluster, say of the release."""
    annotations = _annotations(deployment)
    if deployment is not None and annotations.get(names.UNINSTALL_ANNOTATION) == release.name:
        return Answer(True, 0, f"the Deployment {release.deployment} says that {release.name} is to be removed")
    by_helm = made_by_helm(job)
    of_helm = (annotations.get(RELEASE_NAME), annotations.get(RELEASE_NAMESPACE)) == (release.name, release.namespace)
    if by_helm and (of_helm or deployment is None):
        return Answer(True, 0, f"Helm is removing the release {release.name}")
    if not by_helm and RELEASE_NAME not in annotations:
        return Answer(
            False,
            0,
            "nothing is done: this is no pre-delete hook of Helm's. Whoever applies what `helm template` prints sets "
            "the value hooks.enabled to false; docs/gitops.md says how such an installation is removed",
        )
    return Answer(
        False,
        1,
        f"nothing is done: the release {release.name} was installed by Helm, but this Job was not made by it. If it is "
        f"to be removed, say so: kubectl -n {release.home} annotate deployment {release.deployment} "
        f"{names.UNINSTALL_ANNOTATION}={release.name}",
    )


def made_by_helm(job: Object | None) -> bool:
    """Whether Helm or what is built on it (Flux' helm-controller, Terraform's provider) has created the Job."""
    if job is None or LAST_APPLIED in _annotations(job):
        return False
    entries = job["metadata"].get("managedFields") or ()
    managers = {str(entry.get("manager")) for entry in entries if not entry.get("subresource")} - {CONTROLLER_MANAGER}
    return bool(managers) and all("helm" in manager.lower() for manager in managers)


def _annotations(found: Object | None) -> Mapping[str, str]:
    return ((found or {}).get("metadata") or {}).get("annotations") or {}

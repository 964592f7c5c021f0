"""All children of a MailPushConfig, in the order in which they are applied. Pure: values in, manifests out."""

from dataclasses import dataclass
from typing import NamedTuple

from mailpush.api.mailpushconfig import Listeners
from mailpush.controller.configs import access, property_files, services, workload
from mailpush.controller.environment import OperatorSettings
from mailpush.controller.owner import Manifest, Owner
from mailpush.kube import resources
from mailpush.kube.resources import Resource
from mailpush.properties.render import RenderedConfig


class Child(NamedTuple):
    """One object that is to be as `manifest` says."""

    resource: Resource
    manifest: Manifest

    @property
    def name(self) -> str:
        name: str = self.manifest["metadata"]["name"]
        return name


@dataclass(frozen=True, slots=True)
class Desired:
    """What a MailPushConfig comes to once its Secrets are known. `passcrypt`: its fingerprint, empty without one."""

    owner: Owner
    listeners: Listeners
    replicas: int
    rendered: RenderedConfig
    passcrypt: str = ""


def children(desired: Desired, settings: OperatorSettings) -> tuple[Child, ...]:
    """The children that are applied.

    Made once and never applied are the Secrets of the hand-over's key, the callback's credentials and the passcrypt.
    ShardMap and Leases are written by resourceVersion (protocol P2, P9). The StatefulSet comes last: what its pods
    mount is there.
    """
    owner, rendered = desired.owner, desired.rendered
    boot = property_files.boot_config_map(owner, rendered.boot_files, rendered.boot_hash)
    return (
        Child(resources.SERVICE_ACCOUNT, access.service_account(owner)),
        Child(resources.ROLE_BINDING, access.role_binding(owner, settings.listener_cluster_role)),
        Child(resources.SERVICE, services.headless_service(owner)),
        Child(resources.SERVICE, services.callback_service(owner)),
        Child(resources.SERVICE, services.credentials_service(owner)),
        # The Secret first: a listener that sees the ConfigMap's new hash then finds the Secret that belongs to it.
        Child(resources.SECRET, property_files.properties_secret(owner, rendered.secret_files, rendered.secrets_hash)),
        Child(
            resources.CONFIG_MAP,
            property_files.properties_config_map(
                owner, rendered.files, rendered.config_hash, rendered.secrets_hash, passcrypt=desired.passcrypt
            ),
        ),
        Child(resources.CONFIG_MAP, boot),
        Child(resources.POD_DISRUPTION_BUDGET, workload.pod_disruption_budget(owner)),
        Child(
            resources.STATEFUL_SET,
            workload.stateful_set(owner, desired.listeners, desired.replicas, boot["metadata"]["name"], settings),
        ),
    )

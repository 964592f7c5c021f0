"""What is the case with a MailPushConfig: its status."""

# ruff: noqa: RUF012 - pydantic copies a default that can change

from typing import Annotated, Final

from pydantic import Field

from mailpush.api.meta import Condition, Name, StatusModel, Text, Toggle, list_map

MOST_PACKAGES: Final = 256
"""In a status; the push packages stand first."""


class PackageStatus(StatusModel):
    """What has become of a package."""

    name: Name
    """Name of the package."""
    status: Toggle
    """Whether it is in effect."""
    reason: Text
    """Why."""


class ReasonCount(StatusModel):
    """Users by reason."""

    reason: Text
    """The reason in CamelCase."""
    count: Annotated[int, Field(ge=0)]
    """How many users."""


class ListenersStatus(StatusModel):
    """The listener pods and what they do, from their Leases."""

    pods: Annotated[int, Field(ge=0)] | None = None
    """Listener pods."""
    capable: Annotated[int, Field(ge=0)] | None = None
    """Pods that can take users: allowed, package enabled, lease alive, not draining."""
    assigned: Annotated[int, Field(ge=0)] | None = None
    """Users in the slots that pods own."""
    running: Annotated[int, Field(ge=0)] | None = None
    """Users with a running listener."""
    failed: Annotated[int, Field(ge=0)] | None = None
    """Users whose listener does not start; it is tried again."""
    sweeping: Annotated[int, Field(ge=0)] | None = None
    """Users whose mailbox is still to be looked into for mails whose callbacks were lost (catchUp.sweep)."""
    denied: Annotated[list[ReasonCount], Field(max_length=64)] = []
    """Users who are not to be listened for, by reason."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the pods, for the scale subresource."""


class ConfigHashPods(StatusModel):
    """Pods by the configuration that they run."""

    hash: Text
    """Hash of the rendered configuration, without what takes a restart."""
    boot_hash: Text | None = None
    """Hash of what takes a restart to change, as these pods were started with it."""
    pods: Annotated[int, Field(ge=0)]
    """How many pods run it."""
    names: Annotated[list[Name], Field(max_length=16)] = []
    """The first of them by name."""


class RotationStatus(StatusModel):
    """How far stored passwords are encrypted under the current passcrypt, as the pod says that is the farthest."""

    total: Annotated[int, Field(ge=0)] | None = None
    """Entries in the storage."""
    done: Annotated[int, Field(ge=0)] | None = None
    """Entries that were looked at."""
    unreadable: Annotated[int, Field(ge=0)] | None = None
    """Entries that neither passcrypt reads: they stay as they are, and their users' passwords have to be put again."""
    finished: bool | None = None
    """Whether all that can be read stands under the current passcrypt."""
    text: Text | None = None
    """The same in short, and what it waits for."""


class MigrationStatus(StatusModel):
    """How far passwords are copied from the cluster memory to the database, as the pod says that is the farthest."""

    total: Annotated[int, Field(ge=0)] | None = None
    """Entries in the cluster memory."""
    done: Annotated[int, Field(ge=0)] | None = None
    """Entries that were looked at."""
    unreadable: Annotated[int, Field(ge=0)] | None = None
    """Entries that no passcrypt reads: they are copied as they are."""
    finished: bool | None = None
    """Whether each entry was found in the database, or a newer one: the cluster memory's are needed no more."""
    text: Text | None = None
    """The same in short, and what it waits for."""


class CredentialStorageStatus(StatusModel):
    """The credential storage."""

    rotation: RotationStatus | None = None
    """Of the passcrypt, while credentialStorage.passcryptPreviousSecretRef is given."""
    migration: MigrationStatus | None = None
    """From the cluster memory to the database, where spec.redis is set and credentialStorage.rdb is true."""
    previous_needed: bool | None = None
    """Whether the previous passcrypt is still needed. False: take passcryptPreviousSecretRef out."""
    passcrypt_made: bool | None = None
    """Whether the operator has ever made a passcrypt (generatePasscrypt). If its Secret is gone, it makes no other."""


class MailPushConfigStatus(StatusModel):
    """What is the case."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that this status was made from."""
    conditions: Annotated[list[Condition], Field(max_length=32, json_schema_extra=list_map("type"))] = []
    """Ready, ConfigurationValid, ConfigurationRolledOut, ListenersAvailable, Balanced, MailServerDegraded,
    CallbackDegraded, TransportDegraded, RedisDegraded, RedisMayEvict, CheckpointsVolatile, PasscryptMismatch,
    CredentialStorageDegraded, CredentialsVolatile, CredentialWritesRefused, AccessTokenDegraded, DoveadmDegraded and
    warnings."""
    config_hash: Text | None = None
    """Hash of the rendered configuration, without what takes a restart."""
    boot_hash: Text | None = None
    """Hash of what takes a restart to change; a change of it rolls the pods."""
    config_pods: Annotated[list[ConfigHashPods], Field(max_length=64)] = []
    """Which pods run which configuration."""
    packages: Annotated[list[PackageStatus], Field(max_length=MOST_PACKAGES)] = []
    """Packages in effect, with the reason."""
    listeners: ListenersStatus | None = None
    """Pods and users."""
    credential_storage: CredentialStorageStatus | None = None
    """The credential storage, where it is used."""
    epoch: Annotated[int, Field(ge=0)] | None = None
    """Epoch of the shard map."""

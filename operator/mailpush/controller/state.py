"""What the operator knows, in memory: MailPushConfigs as last reconciled, and the pods of each."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mailpush import names
from mailpush.api.mailpushconfig import LEAVE
from mailpush.controller.owner import ConfigKey, Manifest, Owner
from mailpush.decision import SiteFacts
from mailpush.decision.evaluation import Evaluation
from mailpush.kube.objects import older
from mailpush.sharding.shardmap import PodRef

LONGEST_TROUBLE: Final = 300
PASSING: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""What a container waits for that is not there yet, and most often is in a moment."""


@dataclass(slots=True)
class ConfigState:
    """One MailPushConfig as it was last reconciled; `fault` says in a sentence why that did not succeed."""

    owner: Owner
    generation: int
    """That of the spec that `evaluation` or `fault` is about: not of one that is only being looked at."""
    body_status: Manifest
    """The status as last read or written."""
    evaluation: Evaluation | None = None
    site: SiteFacts | None = None
    replicas: int | None = None
    """Pods of the StatefulSet as it was last applied; None: not yet by this process."""
    fault: str | None = None
    status_version: str = ""
    """The resourceVersion that `body_status` is of."""
    looked: bool = False
    """Whether a look at it has come to an end, well or not: its status is left alone before."""
    secrets: frozenset[str] | None = None
    """Names of the Secrets that the spec refers to, known before they are read; None: not known yet."""

    @property
    def leaves_registrations(self) -> bool:
        """Whether users who go are not unregistered (deletionPolicy: Leave)."""
        return self.evaluation is not None and self.evaluation.spec.deletion_policy == LEAVE

    def saw(self, body: Manifest) -> None:
        """The object as a read or a write of ours has just shown it: the two may cross, and the newer one counts."""
        version = body["metadata"]["resourceVersion"]
        if not older(version, self.status_version):
            self.status_version, self.body_status = version, body.get("status") or {}

    @property
    def passcrypt_made(self) -> bool:
        """Whether the operator has ever made a passcrypt for it: what is stored may need that one, and no other."""
        if (self.body_status.get("credentialStorage") or {}).get("passcryptMade") is True:
            return True
        if self.evaluation is None or self.evaluation.settings is None:
            return False
        storage = self.evaluation.spec.credential_storage
        made = storage.generate_passcrypt and storage.passcrypt_secret_ref is None
        return made and self.evaluation.settings.passcrypt is not None

    @property
    def wanted_replicas(self) -> int | None:
        """Pods that may own slots: those above are drained. None: not known, so no pod is above."""
        if self.evaluation is None or self.evaluation.blocked:
            return self.replicas
        return self.evaluation.spec.listeners.replicas


@dataclass(frozen=True, slots=True)
class Pod:
    """What matters of a Pod object."""

    ref: PodRef
    ordinal: int
    phase: str
    deleting: bool
    revision: str
    callback_open: bool
    config_maps: frozenset[str]
    trouble: str = ""
    """What keeps its container from running, as Kubernetes says it; empty where nothing does."""


@dataclass(slots=True)
class OperatorState:
    """Shared by the parts of the operator; each says in its own file what it writes here.

    `configs_listed`: every MailPushConfig has been read at least once, so that one that is not here does not exist.
    `revisions`: the StatefulSets' `status.updateRevision`. `highest_owner`: the highest ordinal of a pod that owns
    slots, None where none does; not there before the shard loop has looked. `lost`: slots whose pod is dead and that
    have had no new owner for too long. `ending`: namespaces that are being deleted.
    """

    configs: dict[ConfigKey, ConfigState] = field(default_factory=dict)
    configs_listed: bool = False
    pods: dict[ConfigKey, dict[str, Pod]] = field(default_factory=dict)
    revisions: dict[ConfigKey, str] = field(default_factory=dict)
    highest_owner: dict[ConfigKey, int | None] = field(default_factory=dict)
    lost: dict[ConfigKey, frozenset[int]] = field(default_factory=dict)
    ending: set[str] = field(default_factory=set)

    def pods_of(self, key: ConfigKey) -> Iterator[Pod]:
        return iter(sorted(self.pods.get(key, {}).values(), key=lambda pod: pod.ordinal))


def pod_of(body: Manifest, stateful_set: str) -> Pod | None:
    """The Pod of a Pod object; None where it does not belong to the StatefulSet of this name."""
    metadata = body["metadata"]
    name = metadata["name"]
    prefix, _, number = name.rpartition("-")
    owned = any(
        owner.get("kind") == "StatefulSet" and owner.get("name") == stateful_set
        for owner in metadata.get("ownerReferences") or ()
    )
    if not owned or prefix != stateful_set or not number.isdecimal():
        return None
    labels = metadata.get("labels") or {}
    return Pod(
        ref=PodRef(name, metadata["uid"]),
        ordinal=int(number),
        phase=(body.get("status") or {}).get("phase") or "Pending",
        deleting="deletionTimestamp" in metadata,
        revision=labels.get("controller-revision-hash", ""),
        callback_open=labels.get(names.CALLBACK_LABEL) == names.CALLBACK_OPEN,
        config_maps=frozenset(_config_maps(body)),
        trouble=_trouble(body.get("status") or {}),
    )


def _trouble(status: Manifest) -> str:
    """The scheduler's word, or why a container waits or has ended."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"cannot be scheduled: {condition.get('message', '')}"[:LONGEST_TROUBLE]
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if not waiting.get("reason") or waiting["reason"] in PASSING:
            continue
        if ended:  # the message of a back-off only counts its seconds
            return f"{waiting['reason']}; it ended with {ended.get('reason', '')}, exit code {ended.get('exitCode')}"
        return f"{waiting['reason']}: {waiting.get('message', '')}"[:LONGEST_TROUBLE].rstrip(": ")
    return ""


def _config_maps(body: Manifest) -> Iterator[str]:
    for volume in (body.get("spec") or {}).get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "configMap" in source:
                yield source["configMap"]["name"]

"""One MailPushConfig and its children: observe, evaluate (pure), apply. The status is the shard loop's to write.

Level-based: it may run at any time, any number of times. Server-side apply of an unchanged child changes nothing and
makes no event, so a reconcile does not wake itself.
"""

import time
from typing import Any, Final, Protocol

import structlog

from mailpush import names
from mailpush.controller import metrics
from mailpush.controller.configs import workload
from mailpush.controller.configs.children import Child, Desired, children
from mailpush.controller.configs.secrets import ConfigSecrets, ForeignSecretError
from mailpush.controller.environment import OperatorSettings
from mailpush.controller.owner import ConfigKey, Manifest, Owner
from mailpush.controller.state import ConfigState, OperatorState
from mailpush.credentials.passcrypt import Passcrypt
from mailpush.decision import site_facts
from mailpush.decision.evaluation import (
    Evaluation,
    InvalidSpecError,
    evaluate,
    parse,
    wanted_replicas,
    wants_unregister,
)
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ForbiddenError, InvalidError, KubeError
from mailpush.kube.resources import Resource
from mailpush.packages import PackageError
from mailpush.properties.secrets import secret_references
from mailpush.work.queue import WorkQueue

LOOK_AGAIN_SECONDS: Final = 3600.0

log = structlog.get_logger(__name__)


class ConfigObserver(Protocol):
    """Who goes on where the reconcile of a MailPushConfig ends."""

    def config_changed(self, key: ConfigKey) -> None:
        """What is known of the MailPushConfig has changed."""


class Reconciler:
    """Brings a MailPushConfig's children in order.

    Args:
        shards: hears of each look at a MailPushConfig, also when it has gone.
        users: hears of those after which decisions on users may come out otherwise than before.
        queue: calls `reconcile`, also when the rotation of keys goes on.
    """

    def __init__(
        self,
        kube: Kube,
        settings: OperatorSettings,
        state: OperatorState,
        shards: ConfigObserver,
        users: ConfigObserver,
        *,
        queue: WorkQueue[ConfigKey],
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._state = state
        self._secrets = ConfigSecrets(kube)
        self._shards = shards
        self._users = users
        self._queue = queue

    def saw(self, body: Manifest) -> None:
        """A MailPushConfig as a list shows it: its shards are looked after at once, and wait for none of its children.

        A new leader has a dead pod's users to move, and a reconcile is a dozen requests, which may be slow or refused.
        """
        key = ConfigKey.of(body)
        if key not in self._state.configs and "deletionTimestamp" not in body["metadata"]:
            self._config_state(key, body)
            self._shards.config_changed(key)

    async def reconcile(self, key: ConfigKey) -> None:
        """
        Raises:
            KubeError: something was not done; try again.
        """
        start = time.monotonic()
        try:
            await self._reconcile(key)
        except KubeError as error:
            metrics.RECONCILES.labels("error").inc()
            if (state := self._state.configs.get(key)) is not None:
                # An API server that cannot be reached is nothing that somebody could change in the MailPushConfig.
                state.fault = error.message if isinstance(error, InvalidError | ForbiddenError) else state.fault
                state.looked = True
                self._shards.config_changed(key)
            raise
        except Exception:
            # A fault of ours. The shards go on all the same: a dead pod's users are moved whatever the settings are.
            metrics.RECONCILES.labels("error").inc()
            if (state := self._state.configs.get(key)) is not None:
                state.fault = "the operator has a fault of its own with it: see the operator's log"
                state.looked = True
                self._shards.config_changed(key)
            raise
        metrics.RECONCILES.labels("done").inc()
        metrics.RECONCILE_SECONDS.observe(time.monotonic() - start)

    async def _reconcile(self, key: ConfigKey) -> None:
        body = await self._read(resources.MAIL_PUSH_CONFIG, key.namespace, key.name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._forget(key)
            return
        state, generation = self._config_state(key, body), body["metadata"]["generation"]
        try:
            spec = parse(body)
            # Before they are read: an event of one that comes meanwhile must lead to another look.
            made = {
                names.internal_secret_name(key.name),
                names.callback_secret_name(key.name),
                names.passcrypt_secret_name(key.name),
            }
            state.secrets = frozenset(made | {reference.name for _, reference in secret_references(spec)})
            keys = await self._secrets.internal_keys(state.owner)
            # Not only once: a timer counts no time in which the machine sleeps.
            self._queue.add_after(key, min(keys.seconds, LOOK_AGAIN_SECONDS) + 1.0)
            resolved = await self._secrets.resolve(
                state.owner, spec, keys.hash_key, passcrypt_made=state.passcrypt_made
            )
            evaluation = evaluate(key.name, spec, resolved, unregister=wants_unregister(body))
            await self._apply(state, evaluation, _fingerprint(evaluation, keys.hash_key))
        except (InvalidSpecError, PackageError, ForeignSecretError) as error:
            state.fault, state.generation, state.looked = str(error), generation, True
            self._shards.config_changed(key)
            return
        except (InvalidError, ForbiddenError):
            state.generation = generation  # the fault in the status is one of this spec
            raise
        # Together: a status that is written meanwhile must not say of the new spec what holds of the old one.
        left = state.leaves_registrations
        state.evaluation, state.fault, state.generation, state.looked = evaluation, None, generation, True
        site = site_facts(evaluation.settings) if evaluation.settings is not None else None
        changed, state.site = site != state.site or left != state.leaves_registrations, site
        self._shards.config_changed(key)
        if changed:
            self._users.config_changed(key)

    def _config_state(self, key: ConfigKey, body: Manifest) -> ConfigState:
        metadata = body["metadata"]
        state = self._state.configs.get(key)
        if state is None or state.owner.uid != metadata["uid"]:
            owner = Owner(key.namespace, key.name, metadata["uid"])
            state = ConfigState(owner, metadata["generation"], {})
            self._state.configs[key] = state
        state.saw(body)
        return state

    def _forget(self, key: ConfigKey) -> None:
        """Its children are deleted by Kubernetes' garbage collector, as they name it as their owner."""
        if self._state.configs.pop(key, None) is not None:
            log.info("config_gone", config=str(key))
        self._state.lost.pop(key, None)
        self._shards.config_changed(key)
        self._users.config_changed(key)

    async def _apply(self, state: ConfigState, evaluation: Evaluation, passcrypt: str) -> None:
        owner = state.owner
        stateful_set = await self._read(
            resources.STATEFUL_SET, owner.namespace, names.statefulset_name(owner.name), of=owner
        )
        running = 0 if stateful_set is None else stateful_set["spec"].get("replicas", 0)
        replicas = wanted_replicas(evaluation, running, self._state.highest_owner.get(owner.key))
        if owner.key not in self._state.highest_owner:
            replicas = max(replicas, running)  # a new leader does not know yet who has to be drained
        desired = Desired(owner, evaluation.spec.listeners, replicas, evaluation.rendered, passcrypt)
        keep = evaluation.blocked and running > 0
        applied: dict[str, Manifest] = {}
        for child in children(desired, self._settings):
            if keep and child.resource in (resources.CONFIG_MAP, resources.SECRET, resources.STATEFUL_SET):
                continue  # what runs goes on with the last configuration that was whole
            if child.resource is resources.STATEFUL_SET:
                account = applied[resources.SERVICE_ACCOUNT.kind]["metadata"]["uid"]
                workload.set_account(child.manifest, account)
            applied[child.resource.kind] = await self._apply_child(owner, child)
        state.replicas = replicas
        if not keep:
            boot = names.boot_configmap_name(owner.name, evaluation.rendered.boot_hash)
            await self._collect_boot_config_maps(owner, applied[resources.STATEFUL_SET.kind], boot)

    async def _apply_child(self, owner: Owner, child: Child) -> Manifest:
        try:
            answer = await self._kube.apply(
                child.resource, owner.namespace, child.manifest, manager=names.OPERATOR_MANAGER
            )
        except InvalidError:
            if child.resource is not resources.ROLE_BINDING:
                raise
            # A binding's role cannot be changed: whoever made this one meant another role.
            await self._kube.delete(child.resource, owner.namespace, child.name)
            answer = await self._kube.apply(
                child.resource, owner.namespace, child.manifest, manager=names.OPERATOR_MANAGER
            )
        if surplus := _surplus_data(child, answer):
            # Not ours by server-side apply, and yet a listener would read it.
            patch = {"data": dict.fromkeys(surplus)}
            answer = await self._kube.merge_patch(child.resource, owner.namespace, child.name, patch)
            log.info("child_put_right", child=child.name, kind=child.resource.kind, removed=sorted(surplus))
        if child.resource is resources.STATEFUL_SET and (others := workload.strangers(answer, names.OPERATOR_MANAGER)):
            # Not ours by server-side apply either, and yet the pods would run by it.
            answer = await self._kube.replace(
                child.resource, owner.namespace, workload.put_right(answer, child.manifest)
            )
            log.info("child_put_right", child=child.name, kind=child.resource.kind, written_by=sorted(others))
        return answer

    async def _collect_boot_config_maps(self, owner: Owner, stateful_set: Manifest, wanted: str) -> None:
        """Deletes those that no pod uses, once no pod of an old revision can be made again."""
        status = stateful_set.get("status") or {}
        if status.get("observedGeneration") != stateful_set["metadata"]["generation"]:
            return  # the revisions that it names are those of a former template
        if status.get("currentRevision") != status.get("updateRevision"):
            return
        used = {name for pod in self._state.pods_of(owner.key) for name in pod.config_maps}
        selector = f"{names.CONFIG_LABEL}={owner.name},{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
        prefix = names.boot_configmap_name(owner.name, "")
        for config_map in (await self._kube.list(resources.CONFIG_MAP, owner.namespace, label_selector=selector))[0]:
            name = config_map["metadata"]["name"]
            if name.startswith(prefix) and name != wanted and name not in used:
                await self._kube.delete(resources.CONFIG_MAP, owner.namespace, name, uid=config_map["metadata"]["uid"])
                log.info("boot_config_map_deleted", config=str(owner.key), name=name)

    async def _read(self, resource: Resource, namespace: str, name: str, *, of: Owner | None = None) -> Manifest | None:
        """The object, None where there is none, or where it is a former owner's of the same name."""
        body = await self._kube.find(resource, namespace, name)
        if body is None:
            return None
        owners = body["metadata"].get("ownerReferences") or ()
        if of is not None and owners and not any(owner["uid"] == of.uid for owner in owners):
            return None
        return body


def _fingerprint(evaluation: Evaluation, key: bytes) -> str:
    """Of the passcrypt that pods are to have; empty without one."""
    passcrypt = evaluation.settings.passcrypt if evaluation.settings is not None else None
    return Passcrypt(passcrypt).fingerprint(key) if passcrypt else ""


def _surplus_data(child: Child, answer: dict[str, Any]) -> set[str]:
    if child.resource not in (resources.CONFIG_MAP, resources.SECRET) or answer.get("immutable"):
        return set()
    return set(answer.get("data") or {}) - set(child.manifest["data"])

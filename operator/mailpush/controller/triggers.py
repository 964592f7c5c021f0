"""What follows from an event: which MailPushConfig is to be looked at again. No kopf in here."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.work.queue import WorkQueue

Body = Mapping[str, Any]

UNIMPORTANT: Final = frozenset({"resourceVersion", "managedFields", "generation"})


@dataclass(slots=True)
class Seen:
    """The last event of an object: its resourceVersion, what matters of it, and when it came."""

    version: str
    fingerprint: int
    at: float


class SecretObserver(Protocol):
    """Who decides by what Secrets hold."""

    def secret_changed(self, namespace: str, name: str) -> None:
        """Decisions on users who name this Secret may change."""


class ShardMapObserver(Protocol):
    """Who writes the ShardMaps."""

    def shard_map_seen(self, key: ConfigKey, resource_version: str | None) -> None:
        """The MailPushConfig's ShardMap has this resourceVersion; None: it was deleted."""


@dataclass(slots=True)
class Triggers:
    """Takes events in, and has what follows from them done.

    `configs`: the MailPushConfigs to be reconciled.
    """

    state: OperatorState
    configs: WorkQueue[ConfigKey]
    users: SecretObserver
    shards: ShardMapObserver
    clock: Callable[[], float] = time.monotonic
    seen: dict[tuple[str, str, str], Seen] = field(default_factory=dict)

    def __copy__(self) -> Self:
        """kopf copies the memo for each object; this one is shared."""
        return self

    def config_event(self, body: Body, *, deleted: bool) -> None:
        if self._news(body, deleted):
            self.configs.add(ConfigKey.of(body))

    def child_event(self, body: Body, *, deleted: bool) -> None:
        key = ConfigKey.of_child(body)
        if key is None:
            return
        if body["kind"] == "StatefulSet":
            self.revision_seen(body)
        if self._news(body, deleted):
            self.configs.add(key)

    def revision_seen(self, stateful_set: Body) -> None:
        """A StatefulSet, which names the newest revision of a MailPushConfig's pods."""
        key = ConfigKey.of_child(stateful_set)
        if key is not None and (revision := (stateful_set.get("status") or {}).get("updateRevision")):
            self.state.revisions[key] = revision

    def shard_map_event(self, body: Body, *, deleted: bool) -> None:
        self._news(body, deleted)
        key = ConfigKey(body["metadata"]["namespace"], body["metadata"]["name"])
        self.shards.shard_map_seen(key, None if deleted else body["metadata"]["resourceVersion"])

    def secret_event(self, body: Body, *, deleted: bool) -> None:
        if not self._news(body, deleted):
            return
        if (key := ConfigKey.of_child(body)) is not None:
            self.configs.add(key)
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        for config in [config for config in self.state.configs if config.namespace == namespace]:
            secrets = self.state.configs[config].secrets
            if secrets is None or name in secrets:
                self.configs.add(config)
        self.users.secret_changed(namespace, name)

    def _news(self, body: Body, deleted: bool) -> bool:
        """Whether anything that matters has changed: most events only show a new status, many our own writes."""
        metadata = body["metadata"]
        place = (body.get("kind", ""), metadata["namespace"], metadata["name"])
        if deleted:
            self.seen.pop(place, None)
            return True
        fingerprint = _fingerprint(body)
        before = self.seen.get(place)
        self.seen[place] = Seen(metadata["resourceVersion"], fingerprint, self.clock())
        return before is None or before.fingerprint != fingerprint


def _fingerprint(body: Body) -> int:
    """A hash of what an event is about, without what every write changes. Of Secrets, too, only the hash is kept."""
    parts: dict[str, Any] = {key: value for key, value in body.items() if key not in ("status", "metadata")}
    parts["metadata"] = {key: value for key, value in body["metadata"].items() if key not in UNIMPORTANT}
    if body.get("kind") == "StatefulSet":
        status = body.get("status") or {}
        # A finished rollout frees the former boot ConfigMap, as does a template that is back before it began.
        known = ("observedGeneration", "currentRevision", "updateRevision", "replicas")
        parts["revisions"] = [status.get(key) for key in known]
    return hash(json.dumps(parts, sort_keys=True, default=str))

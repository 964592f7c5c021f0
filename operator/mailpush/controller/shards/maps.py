"""The ShardMap object of one MailPushConfig: read, written by resourceVersion only (protocol P2), its status."""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import structlog

from mailpush import names
from mailpush.api.conditions import timestamp
from mailpush.controller import metrics
from mailpush.controller.owner import Manifest, Owner
from mailpush.controller.shards.watch import DEADLINE
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, NotFoundError
from mailpush.kube.objects import older
from mailpush.sharding.planning.observed import Change
from mailpush.sharding.shardmap import FORMAT_VERSION, ShardMap, ShardMapError

KEPT_CHANGES: Final = 20

log = structlog.get_logger(__name__)


class ShardMaps:
    """One MailPushConfig's ShardMap. Nobody else writes it, so it is read only at first and after a surprise."""

    def __init__(self, kube: Kube, owner: Owner) -> None:
        self._kube = kube
        self._owner = owner
        self._body: Manifest | None = None
        self._known = False
        self._changes: deque[dict[str, Any]] = deque(maxlen=KEPT_CHANGES)
        self.map: ShardMap | None = None
        """The map as the API server has it; None where there is none."""
        self.copy: ShardMap | None = None
        """The last map that was good, also after it was deleted, or an older one put in its place (P10)."""
        self._copied_from: str | None = None

    @property
    def uid(self) -> str | None:
        return None if self._body is None else self._body["metadata"]["uid"]

    @property
    def version(self) -> str | None:
        """The resourceVersion that the map was read with."""
        return None if self._body is None else self._body["metadata"]["resourceVersion"]

    def surprise(self) -> None:
        """Something has happened to it that was perhaps not our doing: read it anew."""
        self._known = False

    def seen(self, resource_version: str | None) -> None:
        """A watch has shown it with this version, None where it was deleted."""
        if resource_version is not None and resource_version == self.version:
            return
        if resource_version is None or self.version is None or not older(resource_version, self.version):
            self.surprise()

    async def load(self) -> None:
        """Reads it where it is not known.

        What somebody has edited so that it cannot be followed is deleted and made again by P10, the only safe way to
        follow a map that is no successor. A map of another format is left to the operator of that version.
        """
        if self._known:
            return
        self._known = True  # before it is read: a surprise that comes meanwhile must lead to another read
        try:
            await self._read()
        except BaseException:
            self.surprise()
            raise

    async def _read(self) -> None:
        namespace, name = self._owner.namespace, self._owner.name
        body = await self._kube.find(resources.SHARD_MAP, namespace, name, answer_seconds=DEADLINE)
        if body is not None and not _owned(body, self._owner):
            # Of a former MailPushConfig of this name; the garbage collector takes it away.
            body = None
        if body is None:
            self._body, self.map = None, None
            return
        try:
            seen = ShardMap.from_spec(body["spec"])
        except ShardMapError as error:
            if body["spec"].get("formatVersion") != FORMAT_VERSION:
                raise
            log.warning("shard_map_broken", config=str(self._owner.key), error=str(error))
            await self._delete(body)
            self._body, self.map = None, None
            return
        if self._tampered(seen, body):
            log.warning("shard_map_put_right", config=str(self._owner.key), epoch=seen.epoch)
            await self._delete(body)
            self._body, self.map = None, None
            return
        if not self._changes:  # of a former leader, the newest first
            self._changes.extend((body.get("status") or {}).get("changes") or ())
        if self.copy is None or body["metadata"]["uid"] == self._copied_from or seen.epoch > self.copy.epoch:
            self.copy, self._copied_from = seen, body["metadata"]["uid"]
        self._body, self.map = body, seen
        await self._mend_metadata(body)

    async def write(self, next_map: ShardMap, changes: Iterable[Change]) -> bool:
        """The next map, from the one that was loaded. False: another wrote first; load and plan anew."""
        try:
            if self._body is None:
                manifest = {
                    "apiVersion": resources.SHARD_MAP.api_version,
                    "kind": resources.SHARD_MAP.kind,
                    "metadata": self._owner.metadata(self._owner.name),
                    "spec": next_map.to_spec(),
                }
                self._body = await self._kube.create(
                    resources.SHARD_MAP, self._owner.namespace, manifest, answer_seconds=DEADLINE
                )
            else:
                manifest = {**self._body, "spec": next_map.to_spec()}
                self._body = await self._kube.replace(
                    resources.SHARD_MAP, self._owner.namespace, manifest, answer_seconds=DEADLINE
                )
        except (ConflictError, NotFoundError):
            metrics.MAP_WRITES.labels("conflict").inc()
            self.surprise()
            return False
        except BaseException:
            self.surprise()  # it may have been written all the same
            raise
        metrics.MAP_WRITES.labels("written").inc()
        self.map = self.copy = next_map
        self._copied_from = self.uid
        now = timestamp()
        for change in changes:
            entry = {"epoch": next_map.epoch, "time": now, "reason": change.reason, "message": change.text[:1024]}
            self._changes.appendleft(entry)
            log.info("shard_map_written", config=str(self._owner.key), **entry)
        return True

    async def report(self, status: dict[str, Any]) -> None:
        """Writes the status where it differs; `changes` are added."""
        if self._body is None:
            return
        wanted = {**status, "changes": list(self._changes)}
        before = self._body.get("status") or {}
        if {key: before.get(key) for key in wanted} == wanted:
            return
        body = {"metadata": {"name": self._owner.name}, "status": wanted}
        answer = await self._kube.apply(
            resources.SHARD_MAP,
            self._owner.namespace,
            body,
            manager=names.OPERATOR_MANAGER,
            subresource="status",
            answer_seconds=DEADLINE,
        )
        if answer["metadata"]["uid"] == self.uid and answer["spec"] == self._body["spec"]:
            self._body = answer
        else:
            self.surprise()

    @property
    def generation(self) -> int:
        return 0 if self._body is None else self._body["metadata"].get("generation", 0)

    @property
    def status(self) -> dict[str, Any]:
        return {} if self._body is None else self._body.get("status") or {}

    def _tampered(self, seen: ShardMap, body: Manifest) -> bool:
        """Whether somebody has set it back, or changed it without a new epoch, which no pod would follow."""
        if self.copy is None or self._body is None or body["metadata"]["uid"] != self.uid:
            return False
        return seen.epoch < self.copy.epoch or (seen.epoch == self.copy.epoch and seen != self.copy)

    async def _delete(self, body: Manifest) -> None:
        try:
            await self._kube.delete(
                resources.SHARD_MAP,
                self._owner.namespace,
                self._owner.name,
                uid=body["metadata"]["uid"],
                answer_seconds=DEADLINE,
            )
        except NotFoundError:
            pass

    async def _mend_metadata(self, body: Manifest) -> None:
        labels = body["metadata"].get("labels") or {}
        wanted = names.listener_labels(self._owner.name)
        if all(labels.get(key) == value for key, value in wanted.items()):
            return
        self._body = await self._kube.merge_patch(
            resources.SHARD_MAP,
            self._owner.namespace,
            self._owner.name,
            {"metadata": {"labels": wanted}},
            answer_seconds=DEADLINE,
        )


def _owned(body: Manifest, owner: Owner) -> bool:
    """Whether it is this MailPushConfig's: it, too, when somebody has taken the owner off."""
    owners = body["metadata"].get("ownerReferences") or ()
    return not owners or any(reference.get("uid") == owner.uid for reference in owners)

"""What the shard loop writes to Leases and pods: new Leases (protocol P3), fences (P9), Leases
that nobody needs any more, the label of callbacks."""

from collections.abc import Callable
from typing import Final

import structlog

from mailpush import names
from mailpush.controller import metrics
from mailpush.controller.owner import Owner
from mailpush.controller.shards.watch import DEADLINE, PodWatch, Sighting
from mailpush.controller.state import Pod
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, NotFoundError
from mailpush.sharding.leases import lease_annotations, parse_lease, replaced_annotations
from mailpush.sharding.planning.observed import Fence, NewLease

LEASE_SECONDS: Final = 15

log = structlog.get_logger(__name__)


class LeaseWriter:
    """Writes for the pods of one MailPushConfig; the pod watch takes every answer at once."""

    def __init__(self, kube: Kube, owner: Owner, pods: PodWatch, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._owner = owner
        self.key = owner.key
        self._pods = pods
        self._clock = clock

    async def create(self, lease: NewLease) -> bool:
        """Gives whether it was made; not where there is one by now."""
        annotations = lease_annotations(parse_lease({}).fenced(lease.floor))
        metadata = self._owner.metadata(lease.name, annotations=annotations)
        body = {
            "apiVersion": resources.LEASE.api_version,
            "kind": resources.LEASE.kind,
            "metadata": metadata,
            "spec": {"leaseDurationSeconds": LEASE_SECONDS},
        }
        try:
            created = await self._kube.create(resources.LEASE, self.key.namespace, body, answer_seconds=DEADLINE)
        except ConflictError:
            await self._pods.look(self.key.namespace, lease.name)
            return False
        self._pods.saw(self.key.namespace, lease.name, created)
        log.info("lease_created", config=str(self.key), lease=lease.name, floor=lease.floor)
        return True

    async def fence(self, fence: Fence, judged: str | None) -> bool:
        """Empties the Lease by the resourceVersion that it was `judged` dead by (P9). A conflict means: not dead.

        What the watch has brought since then is not what the judgement was about, so it is no ground for a fence.
        Gives whether it was written.
        """
        sighting = self._sighting(fence.lease_name)
        if sighting.body is None or sighting.state is None:
            return False
        body = sighting.body
        if body["metadata"]["resourceVersion"] != judged:
            metrics.FENCES.labels("changed").inc()
            return False
        fenced = sighting.state.fenced(fence.floor)
        annotations = replaced_annotations(body["metadata"].get("annotations"), fenced)
        spec = {key: value for key, value in (body.get("spec") or {}).items() if key != "holderIdentity"}
        manifest = {
            "apiVersion": resources.LEASE.api_version,
            "kind": resources.LEASE.kind,
            "metadata": {**body["metadata"], "annotations": annotations},
            "spec": spec,
        }
        try:
            written = await self._kube.replace(resources.LEASE, self.key.namespace, manifest, answer_seconds=DEADLINE)
        except (ConflictError, NotFoundError):
            metrics.FENCES.labels("conflict").inc()
            await self._pods.look(self.key.namespace, fence.lease_name)
            return False
        metrics.FENCES.labels("fenced").inc()
        self._pods.saw(self.key.namespace, fence.lease_name, written)
        log.info("lease_fenced", config=str(self.key), lease=fence.lease_name, floor=fence.floor)
        return True

    async def delete(self, name: str, judged: str | None) -> bool:
        """Deletes a Lease that nobody needs, by the resourceVersion that it was `judged` by. Gives whether it is gone.

        Asks for the Pod first: the watch may not have shown yet that there is one of this name again.
        """
        namespace = self.key.namespace
        body = self._sighting(name).body
        if body is None or judged is None or body["metadata"]["resourceVersion"] != judged:
            return False
        if await self._kube.find(resources.POD, namespace, name, answer_seconds=DEADLINE) is not None:
            return False
        try:
            await self._kube.delete(
                resources.LEASE,
                namespace,
                name,
                uid=body["metadata"].get("uid"),
                resource_version=judged,
                answer_seconds=DEADLINE,
            )
        except (ConflictError, NotFoundError):
            await self._pods.look(namespace, name)
            return False
        self._pods.saw(namespace, name, None)
        log.info("lease_deleted", config=str(self.key), lease=name)
        return True

    async def keep_callbacks(self, pods: tuple[Pod, ...]) -> None:
        """Takes the label that the callback Service selects on off silent pods, and puts it back."""
        now = self._clock()
        held = [
            (pod, self._sighting(pod.ref.name).observer.callback_stale(now))
            for pod in pods
            if (lease := self._sighting(pod.ref.name).state) is not None and lease.held_by(pod.ref.uid)
        ]
        # Where every pod is silent, the fault is elsewhere, and a Service without pods would help nobody. They fall
        # silent one after the other, so those whose label was taken off before the last one did get it back.
        anybody = any(not stale for _, stale in held)
        for pod, stale in held:
            closed = stale and anybody
            if closed and pod.callback_open:
                await self._label(pod, None)
            elif not closed and not pod.callback_open:
                await self._label(pod, names.CALLBACK_OPEN)

    async def _label(self, pod: Pod, value: str | None) -> None:
        patch = {"metadata": {"uid": pod.ref.uid, "labels": {names.CALLBACK_LABEL: value}}}
        try:
            await self._kube.merge_patch(
                resources.POD, self.key.namespace, pod.ref.name, patch, answer_seconds=DEADLINE
            )
        except (ConflictError, NotFoundError):
            return  # another pod by now
        log.info("callbacks_opened" if value else "callbacks_closed", config=str(self.key), pod=pod.ref.name)

    def _sighting(self, name: str) -> Sighting:
        return self._pods.sighting(self.key.namespace, name)

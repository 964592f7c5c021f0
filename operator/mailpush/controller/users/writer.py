"""What the operator writes to PushUsers: labels, the condition Accepted, the finalizer, and OwnerLost.

Everything else of their status is the owning pod's.
"""

import structlog

from mailpush import names
from mailpush.api.conditions import timestamp
from mailpush.controller import metrics
from mailpush.controller.events import EventRecorder
from mailpush.controller.users.events import decision_news
from mailpush.controller.users.leftovers import LeftOvers
from mailpush.controller.users.record import UserName, UserRecord, wanted_labels
from mailpush.controller.users.store import UserStore
from mailpush.controller.users.unreadable import Unreadable
from mailpush.controller.users.wanted import Wanted, goes, says, status_body
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import NotFoundError
from mailpush.work.pace import Pace

log = structlog.get_logger(__name__)


class UserWriter:
    """Writes to one user after the other, at a bounded rate: a change of settings may concern every user at once."""

    def __init__(self, kube: Kube, store: UserStore, events: EventRecorder, leftovers: LeftOvers, pace: Pace) -> None:
        self._kube = kube
        self._store = store
        self._events = events
        self._leftovers = leftovers
        self._pace = pace

    async def write(self, name: UserName, record: UserRecord, wanted: Wanted) -> None:
        """Writes what the object lacks.

        Raises:
            KubeError: not done; try again.
        """
        try:
            if wanted.elder is None:
                await self._put_labels(name, record)
            if goes(record, wanted):
                if record.registered and names.FINALIZER in record.finalizers and not wanted.leaves:
                    await self._leftovers.keep(name)
                await self._put_finalizer(name, record, wanted=False)
                return
            await self._put_status(name, record, wanted)
            if wanted.elder is not None:
                # Pods read users by label: who is to register nothing is not shown to them before the status says so.
                await self._put_labels(name, record)
            await self._put_finalizer(name, record, wanted.finalizer)
            if wanted.resync and wanted.elder is not None:
                await self._resync(wanted.elder, name)
        except NotFoundError:
            return  # deleted meanwhile; the watch reports it

    async def tell(self, name: UserName, unreadable: Unreadable) -> None:
        """Says of an object that it cannot be read. Raises KubeError."""
        await self._turn("status")
        try:
            await unreadable.tell(self._kube, *name)
        except NotFoundError:
            return  # deleted meanwhile

    async def _put_labels(self, name: UserName, record: UserRecord) -> None:
        if record.labelled:
            return
        await self._turn("labels")
        metadata = {"uid": record.uid, "labels": wanted_labels(record.config, record.slot)}
        self._store.take(await self._kube.merge_patch(resources.PUSH_USER, *name, {"metadata": metadata}))

    async def _put_status(self, name: UserName, record: UserRecord, wanted: Wanted) -> None:
        newest = self._store.get(name) or record  # with what was written to it just now
        if newest.listening != record.listening or says(newest, wanted):
            return  # a pod has said something meanwhile: it is decided anew
        record = newest
        await self._turn("status")
        answer = await self._kube.apply(
            resources.PUSH_USER,
            name.namespace,
            status_body(name, record, wanted, timestamp()),
            manager=names.OPERATOR_MANAGER,
            subresource="status",
        )
        accepted = wanted.verdicts[0]
        news = decision_news(name, record, accepted) if accepted.type == "Accepted" else None
        self._store.take(answer)
        if news is not None:
            self._events.record(news)

    async def _put_finalizer(self, name: UserName, record: UserRecord, wanted: bool | None) -> None:
        record = self._store.get(name) or record  # with what was written to it just now
        if wanted is None or wanted == (names.FINALIZER in record.finalizers):
            return
        kept = [finalizer for finalizer in record.finalizers if finalizer != names.FINALIZER]
        finalizers = [*kept, names.FINALIZER] if wanted else kept
        # By resourceVersion: the list is replaced as a whole, and another finalizer must not get lost.
        metadata = {"resourceVersion": record.version, "finalizers": finalizers}
        await self._turn("finalizer")
        answer = await self._kube.merge_patch(resources.PUSH_USER, *name, {"metadata": metadata})
        self._store.take(answer)
        log.info("finalizer_set" if wanted else "finalizer_removed", user=f"{name.namespace}/{name.name}")

    async def _resync(self, elder: UserName, younger: UserName) -> None:
        """Has the elder register again: the younger was faster, and took its entry away since."""
        await self._turn("resync")
        metadata = {"annotations": {names.RESYNC_ANNOTATION: f"{timestamp()} {younger.name}"}}
        await self._kube.merge_patch(resources.PUSH_USER, *elder, {"metadata": metadata})
        log.info("resync_asked", user=f"{elder.namespace}/{elder.name}", because=f"{younger.namespace}/{younger.name}")

    async def _turn(self, kind: str) -> None:
        """Waits for its turn."""
        metrics.USER_WRITES.labels(kind).inc()
        await self._pace.turn()

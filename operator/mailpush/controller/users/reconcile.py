"""What the operator writes to PushUsers: labels, the condition Accepted, the finalizer, and OwnerLost.

Everything else of their status is the owning pod's.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from mailpush import names
from mailpush.api.conditions import Verdict, condition, timestamp, truth
from mailpush.controller import metrics
from mailpush.controller.events import EventRecorder
from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.controller.users.duplicates import Duplicates, user_name
from mailpush.controller.users.events import decision_news, listening_news, registration_news
from mailpush.controller.users.leftovers import LeftOvers
from mailpush.controller.users.owner_lost import (
    LEFT,
    OWNER_LOST,
    EndingPods,
    abandoned_verdicts,
    lost_verdicts,
    unheard_verdicts,
)
from mailpush.controller.users.record import Said, UserName, UserRecord, wanted_labels
from mailpush.controller.users.secrets import Seen, UserSecrets
from mailpush.controller.users.store import UserStore
from mailpush.controller.users.wanted import UNREGISTER_SECONDS, Wanted, wanted_finalizer
from mailpush.decision import decide, user_facts
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import NotFoundError
from mailpush.work.pace import Pace
from mailpush.work.queue import WorkQueue

WRITES_PER_SECOND: Final = 200.0

log = structlog.get_logger(__name__)


class UserReconciler:
    """Brings PushUsers in order, one after the other, at a bounded rate."""

    def __init__(
        self,
        kube: Kube,
        state: OperatorState,
        store: UserStore,
        queue: WorkQueue[UserName],
        events: EventRecorder,
        *,
        leftovers: LeftOvers | None = None,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        self._kube = kube
        self._state = state
        self._store = store
        self._queue = queue
        self._events = events
        self._clock = clock
        self._secrets = UserSecrets(kube, clock)
        self._deleting_since: dict[UserName, float] = {}
        self._duplicates = Duplicates(store, queue)
        self._leftovers = leftovers or LeftOvers(kube, (), events)
        self._ending_pods = EndingPods(state, self.config_changed, clock=clock)
        self._pace = pace or Pace(WRITES_PER_SECOND, WRITES_PER_SECOND)

    # -- why a user is looked at again

    def config_changed(self, key: ConfigKey) -> None:
        """Decisions on its users may come out otherwise."""
        for name in self._store.names_of(key):
            self._queue.add(name)

    def secret_changed(self, namespace: str, name: str) -> None:
        """Decisions on the users that name this Secret may come out otherwise."""
        for user in self._secrets.changed(namespace, name):
            self._queue.add(user)

    def slots_lost(self, key: ConfigKey, slots: frozenset[int]) -> None:
        """Users of these slots have lost their owner, or have one again."""
        for name in self._store.names_of(key):
            record = self._store.get(name)
            if record is not None and record.slot in slots:
                self._queue.add(name)

    # -- what the shard loop asks

    def listed(self, namespace: str) -> bool:
        return self._store.listed(namespace)

    def weights(self, key: ConfigKey) -> Sequence[int]:
        return self._store.weights(key)

    def owner_epoch(self, key: ConfigKey) -> int:
        return self._store.owner_epoch(key)

    def version(self, key: ConfigKey) -> int:
        return self._store.version(key)

    def denied(self, key: ConfigKey) -> Mapping[str, int]:
        return self._store.denied(key)

    # -- Events

    def transition(self, name: UserName, before: UserRecord, after: UserRecord) -> None:
        """The user's object has changed."""
        self._duplicates.transition(name, before, after)
        for tell in (listening_news, registration_news):
            if (news := tell(name, before, after)) is not None:
                self._events.record(news)

    def gone(self, name: UserName, body: Object) -> None:
        """The PushUser is deleted."""
        self._leftovers.gone(name, body)

    # -- one user

    async def work(self, name: UserName) -> None:
        """
        Raises:
            KubeError: not done; try again.
        """
        record = self._store.get(name)
        if record is None:
            self._deleting_since.pop(name, None)
            self._secrets.forget(name)
            self._duplicates.gone(name)
            await self._tell_unreadable(name)
            return
        if name.namespace in self._state.ending:
            return  # nothing is of use to it any more, and a finalizer would keep it: see ending.py
        if not self._state.configs_listed:
            self._queue.add_after(name, 1.0)
            return
        try:
            await self._put_labels(name, record)
            wanted = await self._wanted(name, record)
            self._store.weigh(name, wanted.weighs)
            if record.deleting and wanted.finalizer is False:
                # What is said of a user who goes with this very write is said for nobody.
                if record.registered and names.FINALIZER in record.finalizers:
                    await self._leftovers.keep(name)
                await self._put_finalizer(name, record, wanted=False)
                return
            await self._put_status(name, record, wanted)
            await self._put_finalizer(name, record, wanted.finalizer)
            if wanted.elder is not None and not record.registered and self._duplicates.overwrote(name):
                await self._resync(wanted.elder, name)
        except NotFoundError:
            return  # deleted meanwhile; the watch reports it

    async def _tell_unreadable(self, name: UserName) -> None:
        unreadable = self._store.unreadable(name)
        if unreadable is None or unreadable.told or name.namespace in self._state.ending:
            return
        await self._write("status")
        try:
            await unreadable.tell(self._kube, *name)
        except NotFoundError:
            return  # deleted meanwhile

    async def _wanted(self, name: UserName, record: UserRecord) -> Wanted:
        state = self._state.configs.get(record.config)
        finalizer = wanted_finalizer(record, config_exists=state is not None, waited=self._waited(name, record))
        if state is None:
            self._duplicates.none(name, record)
            if not self._ending_pods.over(record.config):
                return Wanted((), finalizer, weighs=False)
            text = (
                f'there is no MailPushConfig "{record.config.name}" in namespace {record.config.namespace}: create it'
            )
            accepted = Verdict("Accepted", "False", "ConfigNotFound", text)
            said = (*abandoned_verdicts(record), *unheard_verdicts(record, accepted))
            return Wanted((accepted, *said), finalizer, weighs=False)
        if state.site is None:
            # Not readable at the moment: what was decided last stands.
            before = record.accepted
            kept = (Verdict("Accepted", before.status, before.reason, before.message),) if before else ()
            return Wanted(
                kept,
                finalizer,
                weighs=record.weighs,
                elder=user_name(record.duplicate_of),
                secret_version=record.secret_version,
            )
        spec = record.spec
        secret = await self._secrets.get(name, spec) if state.site.user_secrets else Seen()
        elder = self._duplicates.elder(name, record, spec, state, user_facts(spec, secret.facts), secret.login)
        older = None if elder is None else f"{elder.namespace}/{elder.name}"
        facts = user_facts(spec, secret.facts, elder=older)
        decision = decide(facts, state.site)
        code = f" ({decision.code})" if decision.code else ""
        accepted = Verdict("Accepted", truth(decision.spawn), decision.reason, f"{decision.message}{code}")
        lost = record.slot in self._state.lost.get(record.config, frozenset())
        return Wanted(
            (accepted, *(lost_verdicts(record) if lost else ())),
            finalizer,
            weighs=decision.spawn and not record.deleting,
            elder=None if decision.spawn else elder,
            secret_version=secret.version,
        )

    def _waited(self, name: UserName, record: UserRecord) -> float:
        """Counted on our own clock from when we saw it first, as the API server's clock may differ."""
        if not record.deleting:
            self._deleting_since.pop(name, None)
            return 0.0
        since = self._deleting_since.setdefault(name, self._clock())
        waited = self._clock() - since
        if names.FINALIZER in record.finalizers and waited < UNREGISTER_SECONDS:
            self._queue.add_after(name, UNREGISTER_SECONDS - waited + 0.1)
        return waited

    # -- writing

    async def _put_labels(self, name: UserName, record: UserRecord) -> None:
        if record.labelled:
            return
        labels = wanted_labels(record.config, record.slot)
        await self._write("labels")
        self._store.take(
            await self._kube.merge_patch(
                resources.PUSH_USER, *name, {"metadata": {"uid": record.uid, "labels": labels}}
            )
        )

    async def _put_status(self, name: UserName, record: UserRecord, wanted: Wanted) -> None:
        verdicts = wanted.verdicts
        said = {
            "Accepted": record.accepted,
            "Listening": record.listening,
            "Ready": record.ready,
            LEFT: record.left,
        }
        duplicate_of = None if wanted.elder is None else f"{wanted.elder.namespace}/{wanted.elder.name}"
        same = all(_same(said.get(verdict.type), verdict, record.generation) for verdict in verdicts)
        same = same and (duplicate_of, wanted.secret_version) == (record.duplicate_of, record.secret_version)
        if not verdicts or same:
            return
        now = timestamp()
        status: dict[str, Any] = {
            "conditions": [
                condition(verdict, record.generation, _stood(said.get(verdict.type)), now) for verdict in verdicts
            ]
        }
        if duplicate_of is not None:
            status["duplicateOf"] = duplicate_of
        if wanted.secret_version is not None:
            status["secretVersion"] = wanted.secret_version
        metadata = {"name": name.name, "uid": record.uid}
        if any(verdict.reason == OWNER_LOST for verdict in verdicts):
            status |= {"reason": OWNER_LOST, "permanent": False}
            # Never over what a new owner has written since.
            metadata["resourceVersion"] = (self._store.get(name) or record).version
        elif record.listening is None and verdicts[0].status == "False":
            # No pod has anything to say of the user yet, and perhaps none ever will: kubectl get shows why.
            status["reason"] = verdicts[0].reason
            metadata["resourceVersion"] = (self._store.get(name) or record).version
        await self._write("status")
        body = {"metadata": metadata, "status": status}
        answer = await self._kube.apply(
            resources.PUSH_USER, name.namespace, body, manager=names.OPERATOR_MANAGER, subresource="status"
        )
        news = decision_news(name, record, verdicts[0]) if verdicts[0].type == "Accepted" else None
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
        await self._write("finalizer")
        answer = await self._kube.merge_patch(resources.PUSH_USER, *name, {"metadata": metadata})
        self._store.take(answer)
        log.info("finalizer_set" if wanted else "finalizer_removed", user=f"{name.namespace}/{name.name}")

    async def _resync(self, elder: UserName, younger: UserName) -> None:
        """Has the elder register again: the younger was faster, and took its entry away since."""
        await self._write("resync")
        metadata = {"annotations": {names.RESYNC_ANNOTATION: f"{timestamp()} {younger.name}"}}
        await self._kube.merge_patch(resources.PUSH_USER, *elder, {"metadata": metadata})
        self._duplicates.resynced(younger)
        log.info("resync_asked", user=f"{elder.namespace}/{elder.name}", because=f"{younger.namespace}/{younger.name}")

    async def _write(self, kind: str) -> None:
        """Waits for its turn: a change of settings may concern every user at once."""
        metrics.USER_WRITES.labels(kind).inc()
        await self._pace.turn()


def _same(said: Said | None, verdict: Verdict, generation: int) -> bool:
    return said is not None and (said.status, said.reason, said.message, said.generation) == (
        verdict.status,
        verdict.reason,
        verdict.text,
        generation,
    )


def _stood(said: Said | None) -> tuple[str, str] | None:
    return None if said is None else (said.status, said.since)

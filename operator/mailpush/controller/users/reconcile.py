"""What is decided of each PushUser, and again whenever that may come out otherwise."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mailpush import names
from mailpush.api.conditions import Verdict, truth
from mailpush.controller.events import EventRecorder
from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.controller.users.duplicates import Duplicates, user_name
from mailpush.controller.users.events import listening_news, registration_news
from mailpush.controller.users.leftovers import LeftOvers
from mailpush.controller.users.owner_lost import (
    EndingPods,
    abandoned_verdicts,
    lost_verdicts,
    unheard_verdicts,
)
from mailpush.controller.users.record import UserName, UserRecord
from mailpush.controller.users.secrets import Seen, UserSecrets
from mailpush.controller.users.store import UserStore
from mailpush.controller.users.wanted import UNREGISTER_SECONDS, Wanted, is_urgent, lacks, wanted_finalizer
from mailpush.controller.users.writer import UserWriter
from mailpush.decision import decide, user_facts
from mailpush.kube.client import Kube, Object
from mailpush.work.pace import Pace
from mailpush.work.queue import WorkQueue
from mailpush.work.status_budget import operator_pace


class UserReconciler:
    """Decides on PushUsers: `work` is called for the keys of `queue`, `write` for those of `writes`.

    A change of settings concerns every user at once. All are decided on within seconds, which is what users are spread
    by; what is to be written then takes its time, and is what is right by then.
    """

    def __init__(
        self,
        kube: Kube,
        state: OperatorState,
        store: UserStore,
        queue: WorkQueue[UserName],
        events: EventRecorder,
        *,
        writes: WorkQueue[UserName],
        leftovers: LeftOvers | None = None,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        self._state = state
        self._store = store
        self._queue = queue
        self._writes = writes
        self._events = events
        self._clock = clock
        self._secrets = UserSecrets(kube, clock)
        self._deleting_since: dict[UserName, float] = {}
        self._duplicates = Duplicates(store, queue)
        self._leftovers = leftovers or LeftOvers(kube, (), events)
        self._ending_pods = EndingPods(state, self.config_changed, clock=clock)
        self._writer = UserWriter(kube, store, events, self._leftovers, pace or operator_pace())

    # -- why a user is looked at again

    def configs_known(self) -> None:
        """All MailPushConfigs have been looked at: one that was not seen does not exist."""
        self._state.configs_listed = True
        for name, _ in self._store.all():
            self._queue.add(name)

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
        reference = (body.get("spec") or {}).get("configRef") or {}
        if not self._leaves(ConfigKey(name.namespace, str(reference.get("name")))):
            self._leftovers.gone(name, body)

    # -- one user

    async def work(self, name: UserName) -> None:
        """Decides on the user, and has written what the object lacks: that waits for its turn, the decision does not.

        Raises:
            KubeError: not done; try again.
        """
        record = self._store.get(name)
        if record is None:
            self._deleting_since.pop(name, None)
            self._secrets.forget(name)
            self._duplicates.gone(name)
            if (unreadable := self._store.unreadable(name)) is not None and not unreadable.told:
                self._writes.add(name)
            return
        if (wanted := await self._judge(name, record)) is not None and lacks(record, wanted):
            self._writes.add(name, first=is_urgent(record, wanted))

    async def write(self, name: UserName) -> None:
        """Writes what the object lacks by now.

        Raises:
            KubeError: not done; try again.
        """
        record = self._store.get(name)
        if record is None:
            await self._tell_unreadable(name)
        elif (wanted := await self._judge(name, record)) is not None and lacks(record, wanted):
            await self._writer.write(name, record, wanted)
            if wanted.resync:
                self._duplicates.resynced(name)

    async def _judge(self, name: UserName, record: UserRecord) -> Wanted | None:
        """None: nothing is to be written now."""
        if name.namespace in self._state.ending:
            return None  # nothing is of use to it any more, and a finalizer would keep it: see ending.py
        if not self._state.configs_listed:
            return None  # see `configs_known`
        wanted = await self._wanted(name, record)
        if self._leaves(record.config):
            wanted = replace(wanted, leaves=True)
        self._store.weigh(name, wanted.weighs)
        if wanted.elder is not None and not record.registered and self._duplicates.overwrote(name):
            return replace(wanted, resync=True)
        return wanted

    async def _tell_unreadable(self, name: UserName) -> None:
        unreadable = self._store.unreadable(name)
        if unreadable is not None and not unreadable.told and name.namespace not in self._state.ending:
            await self._writer.tell(name, unreadable)

    async def _wanted(self, name: UserName, record: UserRecord) -> Wanted:
        state = self._state.configs.get(record.config)
        finalizer = wanted_finalizer(
            record,
            config_exists=state is not None,
            waited=self._waited(name, record),
            leaves=self._leaves(record.config),
        )
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
        elder = self._duplicates.elder(
            name, record, spec, state, user_facts(spec, secret.facts), secret_login=secret.login
        )
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

    def _leaves(self, config: ConfigKey) -> bool:
        """Whether its users go without being unregistered, and nothing of that is a trouble to tell of."""
        state = self._state.configs.get(config)
        return state is not None and state.leaves_registrations

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

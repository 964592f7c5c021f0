"""What only the leading process does: kopf, the reconciles, a loop for each MailPushConfig, the PushUsers."""

import asyncio
import time
from functools import partial
from typing import Final

import kopf
import structlog

from mailpush.controller import handlers, metrics
from mailpush.controller.configs.reconcile import Reconciler
from mailpush.controller.environment import OperatorSettings
from mailpush.controller.events import EventRecorder
from mailpush.controller.owner import ConfigKey
from mailpush.controller.shards.loops import ShardLoops
from mailpush.controller.shards.watch import SELECTOR
from mailpush.controller.state import OperatorState
from mailpush.controller.triggers import Triggers
from mailpush.controller.users.ending import EndingNamespaces
from mailpush.controller.users.leftovers import LeftOvers
from mailpush.controller.users.reconcile import UserReconciler
from mailpush.controller.users.record import UserName
from mailpush.controller.users.store import UserStore
from mailpush.controller.watchdog import Watchdog
from mailpush.http.health import Pulse
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError, NotFoundError
from mailpush.work.queue import WorkQueue

RESYNC_SECONDS: Final = 600.0
FIRST_SECONDS: Final = 5.0
"""For each answer that a new leader's shard loops wait for: a dead pod's users wait for it."""
RETRY_SECONDS: Final = 2.0
MEASURE_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Leader:
    """One term of leadership."""

    def __init__(
        self,
        kube: Kube,
        settings: OperatorSettings,
        pulse: Pulse,
        *,
        state: OperatorState,
        triggers: Triggers,
        watchdog: Watchdog,
        events: EventRecorder,
        configs: Reconciler,
        config_queue: WorkQueue[ConfigKey],
        shards: ShardLoops,
        users: UserReconciler,
        store: UserStore,
        user_queue: WorkQueue[UserName],
        user_writes: WorkQueue[UserName],
        ending: EndingNamespaces,
        leftovers: LeftOvers,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._pulse = pulse
        self._state = state
        self._triggers = triggers
        self._watchdog = watchdog
        self._events = events
        self._configs = configs
        self._config_queue = config_queue
        self._shards = shards
        self._users = users
        self._store = store
        self._user_queue = user_queue
        self._user_writes = user_writes
        self._ending = ending
        self._leftovers = leftovers
        self._known = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, or until something fails that only a new process mends.

        Raises:
            ExceptionGroup: with what has failed.
        """
        await self._wait_for_resources()
        metrics.LEADER.set(1)
        self._store.observe(self._users)
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = (
                    self._end_shards(),
                    self._kopf(stop),
                    self._resync(),
                    self._measure(),
                    self._settle(),
                    self._events.run(),
                    self._ending.run(),
                    self._watchdog.run(),
                    self._leftovers.run(),
                    self._config_queue.run(self._configs.reconcile, partial(self._pulse.beat, "reconcile")),
                    self._user_queue.run(self._users.work, partial(self._pulse.beat, "users")),
                    self._user_writes.run(self._users.write, partial(self._pulse.beat, "user writes")),
                )
                running = [tasks.create_task(loop) for loop in loops]
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            await self._shards.close()
            metrics.LEADER.set(0)

    async def _end_shards(self) -> None:
        """The shard loops end at once with the leadership: kopf takes its time."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._shards.close()

    async def _kopf(self, stop: asyncio.Event) -> None:
        """Runs kopf, which knows only resources that exist when it starts."""
        await kopf.operator(
            registry=handlers.registry,
            settings=handlers.settings(),
            memo=self._triggers,
            standalone=True,
            # Else it asks for the name of this process's user, which in a container has none.
            identity=self._settings.identity,  # type: ignore[arg-type]  # kopf keeps the type of it to itself
            namespaces=list(self._settings.namespaces),
            stop_flag=stop,
        )
        if not stop.is_set():
            # kopf takes over SIGTERM; otherwise it ends only by an error that it has logged.
            stop.set()
            log.info("kopf_ended")

    async def _wait_for_resources(self) -> None:
        announced = False
        for resource in (resources.MAIL_PUSH_CONFIG, resources.PUSH_USER, resources.SHARD_MAP):
            while True:
                self._pulse.beat("reconcile")
                try:
                    await self._kube.probe(resource, self._settings.namespaces[0], answer_seconds=FIRST_SECONDS)
                    break
                except NotFoundError:
                    if not announced:
                        log.warning("waiting_for_crds", missing=resource.plural)
                    announced = True
                except KubeError as error:
                    log.warning("waiting_for_the_api", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _resync(self) -> None:
        """Reconciles everything once at the start and every ten minutes: what was missed is put right by then."""
        while True:
            try:
                for namespace in self._settings.namespaces:
                    await self._know_revisions(namespace)
                    items, _ = await self._kube.list(
                        resources.MAIL_PUSH_CONFIG, namespace, answer_seconds=FIRST_SECONDS
                    )
                    for item in items:
                        self._configs.saw(item)
                    present = {ConfigKey.of(item) for item in items}
                    gone = {key for key in self._state.configs if key.namespace == namespace} - present
                    for key in present | gone:
                        self._config_queue.add(key)
            except KubeError as error:
                log.warning("resync_failed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not self._state.configs_listed:
                # A user's status says that the MailPushConfig does not exist only once all have been looked at.
                await self._config_queue.idle()
                self._users.configs_known()
                self._known.set()
            await asyncio.sleep(RESYNC_SECONDS)

    async def _settle(self) -> None:
        """Says when the first decision on every user has been made."""
        began = time.monotonic()
        await self._known.wait()
        for namespace in self._settings.namespaces:
            await self._store.wait_listed(namespace)
        await self._user_queue.idle()
        seconds = round(time.monotonic() - began, 1)
        users = sum(self._store.count(key) for key in self._state.configs)
        log.info("users_decided", users=users, seconds=seconds, to_be_written=len(self._user_writes))

    async def _know_revisions(self, namespace: str) -> None:
        """Which pods are of an old revision, before anything is given to them."""
        sets, _ = await self._kube.list(
            resources.STATEFUL_SET, namespace, label_selector=SELECTOR, answer_seconds=FIRST_SECONDS
        )
        for body in sets:
            self._triggers.revision_seen(body)

    async def _measure(self) -> None:
        while True:
            metrics.QUEUE.labels("configs").set(len(self._config_queue))
            metrics.QUEUE.labels("users").set(len(self._user_queue))
            metrics.QUEUE.labels("user_writes").set(len(self._user_writes))
            for key in self._state.configs:
                metrics.USERS.labels(*key).set(self._store.count(key))
            await asyncio.sleep(MEASURE_SECONDS)

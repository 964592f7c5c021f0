"""What only the leading process does: kopf, the reconciles, a loop for each MailPushConfig, the PushUsers."""

import asyncio
from typing import Final

import kopf
import structlog

from mailpush.controller import handlers, metrics
from mailpush.controller.configs.reconcile import Reconciler
from mailpush.controller.environment import OperatorSettings
from mailpush.controller.events import EventRecorder
from mailpush.controller.owner import ConfigKey
from mailpush.controller.shards.loop import ShardLoop
from mailpush.controller.shards.watch import PodWatch
from mailpush.controller.state import OperatorState
from mailpush.controller.triggers import Triggers
from mailpush.controller.users.reconcile import UserReconciler
from mailpush.controller.users.store import UserName, UserStore
from mailpush.controller.watchdog import Watchdog
from mailpush.http.pulse import Pulse
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, KubeError, NotFoundError
from mailpush.work.queue import WorkQueue

RECONCILERS: Final = 2
RESYNC_SECONDS: Final = 600.0
RETRY_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class Leader:
    """One term of leadership."""

    def __init__(
        self,
        kube: Kube,
        settings: OperatorSettings,
        pulse: Pulse,
        *,
        world: OperatorState,
        lookout: PodWatch,
        book: UserStore,
        user_queue: WorkQueue[UserName],
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._pulse = pulse
        self._world = world
        self._lookout = lookout
        self._book = book
        self._user_queue = user_queue
        self._queue: WorkQueue[ConfigKey] = WorkQueue(
            "configs", workers=RECONCILERS, expected=(KubeError,), conflicts=(ConflictError,)
        )
        self._events = EventRecorder(kube, settings.identity)
        self._keeper = UserReconciler(kube, world, book, user_queue, tell=self._events.tell)
        self._reconciler = Reconciler(
            kube,
            settings,
            world,
            on_change=self._config_seen,
            on_site_change=self._keeper.config_changed,
        )
        self._hub = Triggers(world, self._queue.add, self._keeper.secret_changed, self._shard_map_seen)
        self._loops: dict[ConfigKey, tuple[ShardLoop, asyncio.Task[None]]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, or until something fails that only a new process mends.

        Raises:
            ExceptionGroup: with what has failed.
        """
        await self._wait_for_resources()
        metrics.LEADER.set(1)
        self._book.on_transition = self._keeper.transition
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._kopf(stop)),
                    tasks.create_task(self._resync()),
                    tasks.create_task(self._measure()),
                    tasks.create_task(self._events.run()),
                    tasks.create_task(Watchdog(self._kube, self._settings.namespaces, self._hub, self._pulse).run()),
                ]
                running.append(
                    tasks.create_task(
                        self._queue.run(self._reconciler.reconcile, lambda: self._pulse.beat("reconcile"))
                    )
                )
                running.append(
                    tasks.create_task(self._user_queue.run(self._keeper.work, lambda: self._pulse.beat("users")))
                )
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            for _, task in self._loops.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in self._loops.values()), return_exceptions=True)
            metrics.LEADER.set(0)

    def wake(self, key: ConfigKey) -> None:
        """A pod, a Lease or the users of this MailPushConfig have changed."""
        if (entry := self._loops.get(key)) is not None:
            entry[0].wake()

    async def _kopf(self, stop: asyncio.Event) -> None:
        """kopf knows only resources that are there when it starts, so they were waited for."""
        await kopf.operator(
            registry=handlers.registry,
            settings=handlers.settings(),
            memo=self._hub,
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
                    await self._kube.list(resource, self._settings.namespaces[0], limit=1)
                    break
                except NotFoundError:
                    if not announced:
                        log.warning("waiting_for_crds", missing=resource.plural)
                    announced = True
                except KubeError as error:
                    log.warning("waiting_for_the_api", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _resync(self) -> None:
        """Everything once at the start and every ten minutes: what was missed is put right by then."""
        while True:
            try:
                for namespace in self._settings.namespaces:
                    items, _ = await self._kube.list(resources.MAIL_PUSH_CONFIG, namespace)
                    present = {ConfigKey.of(item) for item in items}
                    gone = {key for key in self._world.configs if key.namespace == namespace} - present
                    for key in present | gone:
                        self._queue.add(key)
            except KubeError as error:
                log.warning("resync_failed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not self._world.configs_listed:
                await self._first_reconciles()
            await asyncio.sleep(RESYNC_SECONDS)

    async def _first_reconciles(self) -> None:
        """Users are told that their MailPushConfig does not exist only once all have been looked at."""
        await self._queue.idle()
        self._world.configs_listed = True

    def _config_seen(self, key: ConfigKey) -> None:
        state = self._world.configs.get(key)
        entry = self._loops.get(key)
        if entry is not None and (state is None or entry[0].owner.uid != state.owner.uid):
            entry[1].cancel()
            del self._loops[key]
            self._pulse.end(f"shards of {key}")
            entry = None
        if state is None:
            self._world.highest_owner.pop(key, None)
            self._world.lost.pop(key, None)
            return
        if entry is not None:
            entry[0].wake()
            return
        loop = ShardLoop(
            self._kube,
            state.owner,
            self._world,
            self._lookout,
            self._keeper,
            reconcile=self._queue.add,
            tell=self._events.tell,
            on_step=lambda: self._pulse.beat(f"shards of {key}", within=120.0),
        )
        self._loops[key] = (loop, asyncio.create_task(loop.run()))

    def _shard_map_seen(self, key: ConfigKey, resource_version: str | None) -> None:
        if (entry := self._loops.get(key)) is not None:
            entry[0].maps.seen(resource_version)
            entry[0].wake()

    async def _measure(self) -> None:
        while True:
            metrics.QUEUE.labels("configs").set(len(self._queue))
            metrics.QUEUE.labels("users").set(len(self._user_queue))
            for key in self._world.configs:
                metrics.USERS.labels(*key).set(self._book.count(key))
            await asyncio.sleep(5)

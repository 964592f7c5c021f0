"""One listener process: its parts put together, run, and ended in order."""

import asyncio
import secrets
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, Final

import structlog
from prometheus_client import Gauge

from mailpush.decision import POD_EXCLUDED, site_facts
from mailpush.http.health import Pulse
from mailpush.kube.client import Kube
from mailpush.listener.admin import PodAdmin, PodUsers
from mailpush.listener.environment import Environment, ordinal
from mailpush.listener.mails.callback import Ingress
from mailpush.listener.mails.internal import InternalServer
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.open_entries import open_users
from mailpush.listener.mails.peers import HandoverKey, Peers
from mailpush.listener.mails.router import Router
from mailpush.listener.mechanisms.registry import Mechanisms
from mailpush.listener.settings_watch import Loaded, SettingsWatch
from mailpush.listener.shards.lease import LeaseKeeper, LeaseLostError
from mailpush.listener.shards.loop import Shards
from mailpush.listener.users.mailbox import UserSecrets
from mailpush.listener.users.siblings import Siblings
from mailpush.listener.users.status import StatusWriter
from mailpush.listener.users.supervisor import Supervisor
from mailpush.listener.users.user_listener import Site
from mailpush.listener.users.watch import Users
from mailpush.notifications.claims.current import CurrentClaims
from mailpush.notifications.degraded import degraded, watch_targets
from mailpush.notifications.dispatcher import Dispatcher, Undelivered
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.targets import webhook_targets
from mailpush.sharding.rights import Right
from mailpush.sharding.shardmap import FORMAT_VERSION
from mailpush.work.clock import boottime

# The stop order's bounds in seconds; together well below the 60 s that a pod has.
DRAIN_SECONDS: Final = 10.0
RETIRE_SECONDS: Final = 8.0
LINGER_SECONDS: Final = 4.0
CLOSE_SECONDS: Final = 3.0
FLUSH_SECONDS: Final = 6.0
RELEASE_SECONDS: Final = 4.0
STALLED_SECONDS: Final = 30.0

LEASE_RIGHT: Final = Gauge(
    "mailpush_lease_right_seconds",
    "For how long this pod may act without another renewal of its Lease (0: not at all).",
)

EXIT_DONE: Final = 0
EXIT_FAULT: Final = 1
EXIT_LEASE_LOST: Final = 3

log = structlog.get_logger(__name__)


class ListenerProcess:
    """Made within the event loop, run once.

    Args:
        loaded: the configuration to begin with. boot: the files that take a restart to change.
    """

    def __init__(self, env: Environment, kube: Kube, loaded: Loaded, boot: Mapping[str, str], pulse: Pulse) -> None:
        self._env = env
        self._kube = kube
        self._loaded = loaded
        self._pulse = pulse
        self._ended = False
        self._targets_lock = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()
        self._mechanisms = Mechanisms()
        self._claim_only = loaded.settings.redis is not None
        self._right = Right()
        self._keeper = LeaseKeeper(kube, env.namespace, env.me, self._right, secrets.token_hex(8))
        self._claims = CurrentClaims(loaded.settings, env.config_uid)
        self._dispatcher = Dispatcher(
            env.config_uid,
            self._claims,
            webhook_targets(loaded.settings),
            self._may_send,
            NotificationMetrics(),
            holder=str(self._keeper.holder),
        )
        self._users = Users(env.config, self._user_changed)
        self._statuses = StatusWriter(kube, env.namespace, env.me.name, self._users.get, self._may_write)
        self._supervisor = Supervisor(
            self._users,
            UserSecrets(kube, env.namespace, boottime),
            self._statuses,
            self._dispatcher,
            undelivered=self._undelivered,
            may_act=self._may_write,
            needed=Siblings(kube, env.namespace, env.config).need,
        )
        self._shards = Shards(
            env.me,
            env.config,
            self._keeper,
            self._supervisor,
            warm=lambda: self._user_reflector.listed.is_set(),  # noqa: PLW0108 - made only below
            moved=self._moved,
            tick=partial(pulse.beat, "shards"),
        )
        self._user_reflector = self._users.reflector(kube, env.namespace, self._shards.wake)
        self._settings_watch = SettingsWatch(
            kube,
            env.namespace,
            env.config,
            boot,
            env.handover_key,
            apply=self._apply,
            problem=self._settings_problem,
            current=loaded,
        )
        key = HandoverKey(env.handover_key)
        self._peers = Peers(env.peer_url, key)
        self._journal = Journal(env.journal_dir)
        self._router = Router(
            me=env.me.name,
            local=self._supervisor.local,
            owner_of=self._shards.owner_of,
            peers=self._peers,
            journal=self._journal,
            open_now=lambda: open_users(self._dispatcher),
        )
        self._ingress = Ingress(lambda: self._loaded.settings.callback, self._router.offer)
        self._internal = InternalServer(self._router.take, self._shards.owner_of, key)
        pod_users = PodUsers(kube, env.namespace, env.config, self._supervisor.listening)
        self._admin = PodAdmin(pod_users, loaded.settings)

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop` is set or the Lease is lost; gives the exit code. Raises OSError where a port is taken."""
        try:
            return await self._run(stop)
        finally:
            await self._close()

    async def _run(self, stop: asyncio.Event) -> int:
        await self._internal.start(self._env.listen, self._env.internal_port)
        await self._ingress.start(self._env.listen, self._env.callback_port)
        await self._admin.start(self._env.listen, self._env.admin_port)
        self._say_settings(reason="")
        self._supervisor.apply(self._site())
        self._pulse.beat("shards", within=STALLED_SECONDS)
        LEASE_RIGHT.set_function(lambda: self._right.remaining(boottime()))
        shard_map, leases = self._shards.reflectors(self._kube, self._env.namespace)
        loops: dict[str, Coroutine[Any, Any, None]] = {
            "lease": self._hold(),
            "users": self._user_reflector.run(),
            "settings": self._settings_watch.reflector().run(),
            "settings-watch": self._settings_watch.run(),
            "statuses": self._statuses.run(),
            "shards": self._shards.run(),
            "router": self._router.run(),
            "map": shard_map.run(),
            "leases": leases.run(),
            "targets": watch_targets(self._say_targets),
        }
        tasks = {name: asyncio.create_task(loop, name=name) for name, loop in loops.items()}
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({*tasks.values(), stopping}, return_when=asyncio.FIRST_COMPLETED)
            ended = next((task for task in tasks.values() if task.done()), None)
            if ended is None:
                await self._leave(tasks)
                return EXIT_DONE
            return await self._give_up(ended)
        finally:
            for task in (*tasks.values(), stopping, *self._background):
                task.cancel()
            await asyncio.wait({*tasks.values(), stopping, *self._background})

    # -- the Lease

    async def _hold(self) -> None:
        self._shards.begin(await self._keeper.take())
        await self._keeper.keep()

    def _may_send(self) -> bool:
        """P5 and P14: with the right, or else where each notification is won by a claim that all pods see."""
        return not self._ended and (self._claim_only or self._right.holds(boottime()))

    def _may_write(self) -> bool:
        return not self._ended and self._right.holds(boottime())

    # -- settings

    def _site(self) -> Site:
        settings = self._loaded.settings
        return Site(
            settings,
            site_facts(settings),
            self._mechanisms.by(settings),
            self._loaded.unregister,
            pod=self._env.me.name,
            pod_allowed=self._allowed(),
        )

    def _allowed(self) -> bool:
        """Whether this pod may run permanent listeners, by `listeners.podOverrides`."""
        return self._loaded.settings.allowed_in(ordinal(self._env.me.name))

    def _apply(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._supervisor.apply(self._site())
        self._say_settings(reason="")
        for change in (self._apply_to_dispatcher(), self._admin.use(loaded.settings)):
            task = asyncio.create_task(change)
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _apply_to_dispatcher(self) -> None:
        async with self._targets_lock:
            await self._claims.use(self._loaded.settings)
            await self._dispatcher.replace_targets(webhook_targets(self._loaded.settings))

    def _settings_problem(self, reason: str | None) -> None:
        """The last good configuration goes on, so the pod stays capable."""
        self._say_settings(reason or "")

    def _say_settings(self, reason: str) -> None:
        """Capable is who can do the work, also where the settings let nobody be listened for: then it is the owner
        who says so on each user. A pod that takes no users while others may is not: what it has is moved away.
        """
        excluded = self._loaded.settings.allowed_somewhere and not self._allowed()
        self._keeper.update(
            config_hash=self._loaded.config_hash or None,
            capable=not excluded,
            reason=POD_EXCLUDED if excluded else reason,
            packages=self._loaded.settings.packages,
            formats=frozenset({FORMAT_VERSION}),
        )

    def _say_targets(self) -> None:
        names = [webhook.name for webhook in self._loaded.settings.webhooks]
        self._keeper.update(urgent=False, degraded=degraded(names, self._dispatcher.health()))

    # -- what the parts tell each other

    def _user_changed(self, key: tuple[int, int]) -> None:
        self._supervisor.user_changed(key)

    def _moved(self) -> None:
        self._router.ownership_changed()

    def _undelivered(self, rest: Undelivered) -> None:
        if not self._router.offer(rest.mail, rest.age):
            log.warning("notification_lost", context=rest.mail.context_id, user=rest.mail.user_id, why="no room")

    # -- the end

    async def _leave(self, tasks: Mapping[str, asyncio.Task[None]]) -> None:
        """The stop order: slots first, so that the next owners are at work while this pod still hands over.

        Where no other pod could have them, they stay until the last mail that Dovecot has handed in is told.
        """
        successors = self._shards.successors()
        log.info("stopping", successors=successors)
        self._keeper.update(draining=True, capable=False, reason="Draining")
        moved = successors and await self._shards.drain(DRAIN_SECONDS)
        released = False
        if successors and not moved:
            # No operator moves them, so the others can have them only when the Lease is empty.
            released = await self._shards.retire(RETIRE_SECONDS) and await self._release(tasks["lease"])
        self._ingress.drain()
        await asyncio.sleep(LINGER_SECONDS)
        await self._ingress.close()
        await self._router.flush(FLUSH_SECONDS if successors else CLOSE_SECONDS)
        for rest in await self._dispatcher.close(CLOSE_SECONDS):
            self._undelivered(rest)
        stopped = moved or released or await self._shards.retire(RETIRE_SECONDS)
        await self._router.flush(CLOSE_SECONDS if successors else 0.0)
        if stopped and not released:
            await self._release(tasks["lease"])
        log.info("stopped", moved=moved)

    async def _release(self, lease: asyncio.Task[None]) -> bool:
        self._ended = True
        lease.cancel()
        await asyncio.wait({lease})
        return await self._keeper.release(RELEASE_SECONDS)

    async def _give_up(self, ended: asyncio.Task[None]) -> int:
        """Something that must run has ended. Nothing is sent from now on; the journal keeps what is owed."""
        self._ended = True
        self._right.ended()
        error = None if ended.cancelled() else ended.exception()
        if isinstance(error, LeaseLostError):
            log.error("lease_lost", why=str(error), meaning="the listeners stop and the process exits")
            code = EXIT_LEASE_LOST
        else:
            log.error("loop_ended", loop=ended.get_name(), exc_info=error)
            code = EXIT_FAULT
        try:
            async with asyncio.timeout(RETIRE_SECONDS):
                await self._supervisor.close()
                for rest in await self._dispatcher.close(0.0):
                    self._undelivered(rest)
        except TimeoutError:
            log.warning("listeners_hang")
        return code

    async def _close(self) -> None:
        await self._ingress.close()
        await self._internal.close()
        await self._admin.close()
        await self._peers.close()
        await self._claims.close()
        self._journal.close()

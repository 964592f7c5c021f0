"""One listener process: its parts run, and ended in order."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
from prometheus_client import Gauge

from mailpush.http.health import Pulse
from mailpush.kube.client import Kube
from mailpush.listener.assembly import assemble
from mailpush.listener.environment import Environment
from mailpush.listener.settings_watch import Loaded
from mailpush.listener.shards.lease import LeaseLostError

# The stop order's bounds in seconds; together well below the 60 s that a pod has.
DRAIN_SECONDS: Final = 10.0
RETIRE_SECONDS: Final = 8.0
LINGER_SECONDS: Final = 4.0
LONGEST_LINGER_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 3.0
FLUSH_SECONDS: Final = 6.0
RELEASE_SECONDS: Final = 4.0
UNDER_WAY_SECONDS: Final = 15.0
LEAVE_SECONDS: Final = 38.0
"""For the stop order as a whole: what is left of it is for the last hand-over, since the journal goes with the pod."""
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
    """Made within the event loop, run once. Arguments and errors: as `assemble`."""

    def __init__(self, env: Environment, kube: Kube, loaded: Loaded, boot: Mapping[str, str], pulse: Pulse) -> None:
        self._env = env
        self._kube = kube
        self._pulse = pulse
        self._parts = assemble(env, kube, loaded, boot, pulse)

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop` is set or the Lease is lost; returns the exit code. Raises OSError where a port is taken."""
        try:
            return await self._run(stop)
        finally:
            await self._close()

    async def _run(self, stop: asyncio.Event) -> int:
        parts = self._parts
        await parts.internal.start(self._env.listen, self._env.internal_port)
        await parts.ingress.start(self._env.listen, self._env.callback_port)
        await parts.admin.start(self._env.listen, self._env.admin_port)
        parts.removals.start()
        parts.applied.begin()
        self._pulse.beat("shards", within=STALLED_SECONDS)
        LEASE_RIGHT.set_function(parts.permission.remaining)
        loops: dict[str, Coroutine[Any, Any, None]] = {
            "lease": self._hold(),
            "users": parts.user_reader.run(),
            "settings": parts.settings_watch.reflector().run(),
            "settings-watch": parts.settings_watch.run(),
            "statuses": parts.statuses.run(),
            "shards": parts.shards.run(),
            "router": parts.router.run(),
            "map": parts.shards.reflector(self._kube, self._env.namespace).run(),
            "leases": parts.lease_watch.run(),
            "troubles": parts.troubles.run(),
            "claims": parts.claims.watch(),
            "unrecorded": parts.owned.run(),
            "checkpoints": parts.checkpoints.run(),
            "sweeper": parts.sweeper.run(),
            "storage": parts.storage.run(),
            "stored-entries": parts.entries.run(),
            "marks": parts.marks.run(),
            "janitor": parts.janitor.run(),
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
            for task in (*tasks.values(), stopping):
                task.cancel()
            await asyncio.wait({*tasks.values(), stopping})

    async def _hold(self) -> None:
        self._parts.shards.begin(await self._parts.keeper.take())
        await self._parts.keeper.keep()

    # -- the end

    async def _leave(self, tasks: Mapping[str, asyncio.Task[None]]) -> None:
        """The stop order: slots first, so that the next owners are at work while this pod still hands over.

        Where no other pod could have them, they stay until the last mail that Dovecot has handed in is sent.
        """
        parts, clock = self._parts, asyncio.get_running_loop().time
        ends = clock() + LEAVE_SECONDS
        successors = await parts.shards.successors()
        log.info("stopping", successors=successors)
        parts.keeper.update(draining=True, capable=False, reason="Draining")
        moved = successors and await parts.shards.drain(DRAIN_SECONDS)
        released = False
        if successors and not moved:
            # No operator moves them, so the others can have them only when the Lease is empty.
            released = await parts.shards.retire(RETIRE_SECONDS) and await self._release(tasks["lease"])
        parts.ingress.drain()
        await parts.ingress.linger(LINGER_SECONDS, LONGEST_LINGER_SECONDS)
        await parts.ingress.close()
        await parts.inbox.flush(FLUSH_SECONDS if successors else CLOSE_SECONDS)
        for rest in await parts.dispatcher.stop(CLOSE_SECONDS):
            parts.inbox.give_back(rest)
        stopped = moved or released or await parts.shards.retire(RETIRE_SECONDS)
        await parts.inbox.flush(max(CLOSE_SECONDS, ends - clock()) if successors else 0.0)
        if stopped and not released:
            await self._release(tasks["lease"])
        log.info("stopped", moved=moved)

    async def _release(self, lease: asyncio.Task[None]) -> bool:
        self._parts.permission.end()
        lease.cancel()
        await asyncio.wait({lease})
        return await self._parts.keeper.release(RELEASE_SECONDS)

    async def _give_up(self, ended: asyncio.Task[None]) -> int:
        """Something that must run has ended. Nothing is sent from now on; the journal keeps what is owed."""
        parts = self._parts
        parts.permission.end()
        parts.keeper.right.ended()
        error = None if ended.cancelled() else ended.exception()
        if isinstance(error, LeaseLostError):
            log.error("lease_lost", why=str(error), meaning="the listeners stop and the process exits")
            code = EXIT_LEASE_LOST
        else:
            log.error("loop_ended", loop=ended.get_name(), exc_info=error)
            code = EXIT_FAULT
        try:
            async with asyncio.timeout(RETIRE_SECONDS):
                await parts.supervisor.close()
                for rest in await parts.dispatcher.stop(0.0):
                    parts.inbox.give_back(rest)
        except TimeoutError:
            log.warning("listeners_hang")
        return code

    async def _close(self) -> None:
        parts = self._parts
        await parts.applied.close()
        await parts.ingress.close()
        await parts.internal.close()
        await parts.admin.close()
        await parts.peers.close()
        with suppress(TimeoutError):  # the claims of what is still on its way then expire
            async with asyncio.timeout(UNDER_WAY_SECONDS):
                await parts.dispatcher.close()
        await parts.claims.close()
        await parts.checkpoints.close()
        await parts.removals.close()
        await parts.storage.close()
        parts.journal.close()

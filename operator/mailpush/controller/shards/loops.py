"""A shard loop for each MailPushConfig that exists, while this process leads."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from mailpush.controller.events import EventRecorder
from mailpush.controller.owner import ConfigKey
from mailpush.controller.shards.loop import ShardLoop, Users
from mailpush.controller.shards.watch import PodWatch
from mailpush.controller.state import OperatorState
from mailpush.controller.wakes import Wakes
from mailpush.http.health import Pulse
from mailpush.kube.client import Kube
from mailpush.work.queue import WorkQueue

WITHIN_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class _Running:
    loop: ShardLoop
    task: asyncio.Task[None]


class ShardLoops:
    """Starts a loop when a MailPushConfig is first seen, and ends it when it goes or is made again.

    Args:
        configs: MailPushConfigs to be reconciled, since the StatefulSet follows what the loops find.
    """

    def __init__(
        self,
        kube: Kube,
        state: OperatorState,
        *,
        pods: PodWatch,
        users: Users,
        wakes: Wakes,
        configs: WorkQueue[ConfigKey],
        events: EventRecorder,
        pulse: Pulse,
    ) -> None:
        self._kube = kube
        self._state = state
        self._pods = pods
        self._users = users
        self._wakes = wakes
        self._configs = configs
        self._events = events
        self._pulse = pulse
        self._loops: dict[ConfigKey, _Running] = {}

    def config_changed(self, key: ConfigKey) -> None:
        """The MailPushConfig has been looked at, or has gone."""
        config = self._state.configs.get(key)
        running = self._loops.get(key)
        if running is not None and (config is None or running.loop.owner.uid != config.owner.uid):
            self._end(key, running)
            running = None
        if config is None:
            self._state.highest_owner.pop(key, None)
            self._state.lost.pop(key, None)
        elif running is not None:
            self._wakes.wake(key)
        else:
            loop = ShardLoop(
                self._kube,
                config.owner,
                self._state,
                self._pods,
                self._users,
                configs=self._configs,
                events=self._events,
                wake=self._wakes.open(key),
                on_step=partial(self._pulse.beat, _name(key), within=WITHIN_SECONDS),
            )
            self._loops[key] = _Running(loop, asyncio.create_task(loop.run(), name=_name(key)))

    def shard_map_seen(self, key: ConfigKey, resource_version: str | None) -> None:
        """The ShardMap has this resourceVersion; None: it was deleted."""
        if (running := self._loops.get(key)) is not None:
            running.loop.maps.seen(resource_version)
            self._wakes.wake(key)

    async def close(self) -> None:
        """Ends all loops."""
        ending = list(self._loops.items())
        for key, running in ending:
            self._end(key, running)
        await asyncio.gather(*(running.task for _, running in ending), return_exceptions=True)

    def _end(self, key: ConfigKey, running: _Running) -> None:
        running.task.cancel()
        del self._loops[key]
        self._wakes.close(key)
        self._pulse.end(_name(key))


def _name(key: ConfigKey) -> str:
    return f"shards of {key}"

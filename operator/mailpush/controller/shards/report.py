"""What a MailPushConfig's and its ShardMap's status say of pods, slots and users, once a second and only on changes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from mailpush import names
from mailpush.api.conditions import timestamp
from mailpush.controller import metrics
from mailpush.controller.events import WARNING, Event, EventRecorder, Subject, condition_changes
from mailpush.controller.owner import ConfigKey, Owner
from mailpush.controller.shards.maps import ShardMaps
from mailpush.controller.shards.news import MapNews
from mailpush.controller.shards.watch import DEADLINE
from mailpush.controller.state import ConfigState
from mailpush.controller.status.config import config_status, same_status
from mailpush.controller.status.pod import PodView
from mailpush.controller.status.shard_map import MapView, map_view, shard_map_status
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.sharding.planning.observed import Change, Fence

STATUS_SECONDS: Final = 1.0
MAP_STATUS_SECONDS: Final = 10.0


class UserFigures(Protocol):
    """How many push users there are."""

    def weights(self, key: ConfigKey) -> Sequence[int]:
        """Users of each slot who are to be listened for."""

    def version(self, key: ConfigKey) -> int:
        """Changes whenever the weights do."""

    def denied(self, key: ConfigKey) -> Mapping[str, int]:
        """Users who are not to be listened for, by reason."""


class ShardReport:
    """Writes both statuses, and records what has changed in them as Events."""

    def __init__(self, kube: Kube, owner: Owner, maps: ShardMaps, users: UserFigures, events: EventRecorder) -> None:
        self._kube = kube
        self._key = owner.key
        self._subject = Subject("MailPushConfig", owner.namespace, owner.name, owner.uid)
        self._maps = maps
        self._users = users
        self._events = events
        self._news = MapNews(self._subject)
        self._viewed: tuple[str | None, int] | None = None
        self._view = MapView()
        self._reported = -STATUS_SECONDS
        self._map_reported = -MAP_STATUS_SECONDS
        self._shown = (-1, -1)

    def due(self, now: float) -> bool:
        """Whether the last report is long enough ago. `now`: seconds of a steady clock."""
        return now - self._reported >= STATUS_SECONDS

    async def write(self, state: ConfigState, pods: tuple[PodView, ...], now: float) -> None:
        """Writes what has changed.

        Raises:
            KubeError: something was not written; the next report has it again.
        """
        viewed = (self._maps.version, self._users.version(self._key))
        if viewed != self._viewed:
            self._view = map_view(self._maps.map, self._users.weights(self._key))
            self._viewed = viewed
        await self._write_config(state, pods)
        await self._write_map(now)
        metrics.EPOCH.labels(*self._key).set(self._view.epoch)
        metrics.MOVING.labels(*self._key).set(self._view.moving)
        self._reported = now

    async def _write_config(self, state: ConfigState, pods: tuple[PodView, ...]) -> None:
        status = config_status(state, pods, self._view, self._users.denied(self._key), timestamp())
        if same_status(state.body_status, status):
            return
        answer = await self._kube.apply(
            resources.MAIL_PUSH_CONFIG,
            self._key.namespace,
            # By uid: another MailPushConfig of this name is not what this is about.
            {"metadata": {"name": self._key.name, "uid": self._subject.uid}, "status": status},
            manager=names.OPERATOR_MANAGER,
            subresource="status",
            answer_seconds=DEADLINE,  # the labels of callbacks wait for it
        )
        before = state.body_status.get("conditions") or ()
        state.saw(answer)
        after = (answer.get("status") or {}).get("conditions") or ()
        self._events.record(*condition_changes(self._subject, before, after))

    async def _write_map(self, now: float) -> None:
        """Every pod watches the ShardMap, and gets it whole at each write: a count of users can wait."""
        shown = (self._view.epoch, self._view.moving)
        if self._maps.map is None or (shown == self._shown and now - self._map_reported < MAP_STATUS_SECONDS):
            return
        await self._maps.report(shard_map_status(self._maps.status, self._view, self._maps.generation, timestamp()))
        self._shown, self._map_reported = shown, now

    def map_written(self, changes: Iterable[Change], now: float) -> None:
        """A map was written with these changes. `now`: seconds of a steady clock."""
        self._events.record(*self._news.events(changes, now))

    def pod_lost(self, fence: Fence) -> None:
        """A pod was fenced."""
        text = f"{fence.lease_name} has not renewed its Lease and is given up: its users go to other pods"
        self._events.record(Event(self._subject, WARNING, "PodLost", "Fence", text))

"""Which changes of a shard map become Kubernetes Events: takeovers, drains, restores. Pure.

All changes stand in the map's status, the last twenty; an Event is for what somebody may ask about later.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from mailpush.controller.events import NORMAL, WARNING, Event, Subject
from mailpush.sharding.planning.observed import Change
from mailpush.sharding.shardmap import PodRef

AGAIN_SECONDS: Final = 600.0
"""A drain takes many maps, and is told once: anew only where nothing of it was heard for so long."""


class MapNews:
    """The Events of one MailPushConfig's map."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._draining: dict[tuple[PodRef | None, str], float] = {}

    def events(self, changes: Iterable[Change], now: float) -> Iterator[Event]:
        """Those of a map that was just written. `now`: seconds of a steady clock."""
        for change in changes:
            if change.reason == "PodGone":
                yield Event(self._subject, WARNING, "SlotsTakenOver", "TakeOver", change.text)
            elif change.reason == "MapRestored":
                yield Event(self._subject, WARNING, "ShardMapRestoring", "Restore", change.text)
            elif change.reason == "Restored":
                yield Event(self._subject, NORMAL, "ShardMapRestored", "Restore", change.text)
            elif change.reason == "Leaving" and change.pod is not None and self._is_new(change, now):
                text = f"{change.pod.name} {change.why}: its users move to other pods"
                yield Event(self._subject, NORMAL, "PodDraining", "Drain", text)

    def _is_new(self, change: Change, now: float) -> bool:
        self._draining = {key: at for key, at in self._draining.items() if now - at < AGAIN_SECONDS}
        key = (change.pod, change.why)
        new = key not in self._draining
        self._draining[key] = now
        return new

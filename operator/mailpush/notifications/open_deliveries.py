"""The deliveries of one target that are open, in order of arrival and by the slots of their users."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from mailpush.notifications.notification import NewMail
from mailpush.notifications.transports.base import Accepted, Refused, TryLater

SlotSet: TypeAlias = Collection[int]


@dataclass(frozen=True, slots=True)
class AlreadyTold:
    """The claim's record says that the target has the notification."""


TryResult: TypeAlias = Accepted | AlreadyTold | TryLater | Refused


@dataclass(slots=True, eq=False)
class Delivery:
    """One mail for one target. `clients` are those that the target wants, `registered` all of the user's.

    `slot` is the user's. Times are CLOCK_BOOTTIME.
    """

    id: str
    mail: NewMail
    slot: int
    clients: tuple[str, ...]
    registered: tuple[str, ...]
    arrived: float
    failures: int = 0
    due: float = 0.0
    released: bool = False  # given to another owner: no request is to begin any more
    task: asyncio.Task[TryResult] | None = field(default=None, repr=False)


class OpenDeliveries(Collection[Delivery]):
    """Those that wait and those on their way. What concerns some slots costs as much as they have open."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Delivery] = OrderedDict()
        self._by_slot: dict[int, dict[str, Delivery]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._all.values())

    def __contains__(self, delivery: object) -> bool:
        """Whether this one is open; its id may be here again as another delivery."""
        return isinstance(delivery, Delivery) and self._all.get(delivery.id) is delivery

    def has(self, id: str) -> bool:
        """Whether a delivery of this id is open."""
        return id in self._all

    def add(self, delivery: Delivery) -> None:
        self._all[delivery.id] = delivery
        self._by_slot.setdefault(delivery.slot, {})[delivery.id] = delivery

    def remove(self, delivery: Delivery) -> None:
        del self._all[delivery.id]
        of_slot = self._by_slot[delivery.slot]
        del of_slot[delivery.id]
        if not of_slot:
            del self._by_slot[delivery.slot]

    def of(self, slots: SlotSet | None) -> list[Delivery]:
        """Those of the slots, oldest first; all for None."""
        if slots is None:
            return list(self._all.values())
        found = [each for slot in slots for each in self._by_slot.get(slot, {}).values()]
        return sorted(found, key=lambda delivery: delivery.arrived)

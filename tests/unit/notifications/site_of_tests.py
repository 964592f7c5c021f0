"""A dispatcher and what stands around it, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from mailpush.notifications.claims.store import Claims, MemoryClaims
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.notification import NewMail
from mailpush.notifications.transports.base import Accepted, Outcome, Transport
from mailpush.notifications.transports.webhook import WebhookTarget
from mailpush.sharding.slots import SLOTS
from tests.sites.waiting import until

CLIENTS = ("open-xchange-mailapp",)


def mail(uid: int, user_id: int = 3) -> NewMail:
    return NewMail(1, user_id, "INBOX", uid, 99)


def target(name: str = "t", matches: Callable[[str], bool] = lambda _: True, **changed: Any) -> WebhookTarget:
    return replace(WebhookTarget(name, "http://unused", b"s", matches), **changed)


class Recorder:
    """A transport that answers with `outcomes` in turn, then accepts; closed, it waits for `gate` first."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.ids: list[str] = []
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.under_way = 0
        self.most_under_way = 0
        self.closed = False

    async def send(self, id: str, body: bytes) -> Outcome:
        self.ids.append(id)
        self.bodies.append(body)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        return self.outcomes.pop(0) if self.outcomes else Accepted()

    async def close(self) -> None:
        self.closed = True


@dataclass
class Site:
    """A dispatcher and what stands around it."""

    claims: Claims = field(default_factory=MemoryClaims)
    recorder: Recorder = field(default_factory=Recorder)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    permitted: bool = True
    metrics: NotificationMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = NotificationMetrics(self.registry)

    def open(self, *targets: WebhookTarget, transports: dict[str, Transport] | None = None) -> Dispatcher:
        return Dispatcher(
            "config-uid",
            self.claims,
            targets or (target(),),
            lambda: self.permitted,
            self.metrics,
            holder="pod-0",
            transport=lambda config: (transports or {}).get(config.name, self.recorder),
            random=Random(1),
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"target": "t", **labels}) or 0.0


EVERYBODY = range(SLOTS)
"""The slots of all users."""


async def idle(dispatcher: Dispatcher) -> None:
    await until(lambda: dispatcher.pending() == 0)

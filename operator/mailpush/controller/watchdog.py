"""Finds out whether kopf still watches (kopf issue 1276: the process lives and its watcher is gone).

kopf does not report bookmarks, so what it has shown is compared with what the API server has: an object whose newest
state has not come through for long proves a dead watch, whatever killed it. A world in which nothing changes has
nothing to miss.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from mailpush.controller.owner import ConfigKey
from mailpush.controller.triggers import Triggers
from mailpush.http.health import Pulse
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.kube.resources import Resource

EVERY: Final = 30.0
PATIENCE: Final = 90.0
NAME: Final = "kopf's watches"

log = structlog.get_logger(__name__)


class Watchdog:
    """Looks every half a minute; also finds MailPushConfigs that kopf has not shown."""

    def __init__(
        self,
        kube: Kube,
        namespaces: tuple[str, ...],
        triggers: Triggers,
        pulse: Pulse,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._namespaces = namespaces
        self._triggers = triggers
        self._pulse = pulse
        self._clock = clock
        self._missed_since: dict[tuple[str, str, str], tuple[str | None, float]] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except KubeError as error:
                self._missed_since.clear()
                log.warning("watchdog_failed", error=str(error))

    async def look(self) -> None:
        """
        Raises:
            KubeError: the API server could not be asked, so nothing is known.
        """
        missed: dict[tuple[str, str, str], tuple[str | None, float]] = {}
        for namespace in self._namespaces:
            for resource in (resources.MAIL_PUSH_CONFIG, resources.STATEFUL_SET):
                await self._compare(resource, namespace, missed)
        self._missed_since = missed
        longest = max((self._clock() - since for _, since in missed.values()), default=0.0)
        fault = f"nothing new has come for {longest:.0f} s although there is" if longest >= PATIENCE else None
        self._pulse.fault(NAME, fault)

    async def _compare(
        self, resource: Resource, namespace: str, missed: dict[tuple[str, str, str], tuple[str | None, float]]
    ) -> None:
        selector = None if resource is resources.MAIL_PUSH_CONFIG else "app.kubernetes.io/managed-by=mail-push"
        items, _ = await self._kube.list(resource, namespace, label_selector=selector)
        for item in items:
            metadata = item["metadata"]
            place = (resource.kind, namespace, metadata["name"])
            seen = self._triggers.seen.get(place)
            shown = None if seen is None else seen.version
            if shown == metadata["resourceVersion"]:
                continue
            before, since = self._missed_since.get(place, (shown, self._clock()))
            # An object that changes all the time is never seen at its newest; then what is seen changes, too.
            missed[place] = (shown, since if before == shown else self._clock())
            if resource is resources.MAIL_PUSH_CONFIG and seen is None:
                self._triggers.configs.add(ConfigKey(namespace, metadata["name"]))

"""PushUsers that go without their registrations at mail servers: noted in the namespace, logged, counted, told."""

import asyncio
from typing import Final

import structlog

from mailpush.api.conditions import timestamp
from mailpush.controller import metrics
from mailpush.controller.events import WARNING, Event, EventRecorder, Subject
from mailpush.controller.users.record import UserName
from mailpush.kube import leftovers, resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ForbiddenError, InvalidError, KubeError, NotFoundError
from mailpush.kube.leftovers import LeftOver

RETRY_SECONDS: Final = 10.0
COUNT_SECONDS: Final = 600.0

log = structlog.get_logger(__name__)


class LeftOvers:
    """Notes what is left. `run` writes in the background what is only seen when a PushUser is gone."""

    def __init__(self, kube: Kube, namespaces: tuple[str, ...], events: EventRecorder) -> None:
        self._kube = kube
        self._namespaces = namespaces
        self._events = events
        self._waiting: dict[str, list[LeftOver]] = {}
        self._wake = asyncio.Event()

    async def keep(self, name: UserName) -> None:
        """Notes what a PushUser leaves behind that is about to be let go.

        Raises:
            KubeError: not noted; try again.
        """
        user = await self._kube.find(resources.PUSH_USER, *name)
        if user is not None and (entries := leftovers.left_by(user, timestamp())):
            await self._note(name.namespace, entries)
            self._tell(name, user, entries)

    def gone(self, name: UserName, user: Object) -> None:
        """The PushUser is gone; `user` is the object as it was last."""
        if entries := leftovers.left_by(user, timestamp()):
            self._waiting.setdefault(name.namespace, []).extend(entries)
            self._tell(name, user, entries)
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for namespace in self._namespaces:
                entries = self._waiting.pop(namespace, [])
                try:
                    await self._note(namespace, entries)
                except KubeError as error:
                    log.warning("registrations_left_not_noted", namespace=namespace, error=str(error))
                    self._waiting[namespace] = entries + self._waiting.get(namespace, [])
            try:
                async with asyncio.timeout(RETRY_SECONDS if any(self._waiting.values()) else COUNT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _note(self, namespace: str, entries: list[LeftOver]) -> None:
        try:
            count = await leftovers.change(self._kube, namespace, add=entries)
        except (ForbiddenError, InvalidError, NotFoundError) as error:
            # Of a namespace that is being deleted, or without the right: nobody is to hang because of it.
            log.warning("registrations_left_not_noted", namespace=namespace, error=str(error))
            return
        metrics.REGISTRATIONS_LEFT.labels(namespace).set(count)

    def _tell(self, name: UserName, user: Object, entries: list[LeftOver]) -> None:
        where = ", ".join(f'"{entry.login}" at server "{entry.server}"' for entry in entries)
        log.warning("registration_left", user=f"{name.namespace}/{name.name}", mailboxes=where)
        text = f"nobody could unregister {where}, which still calls; ConfigMap {leftovers.NAME} keeps it: "
        subject = Subject("PushUser", name.namespace, name.name, user["metadata"]["uid"])
        advice = "`kubectl mailpush orphans --take-away` takes it away"
        self._events.record(Event(subject, WARNING, "RegistrationLeft", "Unregister", text + advice))

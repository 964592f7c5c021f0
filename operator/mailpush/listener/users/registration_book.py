"""Where it is noted at which mailboxes a user is registered."""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from mailpush.api.pushuser import Registration
from mailpush.kube.client import Kube
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.user import User
from mailpush.work.status_budget import StatusBudget

FAREWELLS: Final = 8

Changes = Mapping[str, Registration | None]
"""By key; None takes it out."""


class RegistrationBook(Protocol):
    """Where registrations are noted. `farewells`: how many of a pod's users are taken away somewhere at a time."""

    @property
    def farewells(self) -> asyncio.Semaphore: ...

    async def write(self, user: User, changes: Changes, /) -> None:
        """Raises KubeError."""


class StatusBook:
    """Notes them in the PushUser's status: each change is one request that nothing else of the status depends on."""

    def __init__(self, kube: Kube, namespace: str, budget: StatusBudget | None = None) -> None:
        self._kube = kube
        self._namespace = namespace
        self._budget = budget or StatusBudget()
        self.farewells = asyncio.Semaphore(FAREWELLS)

    async def write(self, user: User, changes: Changes) -> None:
        patch = {key: None if one is None else one.manifest() for key, one in changes.items()}
        # With the UID: a PushUser that was deleted and made again under the same name is another one.
        body = {"metadata": {"uid": user.uid}, "status": {"registrations": patch}}
        async with self._budget.note():
            await self._kube.merge_patch(PUSH_USER, self._namespace, user.name, body, subresource="status")


class NoBook:
    """For where nothing outlives the process."""

    def __init__(self) -> None:
        self.farewells = asyncio.Semaphore(FAREWELLS)

    async def write(self, _user: User, _changes: Changes, /) -> None:
        pass

"""An API server in memory, as far as the listener's own parts ask it: get, replace, apply of a status."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from mailpush.kube.errors import ConflictError, KubeError, NotFoundError
from mailpush.kube.resources import Resource

Object = dict[str, Any]


class Finds:
    """`Kube.find` by way of `get`."""

    async def find(self, resource: Resource, namespace: str | None, name: str, **more: Any) -> Object | None:
        try:
            found: Object = await self.get(resource, namespace, name, **more)  # type: ignore[attr-defined]
        except NotFoundError:
            return None
        return found


class FakeKube(Finds):
    """`fail` is raised by the next requests as long as it is set; `on_replace` is called before each replace."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.applied: list[Object] = []
        self.replaced = 0
        self.gets: list[str] = []
        self.fail: KubeError | None = None
        self.on_replace: Callable[[], None] = lambda: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_gate = 0
        """Applies that wait for the gate."""
        self._version = 0

    def put(self, resource: Resource, obj: Object) -> Object:
        """As another client writes it."""
        self._version += 1
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = str(self._version)
        self.objects[resource.plural, obj["metadata"]["name"]] = stored
        return stored

    def remove(self, resource: Resource, name: str) -> None:
        del self.objects[resource.plural, name]

    def read(self, resource: Resource, name: str) -> Object:
        return self.objects[resource.plural, name]

    async def get(self, resource: Resource, namespace: str | None, name: str, **_: Any) -> Object:
        await self._answer()
        self.gets.append(f"{resource.plural}/{name}")
        try:
            return copy.deepcopy(self.objects[resource.plural, name])
        except KeyError:
            raise NotFoundError(404, "NotFound", name) from None

    async def replace(
        self, resource: Resource, namespace: str | None, body: Object, *, answer_seconds: float = 0.0
    ) -> Object:
        self.on_replace()
        await self._answer()
        found = self.objects.get((resource.plural, body["metadata"]["name"]))
        if found is None:
            raise NotFoundError(404, "NotFound", body["metadata"]["name"])
        if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another wrote first")
        self.replaced += 1
        return copy.deepcopy(self.put(resource, body))

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        body: Object,
        *,
        manager: str,
        subresource: str | None = None,
    ) -> Object:
        self.at_gate += 1
        await self.gate.wait()
        self.at_gate -= 1
        await self._answer()
        self.applied.append({**body, "manager": manager, "subresource": subresource})
        return body

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail

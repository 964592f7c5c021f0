"""An API server in memory with PushUsers, which are listed and watched by label; for faults that a real one lacks."""

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

from mailpush import names
from mailpush.kube.client import Object
from mailpush.kube.errors import GoneError, KubeError
from mailpush.kube.resources import Resource
from mailpush.sharding.slots import slot_of
from tests.unit.listener.people import push_user

PAGE = 3


class UserApi:
    """Takes the place of `Kube` for those who read users.

    Attributes:
        selects: whether it selects by label, as a server does and a bad proxy does not.
        longest: the longest selector that it takes.
        lists, watches: the selectors that were asked for.
        slow: part of the selector of watches that bring nothing for now.
    """

    def __init__(self) -> None:
        self.users: dict[int, Object] = {}
        self.selects = True
        self.longest = 100_000
        self.refused: KubeError | None = None
        self.lists: list[str] = []
        self.watches: list[str] = []
        self.open_watches = 0
        self.slow = "nothing"
        self.gate = asyncio.Event()
        self.gate.set()
        self._version = 100
        self._oldest = 0
        self._log: list[tuple[int, Object | None, Object | None]] = []
        """Version, the object before and after."""
        self._news = asyncio.Condition()

    # -- what others do

    async def put_user(self, number: int, *, label: int | None = None, **spec: Any) -> None:
        """Makes the user 1:`number`, or changes it; `label`: the slot that the label says, where it is wrong."""
        labels = {names.CONFIG_LABEL: "main", names.SLOT_LABEL: str(slot_of(1, number) if label is None else label)}
        await self._write(number, push_user(number, metadata={"labels": labels}, **spec))

    async def unlabel(self, number: int) -> None:
        """Takes the labels off."""
        changed = copy.deepcopy(self.users[number])
        changed["metadata"]["labels"] = {}
        await self._write(number, changed)

    async def delete(self, number: int) -> None:
        if number in self.users:
            await self._write(number, None)

    async def forget_history(self) -> None:
        """Ends all watches; a watch from before now is answered with 410."""
        self._version += 1
        async with self._news:
            self._oldest = self._version
            self._news.notify_all()

    async def _write(self, number: int, after: Object | None) -> None:
        self._version += 1
        before = self.users.pop(number, None)
        if after is not None:
            after["metadata"]["resourceVersion"] = str(self._version)
            self.users[number] = after
        self._log.append((self._version, before, after))
        async with self._news:
            self._news.notify_all()

    # -- what is asked

    async def probe(self, *_: Any, **__: Any) -> None:
        if self.refused is not None:
            raise self.refused

    async def pages(
        self, _resource: Resource, _namespace: str, *, label_selector: str, **_: Any
    ) -> AsyncIterator[tuple[list[Object], str]]:
        self.lists.append(label_selector)
        self._check(label_selector)
        version = str(self._version)
        found = [copy.deepcopy(one) for one in self.users.values() if self._fits(one, label_selector)]
        for begin in range(0, max(1, len(found)), PAGE):
            await self.gate.wait()
            yield found[begin : begin + PAGE], version

    async def watch(
        self, _resource: Resource, _namespace: str, version: str, *, label_selector: str, **_: Any
    ) -> AsyncIterator[tuple[str, Object]]:
        self.watches.append(label_selector)
        self._check(label_selector)
        at = int(version)
        begun = self._oldest
        self.open_watches += 1
        try:
            while True:
                while self.slow in label_selector:  # noqa: ASYNC110 - the test sets it, without an event
                    await asyncio.sleep(0.001)
                if at < self._oldest or begun != self._oldest:
                    raise GoneError(410, "Expired", "too old resource version")
                for number, before, after in list(self._log):
                    if number > at:
                        at = number
                        if event := self._event(number, before, after, label_selector):
                            yield event
                bookmark: Object = {"metadata": {"resourceVersion": str(at)}}
                yield "BOOKMARK", bookmark
                async with self._news:
                    if at == self._version or ((not self._log or self._log[-1][0] <= at) and begun == self._oldest):
                        await self._news.wait()
        finally:
            self.open_watches -= 1

    def _check(self, label_selector: str) -> None:
        if self.refused is not None:
            raise self.refused
        if len(label_selector) > self.longest:
            raise KubeError(414, "", "URI Too Long")

    def _event(
        self, version: int, before: Object | None, after: Object | None, label_selector: str
    ) -> tuple[str, Object] | None:
        fitted, fits = (one is not None and self._fits(one, label_selector) for one in (before, after))
        if not fits and fitted and before is not None:
            gone = copy.deepcopy(before)
            gone["metadata"]["resourceVersion"] = str(version)
            return "DELETED", gone
        if fits and after is not None:
            return ("MODIFIED" if fitted else "ADDED"), copy.deepcopy(after)
        return None

    def _fits(self, item: Object, label_selector: str) -> bool:
        labels = item["metadata"]["labels"]
        everybody, _, slots = label_selector.partition(",")
        if labels.get(names.CONFIG_LABEL) != everybody.partition("=")[2]:
            return False
        wanted = slots.partition("(")[2].rstrip(")").split(",") if slots else None
        return wanted is None or not self.selects or labels.get(names.SLOT_LABEL) in wanted

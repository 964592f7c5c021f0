"""Whose Leases a pod sees, and how often it asks for those of others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import KubeError, UnreachableError
from mailpush.kube.resources import Resource
from mailpush.listener.shards.lease_watch import ALL_SECONDS, KNOWN_SECONDS, MOST_WATCHES, LeaseWatch
from mailpush.sharding.leases import LeaseState
from tests.sites.waiting import until


def lease(name: str) -> Object:
    return {"metadata": {"name": name, "resourceVersion": "1"}, "spec": {"holderIdentity": f"{name}/uid/nonce"}}


class Api:
    """Has the Leases `l-0` to `l-29`; watches bring nothing."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.reads: list[str] = []
        self.fail: KubeError | None = None

    async def pages(
        self, _resource: Resource, _namespace: str, *, field_selector: str | None, label_selector: str | None, **_: Any
    ) -> AsyncIterator[tuple[list[Object], str]]:
        if field_selector is not None:
            yield [lease(field_selector.partition("=")[2])], "1"
        else:
            assert label_selector == "mailpush.dev/config=main"
            yield [lease(f"l-{number}") for number in range(30)], "1"

    async def watch(
        self, *_: Any, field_selector: str | None, label_selector: str | None, **__: Any
    ) -> AsyncIterator[tuple[str, Object]]:
        what = field_selector or label_selector or ""
        self.open.append(what)
        try:
            await asyncio.Event().wait()
            yield "BOOKMARK", {}
        finally:
            self.open.remove(what)

    async def list(self, *_: Any, **__: Any) -> tuple[list[Object], str]:
        self.reads.append("all")
        if self.fail is not None:
            raise self.fail
        return [lease(f"l-{number}") for number in range(30)], "1"

    async def find(self, _resource: Resource, _namespace: str, name: str, **_: Any) -> Object | None:
        self.reads.append(name)
        if self.fail is not None:
            raise self.fail
        return None if name == "l-99" else lease(name)


class Scene:
    def __init__(self) -> None:
        self.api = Api()
        self.now = 0.0
        self.known: set[str] = set()
        self.all: dict[str, LeaseState] = {}
        self.watch = LeaseWatch(cast("Kube", self.api), "mail", "main", "l-0", clock=lambda: self.now)
        self.watch.notify(self)

    def observe_lease(self, change: str, obj: Object) -> None:
        self.known.add(obj["metadata"]["name"])

    def forget_lease(self, name: str) -> None:
        self.known.remove(name)

    def leases_listed(self, leases: dict[str, LeaseState]) -> None:
        self.all = leases

    async def watches(self, *names: str) -> None:
        await until(lambda: sorted(self.api.open) == sorted(f"metadata.name={name}" for name in names))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    task = asyncio.create_task(scene.watch.run())
    yield scene
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await until(lambda: scene.api.open == [])


async def test_a_pod_watches_its_own_and_those_of_its_givers_while_they_give(scene: Scene) -> None:
    await scene.watches("l-0")
    scene.watch.watch(frozenset({"l-1", "l-2"}))
    await scene.watches("l-0", "l-1", "l-2")
    assert scene.known == {"l-0", "l-1", "l-2"}
    scene.watch.watch(frozenset({"l-2"}))
    await scene.watches("l-0", "l-2")
    assert scene.known == {"l-0", "l-2"}


async def test_of_very_many_givers_all_leases_are_watched_by_one_watch_and_forgotten_afterwards(scene: Scene) -> None:
    scene.watch.watch(frozenset(f"l-{number}" for number in range(1, MOST_WATCHES + 2)))
    await until(lambda: scene.api.open == ["mailpush.dev/config=main"] and len(scene.known) == 30)
    scene.watch.watch(frozenset({"l-1"}))
    await scene.watches("l-0", "l-1")
    assert scene.known == {"l-0", "l-1"}


async def test_the_lease_of_another_is_read_when_it_is_asked_for_and_not_for_each_question(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailpush.listener.shards.lease_watch.KNOWN_SECONDS", 0.05)
    await scene.watches("l-0")
    for _ in range(5):
        scene.watch.look("l-5")
    scene.watch.look("l-99")
    await until(lambda: "l-5" in scene.known)
    assert scene.api.reads == ["l-5", "l-99"]
    await until(lambda: scene.known == {"l-0"})
    scene.now += KNOWN_SECONDS
    scene.watch.look("l-5")
    await until(lambda: scene.api.reads.count("l-5") == 2)


async def test_one_that_is_watched_meanwhile_is_not_forgotten(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailpush.listener.shards.lease_watch.KNOWN_SECONDS", 0.05)
    await scene.watches("l-0")
    scene.watch.look("l-5")
    await until(lambda: "l-5" in scene.known)
    scene.watch.watch(frozenset({"l-5"}))
    await until(lambda: not scene.watch._looks)
    assert scene.known == {"l-0", "l-5"}


async def test_all_are_read_at_most_every_two_seconds_and_a_failure_is_asked_again(scene: Scene) -> None:
    scene.api.fail = UnreachableError("down")
    scene.watch.look_at_all_soon()
    scene.watch.look_at_all_soon()
    await until(lambda: not scene.watch._looks)
    assert (scene.api.reads, scene.all) == (["all"], {})
    scene.api.fail = None
    scene.now += ALL_SECONDS
    scene.watch.look_at_all_soon()
    await until(lambda: len(scene.all) == 30)
    assert scene.api.reads == ["all", "all"]
    assert len(await scene.watch.all()) == 30

"""Keyed work."""

import asyncio

import pytest

from mailpush.work import keyed as module
from mailpush.work.keyed import KeyedWork
from tests.unit.listener.fakekube import until


class Scene:
    def __init__(self, workers: int = 2) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.gate = asyncio.Event()
        self.fails = 0
        self.work: KeyedWork[str] = KeyedWork(self._do, workers=workers)

    async def _do(self, key: str) -> None:
        self.began.append(key)
        await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise ValueError("a fault")
        self.ended.append(key)


async def test_a_key_is_worked_on_once_at_a_time_and_again_where_it_was_added_meanwhile() -> None:
    scene = Scene()
    scene.work.add("a")
    await until(lambda: scene.began)
    scene.work.add("a")
    scene.work.add("a")
    await asyncio.sleep(0)
    assert scene.began == ["a"]
    scene.gate.set()
    await scene.work.idle()
    assert scene.ended == ["a", "a"]


async def test_so_many_at_a_time_in_the_order_in_which_they_came() -> None:
    scene = Scene(workers=2)
    for key in "abcd":
        scene.work.add(key)
    await until(lambda: len(scene.began) >= 2)
    await asyncio.sleep(0.01)
    assert scene.began == ["a", "b"]
    scene.gate.set()
    await scene.work.idle()
    assert scene.ended == ["a", "b", "c", "d"]


async def test_an_interrupted_key_is_neither_worked_on_nor_waiting() -> None:
    scene = Scene(workers=1)
    for key in "abb":
        scene.work.add(key)
    scene.work.add_later("a", 0.0)
    await until(lambda: scene.began)
    await scene.work.interrupt("b")
    await scene.work.interrupt("a")
    scene.gate.set()
    await asyncio.sleep(0.01)
    assert (scene.began, scene.ended) == (["a"], [])


async def test_a_fault_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    scene = Scene()
    scene.gate.set()
    scene.fails = 2
    scene.work.add("a")
    await until(lambda: scene.ended)
    assert scene.began == ["a", "a", "a"]


async def test_the_earlier_of_two_times_counts() -> None:
    scene = Scene()
    scene.gate.set()
    scene.work.add_later("a", 1000.0)
    scene.work.add_later("a", 0.0)
    scene.work.add_later("a", 1000.0)
    await until(lambda: scene.ended == ["a"])
    await scene.work.close()

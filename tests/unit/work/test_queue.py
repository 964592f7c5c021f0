"""The one work queue: each key once at a time, again where it was added meanwhile, and the event loop never starved."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from mailpush.work import queue as module
from mailpush.work.pace import Backoff
from mailpush.work.queue import WorkQueue
from tests.sites.waiting import until

AT_ONCE = Backoff(0.0, 0.0)


class ExpectedError(Exception):
    pass


class Scene:
    def __init__(self, workers: int = 2) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.gate = asyncio.Event()
        self.fails = 0
        self.most = 0
        self.queue: WorkQueue[str] = WorkQueue("test", workers=workers, expected=(ExpectedError,), retry=AT_ONCE)

    async def do(self, key: str) -> None:
        self.began.append(key)
        self.most = max(self.most, len(self.began) - len(self.ended))
        await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise ValueError("a fault")
        self.ended.append(key)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    it = Scene()
    it.queue.start(it.do)
    yield it
    await it.queue.close()


async def test_a_key_that_is_added_many_times_is_worked_on_once() -> None:
    scene = Scene()
    for key in ("a", "b", "a", "a"):
        scene.queue.add(key)
    assert len(scene.queue) == 2
    scene.gate.set()
    scene.queue.start(scene.do)
    await scene.queue.idle()
    assert scene.ended == ["a", "b"]


async def test_nothing_is_worked_on_before_the_start() -> None:
    scene = Scene()
    scene.gate.set()
    scene.queue.add("a")
    await asyncio.sleep(0.01)
    assert scene.began == []


async def test_a_key_is_worked_on_once_at_a_time_and_again_where_it_was_added_meanwhile(scene: Scene) -> None:
    scene.queue.add("a")
    await until(lambda: scene.began)
    scene.queue.add("a")
    scene.queue.add("a")
    await asyncio.sleep(0)
    assert scene.began == ["a"]
    scene.gate.set()
    await scene.queue.idle()
    assert (scene.ended, scene.most) == (["a", "a"], 1)


async def test_so_many_at_a_time_in_the_order_in_which_they_came(scene: Scene) -> None:
    for key in "abcd":
        scene.queue.add(key)
    await until(lambda: len(scene.began) >= 2)
    await asyncio.sleep(0.01)
    assert scene.began == ["a", "b"]
    scene.gate.set()
    await scene.queue.idle()
    assert scene.ended == ["a", "b", "c", "d"]


async def test_an_interrupted_key_is_neither_worked_on_nor_waiting() -> None:
    scene = Scene(workers=1)
    scene.queue.start(scene.do)
    for key in "abb":
        scene.queue.add(key)
    scene.queue.add_after("a", 0.0)
    await until(lambda: scene.began)
    await scene.queue.interrupt("b")
    await scene.queue.interrupt("a")
    scene.gate.set()
    await asyncio.sleep(0.01)
    assert (scene.began, scene.ended) == (["a"], [])


async def test_a_fault_is_retried_and_others_go_on(scene: Scene) -> None:
    scene.gate.set()
    scene.fails = 2
    scene.queue.add("a")
    scene.queue.add("b")
    await until(lambda: len(scene.ended) == 2)
    assert sorted(scene.began) == ["a", "a", "b", "b"]


async def test_delays_grow_with_each_failure_in_a_row_and_begin_anew_after_a_success() -> None:
    asked: list[int] = []

    class Asked(Backoff):
        def after(self, failures: int, chance: Callable[[], float] = lambda: 0.0) -> float:
            asked.append(failures)
            return 0.0

    results = [ExpectedError("no"), ExpectedError("no"), None, ExpectedError("no"), None]
    queue: WorkQueue[str] = WorkQueue("test", expected=(ExpectedError,), retry=Asked(0.0, 0.0))

    async def work(_: str) -> None:
        if (result := results.pop(0)) is not None:
            raise result

    queue.start(work)
    queue.add("a")
    await until(lambda: len(results) == 2)
    queue.add("a")
    await until(lambda: not results)
    assert asked == [1, 2, 1]


async def test_the_earlier_of_two_times_counts(scene: Scene) -> None:
    scene.gate.set()
    scene.queue.add_after("a", 1000.0)
    scene.queue.add_after("a", 0.0)
    scene.queue.add_after("a", 1000.0)
    await until(lambda: scene.ended == ["a"])


@pytest.mark.parametrize("workers", [1, 4, 32])
async def test_the_event_loop_gets_its_turn_between_the_keys_whatever_the_work_awaits(workers: int) -> None:
    """From Python 3.12 on, `wait_for` makes no task: such a worker held the loop for 100,000 keys."""
    keys = 10_000
    turns = 0
    queue: WorkQueue[int] = WorkQueue("test", workers=workers)

    async def nothing_to_do(_: int) -> None:
        return

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    for key in range(keys):
        queue.add(key)
    other = asyncio.create_task(others())
    queue.start(nothing_to_do)
    await queue.idle()
    other.cancel()
    assert turns >= keys / workers - 2


async def test_it_ticks_while_keys_get_on_and_not_while_all_workers_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_SECONDS", 0.001)
    scene = Scene(workers=1)
    ticks: list[str] = []
    running = asyncio.create_task(scene.queue.run(scene.do, lambda: ticks.append("tick")))
    await until(lambda: len(ticks) > 2)
    scene.queue.add("a")
    await until(lambda: scene.began)
    await asyncio.sleep(0.01)
    before = len(ticks)
    await asyncio.sleep(0.05)
    assert len(ticks) == before
    scene.gate.set()
    await until(lambda: len(ticks) > before)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_cancelled_run_ends_what_was_begun() -> None:
    scene = Scene()
    running = asyncio.create_task(scene.queue.run(scene.do))
    scene.queue.add("a")
    await until(lambda: scene.began)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    scene.gate.set()
    scene.queue.add("b")
    await asyncio.sleep(0.01)
    assert (scene.began, scene.ended) == (["a"], [])


async def test_what_is_added_as_first_goes_before_what_waits_and_is_done_once() -> None:
    scene = Scene(workers=1)
    for key in ("a", "b", "c"):
        scene.queue.add(key)
    scene.queue.add("c", first=True)
    scene.queue.add("d", first=True)
    scene.queue.add("d")
    assert len(scene.queue) == 4
    scene.gate.set()
    scene.queue.start(scene.do)
    await scene.queue.idle()
    assert scene.ended == ["c", "d", "a", "b"]

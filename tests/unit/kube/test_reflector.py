"""The local copy of a collection, with a scripted API for the faults that a real one cannot be made to show."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mailpush.kube.client import Object
from mailpush.kube.errors import GoneError, KubeError, UnreachableError, error_for
from mailpush.kube.reflector import Reflector
from mailpush.kube.resources import POD

Step = tuple[str, Object] | KubeError


def pod(name: str, version: int) -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


class ScriptedApi:
    """Gives the lists, two objects a page, and the watches that it was told, then hangs as a quiet server does."""

    def __init__(self, lists: list[list[Object] | KubeError], watches: list[list[Step]]) -> None:
        self.lists = lists
        self.watches = watches
        self.watched_from: list[str] = []
        self.pages_read = 0
        self.ended = asyncio.Event()

    async def pages(self, *_: Any, **__: Any) -> AsyncIterator[tuple[list[Object], str]]:
        answer = self.lists.pop(0)
        if isinstance(answer, KubeError):
            raise answer
        for begin in range(0, max(1, len(answer)), 2):
            self.pages_read += 1
            yield answer[begin : begin + 2], "100"

    async def watch(self, _resource: Any, _namespace: Any, version: str, **_: Any) -> AsyncIterator[tuple[str, Object]]:
        self.watched_from.append(version)
        if not self.watches:
            self.ended.set()
            await asyncio.Event().wait()
        for step in self.watches.pop(0):
            if isinstance(step, KubeError):
                raise step
            yield step


async def changes(api: ScriptedApi) -> list[tuple[str, str]]:
    return [(kind, item["metadata"]["name"]) for kind, item in await objects(api)]


async def objects(api: ScriptedApi, *, bodies: bool = True) -> list[tuple[str, Object]]:
    """Each change with its object."""
    seen: list[tuple[str, Object]] = []

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    reflector = Reflector(
        api,  # type: ignore[arg-type]
        POD,
        "ns",
        lambda kind, item: seen.append((kind, item)),
        bodies=bodies,
        sleep=at_once,
    )
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(api.ended.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return seen


async def test_what_vanished_while_the_watch_was_broken_is_told_as_absent() -> None:
    api = ScriptedApi([[pod("a", 1), pod("b", 2)], [pod("b", 2)]], [[GoneError(410, "Expired", "too old")]])
    assert await changes(api) == [("ADDED", "a"), ("ADDED", "b"), ("ABSENT", "a")]


@pytest.mark.parametrize(
    ("bodies", "absent"),
    [(True, pod("a", 1)), (False, {"metadata": {"name": "a", "namespace": "ns"}})],
)
async def test_what_vanished_is_told_with_its_object_only_where_that_is_kept(bodies: bool, absent: Object) -> None:
    api = ScriptedApi([[pod("a", 1)], []], [[GoneError(410, "Expired", "too old")]])
    assert await objects(api, bodies=bodies) == [("ADDED", pod("a", 1)), ("ABSENT", absent)]


async def test_each_page_is_dealt_with_before_the_next_and_what_vanished_is_known_after_the_last() -> None:
    before = [pod(name, 1) for name in "abcde"]
    api = ScriptedApi([before, before[1:]], [[GoneError(410, "Expired", "too old")]])
    read = []

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    reflector = Reflector(
        api,  # type: ignore[arg-type]
        POD,
        "ns",
        lambda kind, item: read.append((kind, item["metadata"]["name"], api.pages_read)),
        sleep=at_once,
    )
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(api.ended.wait(), 60)
    task.cancel()
    added = [("ADDED", name, page) for name, page in zip("abcde", (1, 1, 2, 2, 3), strict=True)]
    assert read == [*added, ("ABSENT", "a", 5)]


async def test_a_list_that_breaks_off_between_two_pages_says_of_nothing_that_it_is_absent() -> None:
    class Broken(ScriptedApi):
        async def pages(self, *args: Any, **more: Any) -> AsyncIterator[tuple[list[Object], str]]:
            breaks = len(self.lists) == 2
            async for page in super().pages(*args, **more):
                yield page
                if breaks:
                    raise UnreachableError("reset")

    everything = [pod("a", 1), pod("b", 1), pod("c", 1)]
    api = Broken([everything, everything, everything], [[GoneError(410, "Expired", "too old")]])
    assert await changes(api) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
    assert api.pages_read == 2 + 1 + 2


async def test_nobody_is_given_managed_fields() -> None:
    made = pod("a", 1)
    made["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    changed = pod("a", 105)
    changed["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    seen = await objects(ScriptedApi([[made]], [[("MODIFIED", changed)]]))
    assert [(kind, "managedFields" in item["metadata"]) for kind, item in seen] == [
        ("ADDED", False),
        ("MODIFIED", False),
    ]


async def test_a_long_page_leaves_the_loop_to_others() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    between: list[int] = []

    class OnePage(ScriptedApi):
        async def pages(self, *_: Any, **__: Any) -> AsyncIterator[tuple[list[Object], str]]:
            yield [pod(f"p{number}", 1) for number in range(500)], "100"

    api = OnePage([], [])
    reflector = Reflector(api, POD, "ns", lambda *_: between.append(turns))  # type: ignore[arg-type]
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(api.ended.wait(), 60)
    for one in (task, beside):
        one.cancel()
    await asyncio.wait({task, beside})
    assert max(between.count(turn) for turn in set(between)) <= 50


async def test_a_relist_tells_only_differences() -> None:
    api = ScriptedApi([[pod("a", 1)], [pod("a", 1), pod("b", 3)]], [[GoneError(410, "Expired", "too old")]])
    assert await changes(api) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_broken_stream_goes_on_where_it_ended() -> None:
    api = ScriptedApi([[]], [[("ADDED", pod("a", 105)), UnreachableError("reset")], [("DELETED", pod("a", 106))]])
    assert await changes(api) == [("ADDED", "a"), ("DELETED", "a")]
    assert api.watched_from == ["100", "105", "106"]


async def test_bookmarks_move_the_place_to_go_on_from_and_tell_nothing() -> None:
    bookmark = {"metadata": {"resourceVersion": "120", "annotations": {}}}  # as a real one: without a name
    api = ScriptedApi([[]], [[("BOOKMARK", bookmark)]])
    assert await changes(api) == []
    assert api.watched_from == ["100", "120"]


async def test_an_api_that_cannot_be_read_is_asked_again() -> None:
    api = ScriptedApi([UnreachableError("refused"), UnreachableError("refused"), [pod("a", 1)]], [])
    assert await changes(api) == [("ADDED", "a")]


class SleptError(Exception):
    pass


async def rounds(api: object, most: int) -> list[float]:
    """The pauses of a reflector, which ends after `most` of them."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == most:
            raise SleptError

    with pytest.raises(SleptError):
        await Reflector(api, POD, "ns", lambda *_: None, sleep=sleep).run()  # type: ignore[arg-type]
    return pauses


class FaultyApi:
    """Lists well, and answers each watch with the same fault, or with nothing."""

    def __init__(self, fault: KubeError | None) -> None:
        self.fault = fault
        self.lists = self.watches = 0

    async def pages(self, *_: Any, **__: Any) -> AsyncIterator[tuple[list[Object], str]]:
        self.lists += 1
        yield [], "100"

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[tuple[str, Object]]:
        self.watches += 1
        if self.fault is not None:
            raise self.fault
        return
        yield "ADDED", {}  # makes it a generator


@pytest.mark.parametrize(
    ("fault", "lists"),
    [
        (GoneError(410, "Expired", "too old"), 8),
        (KubeError(500, "InternalError", "etcd is away"), 8),
        (error_for(403, "Forbidden", "no right"), 8),
        (error_for(400, "BadRequest", "invalid resourceVersion"), 8),
        (UnreachableError("reset"), 1),
        (KubeError(429, "TooManyRequests", "later"), 1),
        (None, 1),
    ],
    ids=str,
)
async def test_a_watch_that_fails_each_time_is_asked_for_ever_more_rarely(fault: KubeError | None, lists: int) -> None:
    """An answer of 410 led to 432 lists a second, and an ERROR with another code kept its version for ever."""
    api = FaultyApi(fault)
    pauses = await rounds(api, most=8)
    assert (api.lists, api.watches) == (lists, 8)
    assert pauses[-1] >= 5.0
    assert sum(pauses) >= 10.0


async def test_a_list_and_a_watch_have_the_deadline_of_those_who_wait_for_them() -> None:
    asked: list[Any] = []

    class Asked(FaultyApi):
        async def pages(self, *_: Any, **options: Any) -> AsyncIterator[tuple[list[Object], str]]:
            asked.append(options["answer_seconds"])
            yield [], "100"

        async def watch(self, *_: Any, **options: Any) -> AsyncIterator[tuple[str, Object]]:
            asked.append(options["answer_seconds"])
            raise GoneError(410, "Expired", "too old")
            yield "ADDED", {}

    async def sleep(_: float) -> None:
        raise SleptError

    with pytest.raises(SleptError):
        await Reflector(Asked(None), POD, "ns", lambda *_: None, answer_seconds=4.0, sleep=sleep).run()  # type: ignore[arg-type]
    assert asked == [4.0, 4.0]


async def test_pods_whose_watches_end_together_do_not_list_together() -> None:
    first = {(await rounds(FaultyApi(GoneError(410, "Expired", "too old")), most=1))[0] for _ in range(20)}
    assert len(first) == 20

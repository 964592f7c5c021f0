"""Which users a pod reads, and what it knows of them when slots come and go."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailpush.kube import reflector as reflector_module
from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError, error_for
from mailpush.listener.users import reader as reader_module
from mailpush.listener.users.reader import EVERYTHING, SELECTED, UserReader
from mailpush.listener.users.user import UserKey
from mailpush.listener.users.watch import Users
from mailpush.sharding.slots import SLOTS, slot_of
from mailpush.work.pace import Backoff
from tests.sites.waiting import until
from tests.unit.listener.users.userapi import UserApi

THREE, FOUR, FIVE = (slot_of(1, number) for number in (3, 4, 5))


class Scene:
    """A reader at a server with the users 1:3, 1:4 and 1:5."""

    def __init__(self) -> None:
        self.api = UserApi()
        self.users = Users("main")
        self.users.notify(self)
        self.changed: list[UserKey] = []
        self.told = 0
        self.reader = UserReader(cast("Kube", self.api), "mail", "main", self.users)
        self.reader.notify(self)

    def user_changed(self, key: UserKey) -> None:
        self.changed.append(key)

    def users_listed(self) -> None:
        self.told += 1

    def known(self) -> set[int]:
        """Numbers of the users that are known."""
        found = {number: self.users.get((1, number)) for number in range(1, 60)}
        return {number for number, user in found.items() if user is not None}

    async def knows(self, *numbers: int) -> None:
        await until(lambda: self.known() == set(numbers))

    async def listed(self, *slots: int) -> None:
        await until(lambda: self.reader.listed(slots) == set(slots))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    for number in (3, 4, 5):
        await scene.api.put_user(number)
    task = asyncio.create_task(scene.reader.run())
    yield scene
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await asyncio.sleep(0)
    assert scene.api.open_watches == 0


async def test_only_the_users_of_the_wanted_slots_are_asked_for_and_known(scene: Scene) -> None:
    scene.reader.want(frozenset({THREE, FOUR}))
    await scene.listed(THREE, FOUR)
    assert scene.known() == {3, 4}
    slots = ",".join(map(str, sorted((THREE, FOUR))))
    assert scene.api.lists == [f"mailpush.dev/config=main,mailpush.dev/slot in ({slots})"]


async def test_a_pod_without_slots_can_take_some_once_it_has_seen_that_it_may_read(scene: Scene) -> None:
    assert not scene.reader.ready()
    scene.reader.want(frozenset())
    await until(scene.reader.ready)
    assert scene.api.lists == []
    assert scene.told == 1


async def test_a_pod_that_may_not_read_users_can_take_no_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.api.refused = error_for(403, "Forbidden", "no right")
    slept = asyncio.Event()

    async def sleep(_: float) -> None:
        slept.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    task = asyncio.create_task(scene.reader.run())
    scene.reader.want(frozenset())
    await slept.wait()
    assert not scene.reader.ready()
    task.cancel()


async def test_a_pod_is_ready_when_it_has_read_what_it_had_at_first_and_stays_so(scene: Scene) -> None:
    scene.api.gate.clear()
    scene.reader.want(frozenset({THREE}))
    await until(lambda: scene.api.lists)
    assert not scene.reader.ready()
    scene.api.gate.set()
    await until(scene.reader.ready)
    scene.api.gate.clear()
    scene.reader.want(frozenset({THREE, FOUR}))
    await until(lambda: len(scene.api.lists) == 2)
    assert scene.reader.ready()
    assert scene.reader.listed([THREE, FOUR]) == {THREE}


async def test_slots_that_come_are_read_at_once_and_those_that_were_read_are_not_read_again(scene: Scene) -> None:
    scene.reader.want(frozenset({THREE}))
    await scene.listed(THREE)
    scene.reader.want(frozenset({THREE, FOUR}))
    await scene.listed(THREE, FOUR)
    assert scene.known() == {3, 4}
    assert [selector.partition(" in ")[2] for selector in scene.api.lists] == [f"({THREE})", f"({FOUR})"]


async def test_slots_that_go_are_forgotten_at_once_and_nobody_is_told_of_their_users(scene: Scene) -> None:
    scene.reader.want(frozenset({THREE, FOUR}))
    await scene.listed(THREE, FOUR)
    scene.changed.clear()
    scene.reader.want(frozenset({FOUR}))
    assert scene.known() == {4}
    assert scene.reader.listed([THREE, FOUR]) == {FOUR}
    await scene.api.put_user(3, login="another")
    await scene.api.put_user(4, login="another")
    await until(lambda: scene.changed)
    assert scene.changed == [(1, 4)]


async def test_a_slot_that_comes_back_is_read_anew(scene: Scene) -> None:
    scene.reader.want(frozenset({THREE, FOUR}))
    await scene.listed(THREE, FOUR)
    scene.reader.want(frozenset({FOUR}))
    await scene.api.delete(3)
    scene.reader.want(frozenset({THREE, FOUR}))
    await scene.listed(THREE)
    assert scene.known() == {4}
    await scene.api.put_user(3)
    await scene.knows(3, 4)


async def test_the_last_slot_that_goes_ends_the_watch(scene: Scene) -> None:
    scene.reader.want(frozenset({THREE}))
    await until(lambda: scene.api.open_watches == 1)
    scene.reader.want(frozenset())
    await until(lambda: scene.api.open_watches == 0)


async def test_a_user_deleted_while_the_watch_was_broken_is_known_no_more(scene: Scene) -> None:
    """Mark and sweep: no watch tells of it. kopf listened for such a user for ever."""
    scene.reader.want(frozenset({THREE, FOUR}))
    await scene.listed(THREE, FOUR)
    scene.api.users.pop(3)  # without an event
    scene.changed.clear()
    await scene.api.forget_history()
    await scene.knows(4)
    assert scene.changed == [(1, 3)]


async def test_a_user_whose_label_is_dropped_is_not_this_pods_until_the_operator_puts_it_back(scene: Scene) -> None:
    scene.reader.want(frozenset({THREE}))
    await scene.knows(3)
    await scene.api.unlabel(3)
    await scene.knows()
    await scene.api.put_user(3)
    await scene.knows(3)


async def test_a_label_that_names_another_slot_brings_nobody_into_it(scene: Scene) -> None:
    scene.reader.want(frozenset({THREE}))
    await scene.knows(3)
    with capture_logs() as logs:
        await scene.api.put_user(4, label=THREE)
        await scene.api.put_user(3, login="another")
        await until(lambda: scene.changed[-1] == (1, 3) and len(scene.changed) == 2)
    assert scene.known() == {3}
    assert logs == []


@pytest.mark.parametrize("lists", [True, False], ids=["the list", "the watch"])
async def test_a_selector_that_is_ignored_is_noticed_and_gives_no_users(lists: bool) -> None:
    scene = Scene()
    scene.api.selects = False
    if lists:
        await scene.api.put_user(4)
    await scene.api.put_user(3)
    with capture_logs() as logs:
        task = asyncio.create_task(scene.reader.run())
        scene.reader.want(frozenset({THREE}))
        await scene.knows(3)
        await scene.api.put_user(4)
        await scene.api.put_user(5)
        await scene.api.put_user(3, login="another")
        await until(lambda: len(scene.changed) == 2)
    assert scene.known() == {3}
    assert [one["event"] for one in logs] == ["selector_ignored"]
    task.cancel()


async def test_many_slots_are_split_over_addresses_of_bounded_length(scene: Scene) -> None:
    slots = frozenset({*range(3 * SELECTED - 3), THREE, FOUR, FIVE})
    scene.reader.want(slots)
    await scene.listed(*slots)
    assert scene.known() == {3, 4, 5}
    assert len(scene.api.lists) == -(-len(slots) // SELECTED)
    assert max(map(len, scene.api.lists)) < 4200


async def test_with_very_many_slots_everybody_is_read_and_others_are_passed_over(scene: Scene) -> None:
    slots = frozenset(range(SLOTS)) - {FIVE}
    assert len(slots) > EVERYTHING
    scene.reader.want(slots)
    await scene.listed(*slots)
    assert scene.api.lists == ["mailpush.dev/config=main"]
    assert scene.known() == {3, 4}
    await scene.api.put_user(5, login="another")
    await scene.api.put_user(3, login="another")
    await until(lambda: scene.changed[-1] == (1, 3))
    assert (1, 5) not in scene.changed


async def test_where_the_address_is_too_long_for_a_proxy_everybody_is_read(scene: Scene) -> None:
    scene.api.longest = 40
    with capture_logs() as logs:
        scene.reader.want(frozenset({THREE, FOUR}))
        await scene.listed(THREE, FOUR)
    assert scene.known() == {3, 4}
    assert [one["event"] for one in logs if one["event"] != "watch_failed"] == ["selector_too_long"]


async def test_all_users_are_read_where_callbacks_name_them_by_login(scene: Scene) -> None:
    scene.reader.want(frozenset({THREE}))
    await scene.knows(3)
    assert not scene.reader.knows_all()
    scene.reader.want_everybody(True)
    await until(scene.reader.knows_all)
    assert scene.known() == {3, 4, 5}
    scene.reader.want_everybody(False)
    assert not scene.reader.knows_all()
    assert scene.known() == {3}


async def test_watches_are_put_together_without_another_list(scene: Scene) -> None:
    many = [slot for slot in range(SLOTS) if slot not in {THREE, FOUR, FIVE}][:20]
    slots: set[int] = set()
    for slot in (*many, THREE, FOUR):
        slots.add(slot)
        scene.reader.want(frozenset(slots))
        await scene.listed(slot)
    await until(lambda: scene.api.open_watches <= 1 + reader_module.SPARE_WATCHES)
    lists = len(scene.api.lists)
    assert lists == len(slots)
    await scene.api.put_user(3, login="another")
    await scene.api.delete(4)
    await until(lambda: scene.known() == {3} and scene.users.get((1, 3)).spec.login == "another")  # type: ignore[union-attr]
    assert len(scene.api.lists) == lists


async def merged_while_one_lags(scene: Scene) -> None:
    """The watch of THREE has come less far than that of FOUR when they are put together."""
    scene.reader.want(frozenset({THREE}))
    await until(lambda: scene.api.open_watches == 1)
    scene.api.slow = f"({THREE})"
    await scene.api.put_user(4)
    scene.reader.want(frozenset({THREE, FOUR}))
    await until(lambda: scene.api.open_watches == 2)
    await scene.api.put_user(3, login="changed")
    await scene.api.put_user(4, login="changed")
    await scene.api.delete(4)
    await scene.knows(3)
    scene.changed.clear()
    lists = len(scene.api.lists)
    scene.reader.want(frozenset({THREE, FOUR, FIVE}))
    together = f"({','.join(map(str, sorted((THREE, FOUR))))})"
    await until(lambda: any(together in selector for selector in scene.api.watches) and scene.reader.listed([FIVE]))
    assert len(scene.api.lists) == lists + 1


async def test_what_one_watch_had_not_seen_comes_after_they_are_put_together_and_what_the_other_had_does_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "SPARE_WATCHES", 1)
    await merged_while_one_lags(scene)
    await until(lambda: (1, 3) in scene.changed)
    await scene.api.put_user(3, login="again")
    await until(lambda: scene.users.get((1, 3)).spec.login == "again")  # type: ignore[union-attr]
    assert sorted(scene.changed) == [(1, 3), (1, 3), (1, 5)]
    assert scene.known() == {3, 5}


async def test_who_vanished_after_watches_were_put_together_is_known_no_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "SPARE_WATCHES", 0)
    for slots in ({THREE}, {THREE, FOUR}):
        scene.reader.want(frozenset(slots))
        await scene.listed(*slots)
    await until(lambda: scene.api.open_watches == 2)
    scene.reader.want(frozenset({THREE, FOUR, FIVE}))
    await until(lambda: scene.api.open_watches == 2 and scene.known() == {3, 4, 5})
    scene.api.users.pop(3)  # without an event
    await scene.api.forget_history()
    await scene.knows(4, 5)


async def test_a_takeover_is_read_after_the_server_was_away(scene: Scene) -> None:
    scene.api.refused = UnreachableError("down")
    scene.reader.want(frozenset({THREE}))
    await until(lambda: scene.api.lists)
    scene.api.refused = None
    await scene.knows(3)


NUMBERS = st.integers(1, 12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NUMBERS),
        st.tuples(st.just("delete"), NUMBERS),
        st.tuples(st.just("unlabel"), NUMBERS),
        st.tuples(st.just("want"), st.frozensets(NUMBERS)),
        st.tuples(st.sampled_from(["410", "settle", "turn"]), st.none()),
    ),
    max_size=40,
)


@given(steps=STEPS, spare=st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_the_wanted_slots_users_are_known_as_the_server_has_them(
    steps: list[tuple[str, Any]], spare: int
) -> None:
    async def play() -> None:
        scene = Scene()
        wanted: Iterable[int] = frozenset()

        def right() -> bool:
            there = {
                number: one["metadata"]["resourceVersion"]
                for number, one in scene.api.users.items()
                if one["metadata"]["labels"] and number in wanted
            }
            known = {number: scene.users.get((1, number)) for number in range(1, 13)}
            return there == {number: user.version for number, user in known.items() if user is not None}

        task = asyncio.create_task(scene.reader.run())
        for what, which in steps:
            match what:
                case "put":
                    await scene.api.put_user(which, login=f"u{scene.api._version}")
                case "delete":
                    await scene.api.delete(which)
                case "unlabel" if which in scene.api.users:
                    await scene.api.unlabel(which)
                case "want":
                    wanted = which
                    scene.reader.want(frozenset(slot_of(1, number) for number in which))
                    assert {number for number in range(1, 13) if scene.users.get((1, number))} <= which
                case "410":
                    await scene.api.forget_history()
                case "turn":
                    await asyncio.sleep(0)
                case "settle":
                    await until(right)
        await until(right)
        slots = {slot_of(1, number) for number in wanted}
        await until(lambda: scene.reader.listed(slots) == slots)
        task.cancel()
        await asyncio.wait({task})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "SPARE_WATCHES", spare)
        patch.setattr(reader_module, "SELECTED", 3)
        patch.setattr(reflector_module, "RETRY", Backoff(0.0001, 0.001))
        asyncio.run(play())

"""The order in which a pod stops, acks and starts."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any, cast

import pytest

from mailpush.http.health import Pulse
from mailpush.kube.errors import KubeError, UnreachableError
from mailpush.listener.shards.lease import LeaseKeeper
from mailpush.listener.shards.lease_watch import LeaseWatch
from mailpush.listener.shards.loop import Shards
from mailpush.sharding.copies import newest_copy
from mailpush.sharding.leases import Ack, Holder, LeaseState, lease_annotations
from mailpush.sharding.rights import Right
from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap
from mailpush.sharding.slots import SLOTS
from tests.sites.waiting import until

ME, OTHER = PodRef("mail-push-main-0", "a"), PodRef("mail-push-main-1", "b")


class Keeper:
    """Notes what is published."""

    def __init__(self) -> None:
        self.right = Right(lasts=1000.0)
        self.right.renewed(0.0)
        self.holder = Holder(ME.name, ME.uid, "n")
        self.acks: list[Ack] = []
        self.map_copy = ""
        self.looks = 0

    def ack(self, ack: Ack) -> None:
        self.acks.append(ack)

    def update(self, *, map_copy: str | None = None, **_: Any) -> None:
        self.map_copy = self.map_copy if map_copy is None else map_copy

    def look(self) -> None:
        self.looks += 1


class Supervisor:
    """Notes what is started; stops only when it is let."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.warm: frozenset[int] = frozenset()
        self.may_stop = asyncio.Event()
        self.may_stop.set()

    def warm_slots(self, slots: frozenset[int]) -> None:
        self.warm = slots

    def start_slots(self, slots: Iterable[int], epoch: int) -> None:
        self.running.update(slots)

    async def stop_slots(self, slots: Iterable[int]) -> None:
        await self.may_stop.wait()
        self.running.difference_update(slots)

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        return {}, {}


class Leases:
    """Takes the place of the watch: which are watched and looked at, and what a list of all gives."""

    def __init__(self) -> None:
        self.watched: set[str] = set()
        self.looked: list[str] = []
        self.looked_at_all = 0
        self.found: dict[str, LeaseState] | KubeError = {}

    def watch(self, givers: frozenset[str]) -> None:
        self.watched = set(givers)

    def look(self, pod: str) -> None:
        self.looked.append(pod)

    def look_at_all_soon(self) -> None:
        self.looked_at_all += 1

    async def all(self) -> dict[str, LeaseState]:
        if isinstance(self.found, KubeError):
            raise self.found
        return self.found


class Sends:
    """Notes who has what, and holds slots back."""

    def __init__(self) -> None:
        self.inherited: set[int] = set()
        self.unwritten: set[int] = set()
        self.owned: set[int] = set()

    def own(self, slots: Iterable[int], inherited: Collection[int] = ()) -> None:
        self.owned.update(slots)
        self.inherited.update(inherited)

    def disown(self, slots: Iterable[int]) -> None:
        self.owned.difference_update(slots)

    def held_back(self, slots: Iterable[int]) -> frozenset[int]:
        return frozenset(self.unwritten.intersection(slots))

    async def written(self, slots: Collection[int], seconds: float) -> bool:
        return not self.held_back(slots)


class Scene:
    def __init__(self) -> None:
        self.sends = Sends()
        self.keeper = Keeper()
        self.supervisor = Supervisor()
        self.leases = Leases()
        self.unlisted: set[int] = set()
        self.wanted: set[int] | None = None
        self.moves = 0
        self.now = 1.0
        self.shards = Shards(
            ME,
            "main",
            cast("LeaseKeeper", self.keeper),
            self.supervisor,
            lease_watch=cast("LeaseWatch", self.leases),
            mails=self,
            users=self,
            pulse=Pulse(),
            sends=self.sends,
            clock=lambda: self.now,
        )

    def want(self, slots: frozenset[int]) -> None:
        self.wanted = set(slots)

    def listed(self, slots: Collection[int]) -> frozenset[int]:
        return frozenset(slots) - self.unlisted

    def ownership_changed(self, slots: Collection[int] = ()) -> None:
        self.moves += 1

    def map(self, epoch: int, owners: dict[int, int], *moves: Move, uid: str = "m") -> None:
        """Slots by the index of their pod: 0 is this one, 1 the other."""
        numbers = tuple(owners.get(slot, NONE) for slot in range(SLOTS))
        spec = ShardMap(epoch, False, (ME, OTHER), numbers, moves).to_spec()
        self.shards.map_listed()
        self.shards.observe_map(
            "MODIFIED", {"metadata": {"name": "main", "uid": uid, "resourceVersion": str(epoch)}, "spec": spec}
        )

    def lease(self, pod: PodRef, state: LeaseState) -> None:
        holder = str(state.holder) if state.holder else ""
        self.shards.observe_lease(
            "MODIFIED",
            {
                "metadata": {"name": pod.name, "annotations": lease_annotations(state)},
                "spec": {"holderIdentity": holder},
            },
        )

    def acked(self) -> int:
        return self.keeper.acks[-1].applied_epoch if self.keeper.acks else 0


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    task = asyncio.create_task(scene.shards.run())
    yield scene
    task.cancel()
    await asyncio.wait({task})


def released(through: int, pod: PodRef = OTHER) -> LeaseState:
    return LeaseState(holder=Holder(pod.name, pod.uid, "x"), map_uid="m", released_through=through, capable=True)


async def test_nothing_starts_before_the_lease_is_taken(scene: Scene) -> None:
    scene.map(1, {5: 0})
    await asyncio.sleep(0.01)
    assert not scene.supervisor.running
    scene.shards.begin(LeaseState())
    await until(lambda: scene.supervisor.running == {5})
    assert scene.acked() == 1


@pytest.mark.parametrize("how", ["deleted", "absent", "a backup", "another of the same epoch"])
async def test_while_the_map_is_gone_the_pod_shows_its_own_and_goes_on(scene: Scene, how: str) -> None:
    scene.shards.begin(LeaseState())
    scene.map(7, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    assert not scene.keeper.map_copy
    match how:
        case "a backup":
            scene.map(4, {6: 0}, uid="backup")
        case "another of the same epoch":
            scene.map(7, {6: 0}, uid="backup")
        case _:
            scene.shards.observe_map("DELETED" if how == "deleted" else "ABSENT", {"metadata": {"name": "main"}})
    await until(lambda: scene.leases.looked_at_all)
    assert not scene.keeper.map_copy, "another may show it"
    scene.shards.leases_listed({})
    await until(lambda: scene.keeper.map_copy)
    assert newest_copy([scene.keeper.map_copy], above=0) == scene.shards._map
    assert scene.supervisor.running == {5}
    scene.map(1_000_007, {5: 0}, uid="made again")
    await until(lambda: not scene.keeper.map_copy)


async def test_a_list_out_of_a_stale_cache_ends_with_the_map_that_is_known(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(7, {5: 0})
    scene.map(6, {5: 0})
    scene.map(7, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    assert not scene.keeper.map_copy


async def test_no_slot_starts_before_its_users_are_listed(scene: Scene) -> None:
    scene.unlisted = {5}
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0, 6: 0})
    await until(lambda: scene.acked() == 1 and scene.supervisor.running == {6})
    assert scene.wanted == {5, 6}
    scene.unlisted = set()
    scene.shards.wake()
    await until(lambda: scene.supervisor.running == {5, 6})


async def test_before_the_map_is_read_it_is_not_known_whose_users_are_needed(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    await asyncio.sleep(0.01)
    assert scene.wanted is None
    scene.shards.map_listed()
    await until(lambda: scene.wanted == set())


async def test_users_of_a_slot_that_comes_are_read_and_warm_before_it_is_free(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.lease(OTHER, released(1))
    scene.unlisted = {5}
    scene.map(2, {5: 1, 6: 1}, Move(OTHER, ME, 2, frozenset({5, 6})))
    await until(lambda: scene.wanted == {5, 6} and scene.supervisor.warm == {6})
    scene.unlisted = set()
    scene.shards.wake()
    await until(lambda: scene.supervisor.warm == {5, 6})
    assert not scene.supervisor.running
    scene.lease(OTHER, released(2))
    await until(lambda: scene.supervisor.running == {5, 6} and not scene.supervisor.warm)


async def test_users_of_a_slot_that_goes_are_known_until_it_has_stopped(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0, 6: 0})
    await until(lambda: scene.supervisor.running == {5, 6})
    scene.supervisor.may_stop.clear()
    scene.map(2, {5: 0, 6: 1})
    await asyncio.sleep(0.02)
    assert scene.wanted == {5, 6}
    scene.supervisor.may_stop.set()
    await until(lambda: scene.wanted == {5})


async def test_nothing_starts_without_the_right(scene: Scene) -> None:
    scene.now = 2000.0
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0})
    await until(lambda: scene.acked() == 1)
    assert not scene.supervisor.running


async def test_nothing_starts_from_a_map_below_what_the_lease_said(scene: Scene) -> None:
    scene.shards.begin(LeaseState(map_uid="m", applied_epoch=4, floor=9))
    scene.map(8, {5: 0})
    await until(lambda: scene.acked() == 8)
    assert not scene.supervisor.running
    scene.map(9, {5: 0})
    await until(lambda: scene.supervisor.running == {5})


async def test_a_map_is_acked_only_when_what_it_takes_has_stopped(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0, 6: 0})
    await until(lambda: scene.supervisor.running == {5, 6})
    scene.supervisor.may_stop.clear()
    scene.map(2, {5: 0, 6: 1})
    await asyncio.sleep(0.02)
    assert scene.acked() == 1
    scene.supervisor.may_stop.set()
    await until(lambda: scene.acked() == 2)
    assert scene.supervisor.running == {5}


async def test_a_slot_that_comes_back_while_it_stops_is_started_again(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    scene.supervisor.may_stop.clear()
    scene.map(2, {5: 1})
    await asyncio.sleep(0.01)
    scene.map(3, {5: 0})
    scene.supervisor.may_stop.set()
    await until(lambda: scene.acked() == 3 and scene.supervisor.running == {5})


async def test_a_receiver_starts_when_the_giver_has_released_and_not_before(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.lease(OTHER, released(1))
    scene.map(2, {5: 1}, Move(OTHER, ME, 2, frozenset({5})))
    await until(lambda: scene.acked() == 2)
    assert not scene.supervisor.running
    assert scene.shards.owner_of(5) == OTHER.name
    scene.lease(OTHER, released(2, PodRef(OTHER.name, "its successor")))
    await asyncio.sleep(0.01)
    assert not scene.supervisor.running
    scene.lease(OTHER, released(2))
    await until(lambda: scene.supervisor.running == {5})
    assert scene.shards.owner_of(5) == ME.name


async def test_a_giver_names_the_receiver_once_it_has_stopped(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    scene.supervisor.may_stop.clear()
    scene.map(2, {5: 0}, Move(ME, OTHER, 2, frozenset({5})))
    assert scene.shards.owner_of(5) == ME.name
    scene.supervisor.may_stop.set()
    await until(lambda: scene.shards.owner_of(5) == OTHER.name)
    assert scene.keeper.acks[-1].released_through == 2


async def test_an_unreadable_or_deleted_map_changes_nothing(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    scene.shards.observe_map("MODIFIED", {"metadata": {"uid": "m", "resourceVersion": "2"}, "spec": {"owners": "?"}})
    scene.shards.observe_map("DELETED", {"metadata": {"uid": "m"}})
    await asyncio.sleep(0.01)
    assert scene.supervisor.running == {5}
    assert scene.shards.owner_of(5) == ME.name


async def test_retiring_stops_everything(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    assert await scene.shards.retire(60.0)
    assert not scene.supervisor.running
    scene.map(2, {5: 0, 6: 0})
    await until(lambda: scene.acked() == 2)
    assert not scene.supervisor.running


async def test_draining_waits_until_the_operator_has_moved_all_away(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    assert not await scene.shards.drain(0.01)
    draining = asyncio.create_task(scene.shards.drain(60.0))
    scene.map(2, {5: 0}, Move(ME, OTHER, 2, frozenset({5})))
    assert await draining


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (released(1), True),
        (LeaseState(holder=Holder(OTHER.name, "b", "x"), capable=True, draining=True), False),
        (LeaseState(holder=Holder(OTHER.name, "b", "x"), capable=False), False),
        (LeaseState(capable=True), False),
    ],
)
async def test_who_could_have_the_slots(scene: Scene, state: LeaseState, expected: bool) -> None:
    scene.leases.found = {ME.name: released(1, ME), OTHER.name: state}
    assert await scene.shards.successors() is expected


@pytest.mark.parametrize("another", [True, False])
async def test_where_the_api_does_not_say_another_pod_of_the_map_could_have_them(scene: Scene, another: bool) -> None:
    scene.leases.found = UnreachableError("down")
    assert not await scene.shards.successors()
    numbers = (0, int(another)) * (SLOTS // 2)
    spec = ShardMap(1, False, (ME, OTHER) if another else (ME,), numbers, ()).to_spec()
    scene.shards.observe_map("ADDED", {"metadata": {"name": "main", "uid": "m", "resourceVersion": "1"}, "spec": spec})
    assert await scene.shards.successors() is another


async def test_the_leases_of_givers_are_watched_until_they_have_given(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(1, {5: 1})
    await until(lambda: scene.acked() == 1)
    assert scene.leases.watched == set()
    scene.map(2, {5: 1, 6: 1}, Move(OTHER, ME, 2, frozenset({5})))
    await until(lambda: scene.leases.watched == {OTHER.name})
    scene.lease(OTHER, released(2))
    await until(lambda: scene.supervisor.running == {5} and scene.leases.watched == set())


async def test_a_change_of_ones_own_lease_by_another_is_looked_at_now(scene: Scene) -> None:
    scene.lease(ME, LeaseState(holder=scene.keeper.holder))
    assert scene.keeper.looks == 0
    scene.lease(ME, LeaseState(floor=3))
    assert scene.keeper.looks == 1


async def test_pods_of_the_map_are_known_and_a_lease_says_who_does_not_sign(scene: Scene) -> None:
    """A pod signs unless a process of an older version holds its Lease: what is not known is not believed."""
    assert not scene.shards.stands(OTHER.name)
    assert scene.shards.signs(OTHER.name)
    scene.map(1, {5: 0})
    assert scene.shards.stands(OTHER.name)
    assert not scene.shards.stands("listener-9")
    assert scene.leases.looked == [OTHER.name]
    holder = Holder(OTHER.name, OTHER.uid, "n")
    for lease, signs in (
        (LeaseState(holder=holder, signs=True), True),
        (LeaseState(holder=holder), False),
        (LeaseState(), True),
    ):
        scene.lease(OTHER, lease)
        assert scene.shards.signs(OTHER.name) is signs
        scene.shards.forget_lease(OTHER.name)
        assert scene.shards.signs(OTHER.name)


class Sweeps:
    """Notes what is asked for."""

    def __init__(self) -> None:
        self.left = 0
        self.why: list[str] = []

    def request(self, why: str, *, everywhere: bool = False) -> None:
        self.why.append(why)


async def test_a_lost_pod_brings_a_sweep_and_a_move_does_not(scene: Scene) -> None:
    sweeps = Sweeps()
    scene.shards.notify(sweeps)
    scene.shards.begin(LeaseState())
    scene.map(3, {5: 1, 6: 1, 7: 0}, Move(OTHER, ME, 3, frozenset({5})))
    scene.lease(OTHER, released(3))
    scene.map(4, {5: 0, 6: 1, 7: 0})
    assert sweeps.why == [], "it has given it"
    scene.map(5, {5: 0, 6: 0, 7: 0})
    assert sweeps.why == ["pod_lost"]
    assert scene.shards.pods() == 2


async def test_what_this_pod_loses_itself_brings_none(scene: Scene) -> None:
    sweeps = Sweeps()
    scene.shards.notify(sweeps)
    scene.map(3, {5: 0})
    scene.map(4, {5: 1})
    assert sweeps.why == []


async def test_a_slot_whose_sends_are_not_written_is_not_given_away_yet(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(3, {5: 0, 6: 0})
    await until(lambda: scene.supervisor.running == {5, 6})
    scene.sends.unwritten = {5}
    scene.map(4, {5: 0, 6: 0}, Move(ME, OTHER, 4, frozenset({5, 6})))
    await until(lambda: scene.supervisor.running == {5})
    assert scene.sends.owned == {5}
    assert scene.acked() < 4
    scene.sends.unwritten = set()
    scene.shards.wake()
    await until(lambda: not scene.supervisor.running)
    await until(lambda: scene.acked() == 4)


async def test_what_was_taken_without_a_move_is_stopped_at_once(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(3, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    scene.sends.unwritten = {5}
    scene.map(4, {5: 1})
    await until(lambda: not scene.supervisor.running)


async def test_a_process_that_ends_holds_nothing_back(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(3, {5: 0})
    await until(lambda: scene.supervisor.running == {5})
    scene.sends.unwritten = {5}
    assert await scene.shards.retire(30)


async def test_how_a_slot_was_got_is_known_to_who_sends(scene: Scene) -> None:
    scene.shards.begin(LeaseState())
    scene.map(3, {5: 1, 6: 0}, Move(OTHER, ME, 3, frozenset({5})))
    scene.lease(OTHER, released(3))
    await until(lambda: scene.supervisor.running == {5, 6})
    assert scene.sends.inherited == {6}

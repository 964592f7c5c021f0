"""What is written into a PushUser's status, and when it is not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from mailpush.api.meta import Condition
from mailpush.api.pushuser import PushUserStatus
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, UnreachableError
from mailpush.listener.users import status_writer as status_module
from mailpush.listener.users.status import Said, UserOutcome, says, status_of
from mailpush.listener.users.status_writer import StatusWriter
from mailpush.listener.users.user import User, UserKey
from mailpush.sharding.slots import SLOTS
from mailpush.work.pace import Backoff, Pace
from mailpush.work.status_budget import StatusBudget
from tests.sites.fakekube import FakeKube
from tests.sites.waiting import until
from tests.unit.listener.people import Permitted, user

POD = "mail-push-main-0"
GOOD = UserOutcome("True", "Registered", "it calls", "dovecot", 5)
BAD = UserOutcome("False", "ServerUnreachable", "refused", "dovecot", 5)
NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
KEY = (1, 3)
WRITERS = 8


def with_status(one: User, status: dict[str, Any]) -> User:
    return replace(one, status=PushUserStatus.model_validate(status))


def test_the_status_of_a_listening_user() -> None:
    assert status_of(user(metadata={"generation": 4}), GOOD, POD, [], NOON) == {
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "observedGeneration": 4,
                "lastTransitionTime": "2026-11-24T12:00:00Z",
                "reason": "Registered",
                "message": "it calls",
            }
            for kind in ("Listening", "Ready")
        ],
        "pod": POD,
        "mechanism": "dovecot",
        "permanent": True,
        "reason": "Registered",
        "ownerEpoch": 5,
    }


def test_a_denied_user_has_no_mechanism_and_is_not_permanent() -> None:
    status = status_of(user(), UserOutcome("False", "Suspended", "m", None, 5), POD, [], NOON)
    assert "mechanism" not in status
    assert (status["permanent"], status["reason"]) == (False, "Suspended")


def test_unknown_is_not_ready() -> None:
    conditions = status_of(user(), UserOutcome("Unknown", "UnregisterFailed", "m", "dovecot", 5), POD, [], NOON)[
        "conditions"
    ]
    assert [(one["type"], one["status"]) for one in conditions] == [("Listening", "Unknown"), ("Ready", "False")]


def test_the_time_of_the_last_change_stays_while_only_the_reason_changes() -> None:
    before = [
        Condition(
            type="Listening", status="False", last_transition_time="2026-11-24T08:00:00Z", reason="r", message=""
        ),
        Condition(type="Ready", status="True", last_transition_time="2026-11-24T08:00:00Z", reason="r", message=""),
    ]
    conditions = status_of(user(), BAD, POD, before, NOON)["conditions"]
    assert [one["lastTransitionTime"] for one in conditions] == ["2026-11-24T08:00:00Z", "2026-11-24T12:00:00Z"]


def test_a_status_that_says_it_already_is_recognised_whatever_its_epoch() -> None:
    one = user()
    told = with_status(one, status_of(one, GOOD, POD, [], NOON))
    assert says(told, replace(GOOD, epoch=9), POD)
    assert not says(told, GOOD, "mail-push-main-1")
    assert not says(told, BAD, POD)
    assert not says(replace(told, generation=2), GOOD, POD)
    assert not says(one, GOOD, POD)


def budget(per_second: float = 10_000, at_once: int = WRITERS) -> StatusBudget:
    """One that is no limit unless told otherwise."""
    found = StatusBudget(pace=Pace(per_second, 1))
    found.at_once = at_once
    return found


class Scene:
    def __init__(self) -> None:
        self.kube = FakeKube()
        self.users: dict[UserKey, User] = {KEY: user()}
        self.permission = Permitted()
        self.writer = StatusWriter(cast("Kube", self.kube), "ns", POD, self.users, self.permission, budget=budget())

    def written(self) -> list[str]:
        return [one["status"]["reason"] for one in self.kube.applied]


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(status_module, "RETRY", Backoff(0.001, 0.001))
    scene = Scene()
    task = asyncio.create_task(scene.writer.run())
    yield scene
    task.cancel()
    await asyncio.wait({task})


async def test_it_is_applied_as_the_listeners_with_the_uid_of_the_object(scene: Scene) -> None:
    scene.writer.submit(KEY, GOOD)
    await until(scene.written)
    body = scene.kube.applied[0]
    assert (body["manager"], body["subresource"]) == ("mail-push-listener", "status")
    assert body["metadata"] == {"name": "main-1-3", "uid": "uid-3"}


async def test_what_was_not_written_yet_is_superseded(scene: Scene) -> None:
    scene.kube.gate.clear()
    scene.writer.submit(KEY, GOOD)
    await until(lambda: scene.kube.at_gate)
    for reason in ("One", "Two", "Three"):
        scene.writer.submit(KEY, replace(BAD, reason=reason))
    scene.kube.gate.set()
    await until(lambda: len(scene.written()) == 2)
    await until(lambda: not scene.writer._pending and not scene.writer._in_flight)
    assert scene.written() == ["Registered", "Three"]


async def test_what_is_said_already_is_not_written_again(scene: Scene) -> None:
    scene.users[KEY] = with_status(user(), status_of(user(), GOOD, POD, [], NOON))
    scene.writer.submit(KEY, GOOD)
    scene.users[(1, 4)] = user(4)
    scene.writer.submit((1, 4), BAD)
    await until(scene.written)
    assert scene.written() == ["ServerUnreachable"]


async def test_a_watch_that_lags_does_not_keep_an_outdated_status(scene: Scene) -> None:
    scene.users[KEY] = with_status(user(), status_of(user(), GOOD, POD, [], NOON))
    scene.writer.submit(KEY, BAD)
    await until(lambda: scene.written() == ["ServerUnreachable"])
    scene.writer.submit(KEY, GOOD)  # the watch still shows the status of before
    await until(lambda: scene.written() == ["ServerUnreachable", "Registered"])


async def test_what_another_wrote_over_it_is_put_right(scene: Scene) -> None:
    scene.writer.submit(KEY, GOOD)
    await until(lambda: scene.written() == ["Registered"])
    lost = UserOutcome("Unknown", "OwnerLost", "m", "dovecot", 5)
    scene.users[KEY] = with_status(user(), status_of(user(), lost, POD, [], NOON))
    scene.writer.submit(KEY, GOOD)
    await until(lambda: scene.written() == ["Registered", "Registered"])


class Answering(FakeKube):
    """An API server that stamps what is applied; it shows the watch nothing by itself. `most`: applies at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 100
        self.most = 0

    async def apply(self, *arguments: Any, **more: Any) -> dict[str, Any]:
        self.most = max(self.most, self.at_gate + 1)
        body = await super().apply(*arguments, **more)
        self.version += 1
        return {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}


async def test_one_change_of_the_settings_costs_a_write_for_each_user_however_often_it_is_reported(
    scene: Scene,
) -> None:
    """The operator writes its own condition for each, and each of its writes led to another of the same words."""
    kube, denied = Answering(), UserOutcome("False", "ClientNotAllowed", "m", None, 5)
    scene.kube = scene.writer._kube = kube  # type: ignore[assignment]
    scene.users.clear()
    kube.gate.clear()
    numbers = range(1, 1001)
    for number in numbers:
        before = status_of(user(number), GOOD, POD, [], NOON)
        scene.users[1, number] = replace(with_status(user(number), before), version="50")
        scene.writer.submit((1, number), denied)
    await until(lambda: kube.at_gate == WRITERS)
    kube.gate.set()
    await until(lambda: len(kube.applied) == len(numbers))
    await until(lambda: not scene.writer._pending and not scene.writer._in_flight)
    for version in ("60", "70", "80"):  # what the operator wrote before comes through the watch only now
        for key, one in scene.users.items():
            scene.users[key] = replace(one, version=version)
            scene.writer.submit(key, replace(denied))
        await until(lambda: not scene.writer._pending and not scene.writer._in_flight)
    for key, one in scene.users.items():  # and at last what was written here
        said = with_status(one, status_of(one, denied, POD, one.status.conditions, NOON))
        scene.users[key] = replace(said, version="5000")
        scene.writer.submit(key, denied)
    await until(lambda: not scene.writer._pending and not scene.writer._in_flight)
    assert (len(kube.applied), kube.most) == (len(numbers), WRITERS)


@pytest.mark.parametrize(("version", "generation"), [("5000", 1), ("60", 2)])
async def test_what_came_after_a_write_of_ours_is_answered_by_another(version: str, generation: int) -> None:
    writer = StatusWriter(cast("Kube", Answering()), "ns", POD, {KEY: user()}, Permitted(), budget=budget())
    kube, users = cast("Answering", writer._kube), cast("dict[UserKey, User]", writer._users)
    task = asyncio.create_task(writer.run())
    writer.submit(KEY, GOOD)
    await until(lambda: len(kube.applied) == 1 and not writer._in_flight)
    users[KEY] = replace(user(), version=version, generation=generation)  # somebody has emptied it, or the spec changed
    writer.submit(KEY, GOOD)
    await until(lambda: len(kube.applied) == 2)
    task.cancel()
    await asyncio.wait({task})


async def test_a_later_owner_is_not_written_over(scene: Scene) -> None:
    scene.users[KEY] = with_status(user(), {"pod": "mail-push-main-1", "ownerEpoch": 6})
    scene.users[(1, 4)] = user(4)
    scene.writer.submit(KEY, GOOD)
    scene.writer.submit((1, 4), BAD)
    await until(scene.written)
    assert scene.written() == ["ServerUnreachable"]


async def test_a_pod_without_its_right_writes_nothing(scene: Scene) -> None:
    scene.permission.may = False
    scene.writer.submit(KEY, GOOD)
    await asyncio.sleep(0.02)
    assert scene.written() == []
    scene.permission.may = True
    await until(scene.written)


async def test_released_users_are_dropped_and_what_is_under_way_is_waited_for(scene: Scene) -> None:
    scene.users[(1, 4)] = user(4)
    scene.kube.gate.clear()
    scene.writer.submit(KEY, GOOD)
    await until(lambda: scene.kube.at_gate)
    scene.writer.submit(KEY, BAD)
    dropping = asyncio.create_task(scene.writer.drop([KEY]))
    await asyncio.sleep(0.01)
    assert not dropping.done()
    scene.kube.gate.set()
    await dropping
    scene.writer.submit((1, 4), GOOD)
    await until(lambda: len(scene.written()) == 2)
    assert [one["metadata"]["name"] for one in scene.kube.applied] == ["main-1-3", "main-1-4"]


async def test_trouble_with_the_api_is_waited_out(scene: Scene) -> None:
    scene.kube.fail = UnreachableError("down")
    scene.writer.submit(KEY, GOOD)
    await asyncio.sleep(0.02)
    scene.kube.fail = None
    await until(lambda: scene.written() == ["Registered"])


async def test_a_user_that_is_another_object_by_now_is_let_go(scene: Scene) -> None:
    scene.kube.fail = ConflictError(409, "Conflict", "the UID differs")
    scene.writer.submit(KEY, GOOD)
    await until(lambda: not scene.writer._pending and not scene.writer._in_flight)
    scene.kube.fail = None
    scene.users[(1, 4)] = user(4)
    scene.writer.submit((1, 4), GOOD)
    await until(scene.written)
    assert [one["metadata"]["name"] for one in scene.kube.applied] == ["main-1-4"]


def test_the_source_of_the_credentials_stands_in_the_status_and_when_they_worked() -> None:
    told = replace(GOOD, credentials=("storage", int(NOON.timestamp())))
    status = status_of(user(), told, POD, [], NOON)
    assert status["credentials"] == {"source": "storage", "lastWorked": "2026-11-24T12:00:00Z"}
    assert status_of(user(), replace(GOOD, credentials=("master", 0)), POD, [], NOON)["credentials"] == {
        "source": "master"
    }
    assert says(with_status(user(), status), told, POD)
    assert not says(with_status(user(), status), replace(told, credentials=("userSecret", 0)), POD)


def test_a_later_login_is_said_once_a_day_and_what_another_pod_has_said_stays() -> None:
    told = Said()
    status = {"credentials": {"source": "storage", "lastWorked": "2026-11-24T12:00:00Z"}}
    noon = int(NOON.timestamp())
    told.see(with_status(user(), status), "storage")
    assert told.now == ("storage", noon)
    told.worked(noon + 80_000)
    assert told.now == ("storage", noon)
    told.worked(noon + 90_000)
    assert told.now == ("storage", noon + 90_000)
    told.see(with_status(user(), status), "storage")
    assert told.now == ("storage", noon + 90_000)
    told.see(with_status(user(), status), "userSecret")
    assert told.now == ("userSecret", 0)


async def test_what_is_most_wrong_is_written_first(scene: Scene) -> None:
    """After a takeover statuses were right in the order in which they came, behind sentences that hardly differ."""
    told = status_of(user(), GOOD, POD, [], NOON)
    elsewhere = told | {"pod": "mail-push-main-7"}
    deaf = status_of(user(), BAD, POD, [], NOON)
    statuses: dict[int, dict[str, Any]] = {4: told, 5: elsewhere, 6: deaf, 7: {}}
    scene.users = {(1, number): with_status(user(number), status) for number, status in statuses.items()}
    scene.writer = StatusWriter(
        cast("Kube", scene.kube), "ns", POD, scene.users, scene.permission, budget=budget(at_once=1)
    )
    for number in statuses:
        scene.writer.submit((1, number), replace(GOOD, message="it calls, and how"))
    task = asyncio.create_task(scene.writer.run())
    await until(lambda: len(scene.written()) == len(statuses))
    task.cancel()
    assert [one["metadata"]["name"] for one in scene.kube.applied] == ["main-1-6", "main-1-7", "main-1-5", "main-1-4"]


async def test_what_is_said_already_takes_no_turn_from_what_is_to_be_written(scene: Scene) -> None:
    """A pod that came back looked at all its users at the pace of writing, though it had nothing to write."""
    turns = 0

    class Counted(StatusBudget):
        async def turn(self) -> None:
            nonlocal turns
            turns += 1

    scene.writer._budget = Counted()
    for number in range(4, 1004):
        scene.users[1, number] = with_status(user(number), status_of(user(number), GOOD, POD, [], NOON))
        scene.writer.submit((1, number), GOOD)
    scene.writer.submit(KEY, BAD)
    await until(lambda: not scene.writer._pending and not scene.writer._in_flight)
    assert (scene.written(), turns) == (["ServerUnreachable"], 1)


async def test_what_has_changed_back_while_it_waited_for_its_turn_is_not_written(scene: Scene) -> None:
    gate = asyncio.Event()

    class Slow(StatusBudget):
        async def turn(self) -> None:
            await gate.wait()

    scene.writer._budget = Slow()
    scene.users[KEY] = with_status(user(), status_of(user(), GOOD, POD, [], NOON))
    scene.writer.submit(KEY, BAD)
    await asyncio.sleep(0.01)
    scene.writer.submit(KEY, GOOD)
    gate.set()
    await until(lambda: not scene.writer._pending and not scene.writer._in_flight)
    assert scene.written() == []


async def test_a_pods_part_of_the_budget_is_its_part_of_the_slots(scene: Scene) -> None:
    shares: list[float] = []

    class Noted(StatusBudget):
        def share(self, part: float) -> None:
            shares.append(part)

    scene.writer._budget = Noted()
    scene.writer.owns(SLOTS // 4)
    scene.writer.owns(0)
    assert shares == [0.25, 0]

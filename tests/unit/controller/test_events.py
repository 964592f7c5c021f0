"""Which changes are told as Kubernetes Events, and how often they are written."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from mailpush.api.conditions import Verdict
from mailpush.controller.events import (
    BURST,
    LONGEST_NOTE,
    WAITING,
    Event,
    EventRecorder,
    Subject,
    condition_changes,
    new_event,
)
from mailpush.controller.users.events import decision_news, listening_news
from mailpush.controller.users.record import UserName, UserRecord
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import NotFoundError, UnreachableError
from tests.unit.controller.users.test_reconcile import push_user, said

MAIN = Subject("MailPushConfig", "mail", "main", "uid-of-main")
NAME = UserName("mail", "main-1-3")


def event_of(note: str = "so it is", reason: str = "PodLost") -> Event:
    return Event(MAIN, "Warning", reason, "Fence", note)


class Writes:
    """What is written to the API server; `gone` Events have passed their hour."""

    def __init__(self) -> None:
        self.created: list[Object] = []
        self.raised: list[tuple[str, int]] = []
        self.gone = False
        self.away = False
        self.now = 0.0
        self.events = EventRecorder(cast("Kube", self), "operator-1", clock=lambda: self.now)

    async def create(self, _resource: Any, _namespace: str, body: Object) -> Object:
        if self.away:
            raise UnreachableError("away")
        self.created.append(body)
        return body

    async def merge_patch(self, _resource: Any, _namespace: str, name: str, body: Object) -> Object:
        if self.gone:
            raise NotFoundError(404, "NotFound", "gone")
        self.raised.append((name, body["series"]["count"]))
        return body

    async def write(self, *events: Event) -> None:
        """Tells them, and returns when all have been worked on."""
        running = asyncio.create_task(self.events.run())
        self.events.record(*events)
        for _ in range(5 + 5 * len(events)):
            await asyncio.sleep(0)
        running.cancel()


async def test_what_happens_again_raises_the_count_of_the_event_that_is_there() -> None:
    writes = Writes()
    await writes.write(event_of(), event_of(), event_of())
    (event,) = writes.created
    assert writes.raised == [(event["metadata"]["name"], 2), (event["metadata"]["name"], 3)]
    await writes.write(event_of("something else"))
    assert len(writes.created) == 2


async def test_an_event_that_is_gone_or_long_ago_is_written_anew() -> None:
    writes = Writes()
    await writes.write(event_of())
    writes.gone = True
    await writes.write(event_of())
    writes.now = 601.0
    await writes.write(event_of())
    assert (len(writes.created), writes.raised) == (3, [])


async def test_an_api_server_that_is_away_costs_the_event_and_nothing_else() -> None:
    writes = Writes()
    writes.away = True
    await writes.write(event_of())
    writes.away = False
    await writes.write(event_of("later"))
    assert [event["note"] for event in writes.created] == ["later"]


async def test_a_change_that_concerns_everybody_writes_a_bounded_number() -> None:
    writes = Writes()
    many = [event_of(f"user {number}") for number in range(1000)]
    running = asyncio.create_task(writes.events.run())
    writes.events.record(*many)  # returns at once: what has no room is dropped
    assert writes.events._queue.qsize() == WAITING
    for _ in range(5 * WAITING):
        await asyncio.sleep(0)
    assert len(writes.created) == BURST, "the clock stands still, so no further one has its turn"
    running.cancel()


def test_an_event_is_as_the_api_server_takes_it() -> None:
    event = new_event(event_of("ü" * 1000), "operator-1", datetime(2026, 1, 2, 3, 4, 5, 6, UTC))
    assert len(event["note"].encode()) <= LONGEST_NOTE
    assert set(event["note"]) == {"ü"}
    assert event["eventTime"] == "2026-01-02T03:04:05.000006Z"
    assert event["regarding"]["uid"] == "uid-of-main"


def condition(type_: str, status: str, reason: str, message: str = "m") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


VALID, READY = condition("ConfigurationValid", "True", "Valid"), condition("Ready", "True", "Listening")
WELL = condition("TransportDegraded", "False", "Delivering")
ILL = condition("TransportDegraded", "True", "TargetsFailing")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [VALID, condition("Ready", "False", "NoneCapable")], [("Normal", "ConfigurationValid")]),
        ([VALID], [VALID], []),
        ([VALID], [{**VALID, "message": "another"}], []),
        ([VALID], [condition("ConfigurationValid", "False", "SecretNotFound")], [("Warning", "SecretNotFound")]),
        (
            [VALID, READY],
            [condition("ConfigurationValid", "False", "Gone"), condition("Ready", "False", "Gone")],
            [("Warning", "Gone")],
        ),
        ([condition("Ready", "False", "NoneCapable")], [READY], [("Normal", "Ready")]),
        ([READY], [condition("Ready", "False", "Assigning")], [("Normal", "Assigning")]),
        ([], [condition("Balanced", "False", "Moving")], []),
        ([VALID], [condition("ConfigurationValid", "Unknown", "NotRead")], []),
        ([], [condition("ConfigurationValid", "False", "SecretNotFound")], [("Warning", "SecretNotFound")]),
        ([], [WELL], []),
        ([WELL], [ILL], [("Warning", "TargetsFailing")]),
        ([], [ILL], [("Warning", "TargetsFailing")]),
        ([ILL], [{**ILL, "message": "by other pods"}], []),
        ([ILL], [WELL], [("Normal", "Delivering")]),
    ],
)
def test_a_configuration_that_changes_its_word_is_told(
    before: list[dict[str, Any]], after: list[dict[str, Any]], told: list[tuple[str, str]]
) -> None:
    assert [(one.type, one.reason) for one in condition_changes(MAIN, before, after)] == told


def record(listening: tuple[str, str] | None, accepted: tuple[str, str] | None = None, **metadata: Any) -> UserRecord:
    body = push_user(**metadata)
    conditions = [said("Listening", *listening)] if listening else []
    conditions += [said("Accepted", *accepted)] if accepted else []
    body["status"] = {"conditions": conditions}
    return UserRecord.of(body)


REGISTERED, UNREACHABLE, LOST = ("True", "Registered"), ("False", "ServerUnreachable"), ("Unknown", "OwnerLost")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (record(None), record(REGISTERED), None),
        (record(REGISTERED), record(REGISTERED), None),
        (record(REGISTERED), record(UNREACHABLE), ("Warning", "ServerUnreachable")),
        (record(UNREACHABLE), record(UNREACHABLE), None),
        (record(REGISTERED), record(LOST), ("Warning", "OwnerLost")),
        (record(LOST), record(REGISTERED), ("Normal", "Listening")),
        (record(REGISTERED), record(("False", "Suspended")), None),
        (record(REGISTERED), record(("False", "ClientNotAllowed"), ("False", "ClientNotAllowed")), None),
        (record(REGISTERED), record(UNREACHABLE, deletionTimestamp="2026-01-01T00:00:00Z"), None),
        (record(REGISTERED), record(UNREACHABLE, uid="another"), None),
    ],
)
def test_a_user_who_is_no_longer_listened_for_is_told_and_again_when_back(
    before: UserRecord, after: UserRecord, told: tuple[str, str] | None
) -> None:
    news = listening_news(NAME, before, after)
    assert (news and (news.type, news.reason)) == told


@pytest.mark.parametrize(
    ("before", "status", "reason", "told"),
    [
        (None, "True", "Accepted", ("Normal", "Accepted")),
        (None, "False", "ClientNotAllowed", ("Warning", "ClientNotAllowed")),
        (("True", "Accepted"), "False", "Suspended", ("Normal", "Suspended")),
        (("True", "Accepted"), "True", "Accepted", None),
        (("False", "Suspended"), "True", "Accepted", ("Normal", "Accepted")),
        (("False", "Suspended"), "False", "NotRegistered", ("Normal", "NotRegistered")),
    ],
)
def test_a_decision_that_comes_out_otherwise_is_told(
    before: tuple[str, str] | None, status: str, reason: str, told: tuple[str, str] | None
) -> None:
    news = decision_news(NAME, record(None, before), Verdict("Accepted", status, reason, "m"))
    assert (news and (news.type, news.reason)) == told

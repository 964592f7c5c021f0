"""What the operator makes of PushUsers: records, finalizers, lost owners."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mailpush import names
from mailpush.api.conditions import Verdict
from mailpush.controller.owner import ConfigKey
from mailpush.controller.users.owner_lost import NO_PODS, abandoned_verdicts, lost_verdicts, unheard_verdicts
from mailpush.controller.users.record import UserName, UserRecord, wanted_labels
from mailpush.controller.users.store import UserStore
from mailpush.controller.users.wanted import wanted_finalizer
from mailpush.controller.wakes import Wakes
from mailpush.kube.client import Kube
from mailpush.sharding.slots import slot_of
from tests.unit.controller.builders import Keys

MAIN = ConfigKey("mail", "main")


def push_user(number: int = 3, version: str = "10", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "mail",
            "name": f"main-1-{number}",
            "uid": f"uid-{number}",
            "resourceVersion": version,
            "generation": 1,
            **metadata,
        },
        "spec": {"configRef": {"name": "main"}, "contextId": 1, "userId": number, "clients": ["phone"]},
    }


def said(type_: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def record(mechanism: str = "dovecot", listening: tuple[str, str] | None = None, **metadata: Any) -> UserRecord:
    body = push_user(**metadata)
    body["status"] = {"mechanism": mechanism}
    if listening:
        body["status"]["conditions"] = [said("Listening", *listening)]
    return UserRecord.of(body)


HELD: dict[str, Any] = {"finalizers": [names.FINALIZER]}
DELETED: dict[str, Any] = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
REGISTERED, GONE, FAILED = ("True", "Registered"), ("False", "Unregistered"), ("False", "ServerUnreachable")
FINALIZERS: tuple[tuple[str, UserRecord, bool, float, bool | None], ...] = (
    ("not registered yet", record(), True, 0, None),
    ("registered", record(listening=REGISTERED), True, 0, True),
    ("by IDLE there is nothing to take back", record("imapidle", REGISTERED), True, 0, None),
    ("registered and held", record(listening=REGISTERED, **HELD), True, 0, None),
    ("a deleted object takes no new finalizer", record(listening=REGISTERED, **DELETED), True, 0, None),
    ("deleted, the pod has not said anything yet", record(listening=REGISTERED, **HELD, **DELETED), True, 5, None),
    ("deleted, the server is away", record(listening=FAILED, **HELD, **DELETED), True, 59, None),
    ("deleted, and unregistered", record(listening=GONE, **HELD, **DELETED), True, 0, False),
    ("deleted a minute ago", record(listening=FAILED, **HELD, **DELETED), True, 60, False),
    ("before an uninstall: unregistered, not deleted", record(listening=GONE, **HELD), True, 0, False),
    ("its MailPushConfig is gone", record(listening=REGISTERED, **HELD), False, 0, False),
    ("a server that is away is no reason", record(listening=FAILED, **HELD), True, 0, None),
)


@pytest.mark.parametrize(("name", "user", "exists", "waited", "wanted"), FINALIZERS)
def test_the_finalizer_stays_as_long_as_a_registration_may_be_there(
    name: str, user: UserRecord, exists: bool, waited: float, wanted: bool | None
) -> None:
    assert wanted_finalizer(user, config_exists=exists, waited=waited) is wanted, name


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        (record(listening=REGISTERED), None),
        (record(listening=REGISTERED, **HELD), False),
        (record(listening=REGISTERED, **HELD, **DELETED), False),
        (record(listening=FAILED, **HELD, **DELETED), False),
    ],
)
def test_with_the_policy_leave_nobody_is_kept_by_a_finalizer(user: UserRecord, wanted: bool | None) -> None:
    assert wanted_finalizer(user, config_exists=True, waited=0, leaves=True) is wanted


LOST = (
    (None, False),
    (REGISTERED, True),
    (("Unknown", "OwnerLost"), True),
    (("False", "ClientNotAllowed"), False),
)


@pytest.mark.parametrize(("listening", "told"), LOST)
def test_only_who_was_listened_for_has_lost_something(listening: tuple[str, str] | None, told: bool) -> None:
    verdicts = lost_verdicts(record(listening=listening))
    assert [(verdict.type, verdict.status) for verdict in verdicts] == (
        [("Listening", "Unknown"), ("Ready", "Unknown")] if told else []
    )


class Book:
    """A UserStore that is fed by hand."""

    def __init__(self) -> None:
        self.changed = Keys()
        kube: Any = object.__new__(Kube)
        queue: Any = self.changed
        self.book = UserStore(kube, ("mail",), queue, Wakes())
        self.feed: Callable[[Any, dict[str, Any]], None] = self.book._changed

    def weight(self, number: int) -> int:
        return self.book.weights(MAIN)[slot_of(1, number)]


def test_users_are_counted_by_slot_and_forgotten_when_they_go_by_event_or_by_list() -> None:
    it = Book()
    for number in (3, 4):
        it.feed("ADDED", push_user(number))
    assert (it.weight(3), it.weight(4), it.book.count(MAIN)) == (1, 1, 2)
    it.feed("DELETED", push_user(3))
    it.feed("ABSENT", push_user(4))
    assert (it.weight(3), it.weight(4), it.book.count(MAIN)) == (0, 0, 0)
    assert sum(it.book.weights(MAIN)) == 0


def test_a_user_who_is_not_to_be_listened_for_has_no_weight() -> None:
    it = Book()
    it.feed("ADDED", push_user(3))
    name, version = UserName("mail", "main-1-3"), it.book.version(MAIN)
    it.book.weigh(name, False)
    assert it.weight(3) == 0
    assert it.book.version(MAIN) != version
    it.feed("MODIFIED", push_user(3, "11"))
    assert it.weight(3) == 0, "a change of the object alone does not decide"
    it.book.weigh(name, True)
    assert it.weight(3) == 1


def test_a_watch_that_lags_behind_our_own_write_takes_nothing_back() -> None:
    it = Book()
    it.feed("ADDED", push_user(3, "10"))
    it.book.take(push_user(3, "12", labels=wanted_labels(MAIN, slot_of(1, 3))))
    it.feed("MODIFIED", push_user(3, "11"))
    found = it.book.get(UserName("mail", "main-1-3"))
    assert found is not None
    assert (found.version, found.labelled) == ("12", True)


def test_an_answer_does_not_bring_a_deleted_user_back() -> None:
    it = Book()
    it.feed("ADDED", push_user(3))
    it.feed("DELETED", push_user(3))
    it.book.take(push_user(3, "12"))
    assert it.book.get(UserName("mail", "main-1-3")) is None


def test_a_user_that_our_models_refuse_is_passed_over() -> None:
    it = Book()
    body = push_user(3)
    body["spec"]["userId"] = 0
    it.feed("ADDED", body)
    assert it.book.count(MAIN) == 0


def test_users_who_are_denied_are_counted_by_reason() -> None:
    it = Book()
    book, changed = it.book, it.feed
    for number, reason in ((3, "Suspended"), (4, "Suspended"), (5, "ClientNotAllowed")):
        body = push_user(number) | {"status": {"conditions": [said("Accepted", "False", reason)]}}
        changed("ADDED", body)
    assert dict(book.denied(MAIN)) == {"Suspended": 2, "ClientNotAllowed": 1}
    changed("MODIFIED", push_user(4, "11") | {"status": {"conditions": [said("Accepted", "True", "Accepted")]}})
    changed("DELETED", push_user(5, "12"))
    assert dict(book.denied(MAIN)) == {"Suspended": 1}


@pytest.mark.parametrize("listening", [REGISTERED, FAILED, ("False", "ClientNotAllowed"), ("Unknown", "OwnerLost")])
def test_whatever_a_pod_said_last_nobody_listens_once_the_config_is_gone(listening: tuple[str, str]) -> None:
    verdicts = abandoned_verdicts(record(listening=listening))
    assert [(verdict.type, verdict.status, verdict.message) for verdict in verdicts] == [
        ("Listening", "Unknown", NO_PODS),
        ("Ready", "Unknown", NO_PODS),
    ]
    assert abandoned_verdicts(record(listening=None)) == ()


def test_a_user_whose_config_was_never_there_is_not_ready() -> None:
    refused = Verdict("Accepted", "False", "ConfigNotFound", "so it is")
    assert unheard_verdicts(record(listening=None), refused) == (replace(refused, type="Ready"),)
    assert unheard_verdicts(record(listening=REGISTERED), refused) == ()

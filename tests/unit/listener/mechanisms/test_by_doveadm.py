"""A registration by doveadm: looked at, written where it differs, taken away, and each failure with its meaning."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from mailpush.doveadm.answers import Rows
from mailpush.doveadm.errors import (
    CommandFailedError,
    DoveadmError,
    DoveadmRefusedError,
    DoveadmUnauthorizedError,
    DoveadmUnreachableError,
    LoginUnusableError,
    NoSuchUserError,
)
from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.listener.mechanisms.base import DoveadmUser, Health, Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.by_doveadm import DoveadmListener
from mailpush.listener.mechanisms.dovecot import DovecotListener, DovecotMechanism
from mailpush.listener.mechanisms.failures import MechanismError
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.listener.users.choice import CANNOT_START
from tests.sites.imapserver import Waits
from tests.sites.waiting import until

SERVER = ImapServer("imap.example")


class FakeDoveadm:
    """Dovecot's entries; fails where the test says so."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.failure: DoveadmError | None = None
        self.asked: list[str] = []

    async def ask(self, command: str, user: str, **parameters: Any) -> Rows:
        self.asked.append(command)
        if self.failure is not None:
            raise self.failure
        if command == "mailboxMetadataSet":
            self.entries[user] = parameters["value"]
        elif command == "mailboxMetadataUnset":
            del self.entries[user]
        return [{"value": self.entries.get(user, "")}] if command == "mailboxMetadataGet" else []


class Scene:
    def __init__(self, mark: str = "") -> None:
        self.doveadm = FakeDoveadm()
        self.waits = Waits()
        self.said: list[Health] = []
        around = Surroundings(ConnectBudget(), sleep=self.waits.sleep, doveadm=self.doveadm)
        mailbox = Mailbox(1, 3, SERVER, ImapLogin.without("u3"), mark, doveadm=DoveadmUser("u3"))
        self.listener = DovecotMechanism(around).listener(
            mailbox, lambda _, health: self.said.append(health), lambda _: False
        )


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.listener.stop()


def test_the_mailbox_says_the_way() -> None:
    assert isinstance(Scene().listener, DoveadmListener)
    by_imap = Mailbox(1, 3, SERVER, ImapLogin("u3", "secret"))
    mechanism = DovecotMechanism(Surroundings(ConnectBudget()))
    assert isinstance(mechanism.listener(by_imap, lambda _, __: None, lambda _: False), DovecotListener)


async def test_registers_as_ox_does_and_looks_again_after_hours(scene: Scene) -> None:
    await scene.listener.start()
    await until(lambda: len(scene.waits.asked) == 1)
    assert scene.doveadm.entries == {"u3": "user=3@1"}
    assert (scene.listener.health.state, scene.listener.health.reason) == (State.LISTENING, "Registered")
    assert "by doveadm" in scene.listener.health.message
    assert scene.listener.logged_in_at > 0
    assert scene.waits.asked[-1] > 3600
    scene.doveadm.entries["u3"] = "user=99@1"
    scene.waits.end()
    await until(lambda: len(scene.waits.asked) == 2)
    assert scene.doveadm.entries == {"u3": "user=3@1"}, "somebody had written over it"


async def test_writes_nothing_where_the_registration_is_there(scene: Scene) -> None:
    scene.doveadm.entries["u3"] = "user=3@1"
    await scene.listener.start()
    await until(lambda: len(scene.waits.asked) == 1)
    assert scene.doveadm.asked == ["mailboxMetadataGet"]


async def test_a_marked_registration_has_the_mark() -> None:
    scene = Scene(mark="abc")
    await scene.listener.start()
    await until(lambda: scene.doveadm.entries == {"u3": "user=3@1#abc"})
    await scene.listener.stop()


@pytest.mark.parametrize(("stands", "left"), [("user=3@1", {}), ("user=4@1", {"u3": "user=4@1"}), ("", {"u3": ""})])
async def test_takes_away_what_is_its_own_and_nothing_else(scene: Scene, stands: str, left: dict[str, str]) -> None:
    scene.doveadm.entries["u3"] = stands
    await scene.listener.unregister()
    assert scene.doveadm.entries == left
    assert scene.listener.health.reason == "Unregistered"


FAILURES = [
    (DoveadmUnreachableError("no endpoint"), "DoveadmUnreachable", 5.0),
    (DoveadmUnauthorizedError("key"), "DoveadmUnauthorized", 30.0),
    (DoveadmRefusedError("404"), "DoveadmRefused", 30.0),
    (NoSuchUserError("nobody"), "NoSuchUser", 60.0),
    (LoginUnusableError("pattern"), "LoginUnusable", 3600.0),
    (CommandFailedError(75), "DoveadmFailed", 10.0),
    (CommandFailedError(65), "NoMetadata", 300.0),
    (CommandFailedError(77), "RegistrationRefused", 300.0),
]


@pytest.mark.parametrize(("failure", "reason", "first"), FAILURES)
async def test_each_failure_says_what_it_is_and_is_tried_again(
    scene: Scene, failure: DoveadmError, reason: str, first: float
) -> None:
    scene.doveadm.failure = failure
    await scene.listener.start()
    await until(lambda: len(scene.waits.asked) == 1)
    health = scene.listener.health
    assert (health.state, health.reason) == (State.FAILED, reason)
    assert first / 2 <= scene.waits.asked[-1] <= first
    scene.doveadm.failure = None
    scene.waits.end()
    await until(lambda: scene.listener.health.state is State.LISTENING)


async def test_with_a_mailbox_its_entry_is_gone(scene: Scene) -> None:
    scene.doveadm.failure = NoSuchUserError("nobody")
    await scene.listener.unregister()
    assert scene.listener.health.reason == "Unregistered"


@pytest.mark.parametrize(("failure", "reason", "first"), [one for one in FAILURES if one[1] != "NoSuchUser"])
async def test_what_could_not_be_taken_away_is_told(
    scene: Scene, failure: DoveadmError, reason: str, first: float
) -> None:
    scene.doveadm.failure = failure
    with pytest.raises(MechanismError) as error:
        await scene.listener.unregister()
    assert error.value.reason == reason
    assert error.value.pause.first == first


def test_where_there_is_no_metadata_the_next_mechanism_has_its_turn() -> None:
    assert {"NoMetadata", "RegistrationRefused", "LoginUnusable"} <= CANNOT_START


async def test_one_failure_of_a_server_that_is_away_changes_no_status_of_who_is_registered(scene: Scene) -> None:
    await scene.listener.start()
    await until(lambda: scene.listener.health.state is State.LISTENING)
    scene.doveadm.failure = DoveadmUnreachableError("no endpoint")
    scene.waits.end()
    await until(lambda: len(scene.waits.asked) == 2)
    assert scene.listener.health.state is State.LISTENING

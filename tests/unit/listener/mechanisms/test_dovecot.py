from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest

from mailpush.imap.errors import ImapConnectionError
from mailpush.listener.mechanisms.base import Health, Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.dovecot import DovecotListener, DovecotMechanism
from mailpush.listener.mechanisms.repeating import Surroundings
from tests.sites.imapserver import FakeImap, Waits, fake_imap
from tests.sites.waiting import until

Make = Callable[..., DovecotListener]


@pytest.fixture
async def imap() -> AsyncIterator[FakeImap]:
    async with fake_imap() as server:
        yield server


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def told() -> list[Health]:
    return []


@pytest.fixture
def make(imap: FakeImap, waits: Waits, told: list[Health]) -> Make:
    budget = ConnectBudget()

    def listener(password: str = "secret") -> DovecotListener:
        mailbox = Mailbox(1, 3, imap.address, imap.login(password))
        mechanism = DovecotMechanism(Surroundings(budget, timeout=60, sleep=waits.sleep))
        made = mechanism.listener(mailbox, lambda _, health: told.append(health), lambda _: False)
        assert isinstance(made, DovecotListener)
        return made

    return listener


async def test_registers_as_ox_does_and_says_so(imap: FakeImap, make: Make, waits: Waits, told: list[Health]) -> None:
    listener = make()
    await listener.start()
    await until(lambda: waits.asked)
    assert imap.metadata == "user=3@1"
    assert [health.state for health in told] == [State.STARTING, State.LISTENING]
    assert listener.health.reason == "Registered"
    assert 3600 < waits.asked[0] < 12 * 3600, "looked at again after hours"
    assert imap.commands[-1] == "LOGOUT"
    await listener.stop()


async def test_writes_nothing_when_the_registration_is_there(imap: FakeImap, make: Make, waits: Waits) -> None:
    imap.metadata = "user=3@1"
    listener = make()
    await listener.start()
    await until(lambda: waits.asked)
    assert "SETMETADATA" not in imap.commands
    await listener.stop()


async def test_a_registration_that_another_wrote_over_is_put_right(imap: FakeImap, make: Make, waits: Waits) -> None:
    listener = make()
    await listener.start()
    await until(lambda: waits.asked)
    imap.metadata = "user=99@7"
    waits.end()
    await until(lambda: len(waits.asked) == 2)
    assert imap.metadata == "user=3@1"
    await listener.stop()


async def test_stopping_leaves_the_registration(imap: FakeImap, make: Make, waits: Waits) -> None:
    listener = make()
    await listener.start()
    await until(lambda: waits.asked)
    await listener.stop()
    assert imap.metadata == "user=3@1"
    assert listener.health.state is State.STOPPED


async def test_unregistering_takes_it_away(imap: FakeImap, make: Make, waits: Waits) -> None:
    listener = make()
    await listener.start()
    await until(lambda: waits.asked)
    await listener.unregister()
    assert imap.metadata is None
    assert listener.health.reason == "Unregistered"


async def test_unregistering_leaves_a_registration_of_another_installation(imap: FakeImap, make: Make) -> None:
    imap.metadata = "user=99@7"
    await make().unregister()
    assert imap.metadata == "user=99@7"


async def test_unregistering_says_when_it_cannot(imap: FakeImap, make: Make) -> None:
    await imap.close()
    with pytest.raises(ImapConnectionError):
        await make().unregister()


class Trouble(NamedTuple):
    capabilities: str = "IMAP4rev1 METADATA"
    refuse: frozenset[str] = frozenset()
    password: str = "secret"
    code: str = "AUTHENTICATIONFAILED"


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Trouble(capabilities="IMAP4rev1"), "NoMetadata"),
        (Trouble(capabilities="IMAP4rev1 LOGINDISABLED"), "ServerRefused"),
        (Trouble(refuse=frozenset({"SETMETADATA"})), "RegistrationRefused"),
        (Trouble(refuse=frozenset({"GETMETADATA"})), "RegistrationRefused"),
        (Trouble(password="wr0ng"), "AuthenticationFailed"),
        (Trouble(password="wr0ng", code="UNAVAILABLE"), "ServerUnreachable"),
    ],
)
async def test_each_failure_has_its_reason_and_a_next_try(
    imap: FakeImap, make: Make, waits: Waits, trouble: Trouble, reason: str
) -> None:
    imap.capabilities, imap.refuse, imap.login_code = trouble.capabilities, trouble.refuse, trouble.code
    listener = make(trouble.password)
    await listener.start()
    await until(lambda: waits.asked)
    assert (listener.health.state, listener.health.reason) == (State.FAILED, reason)
    assert listener.health.retry_at is not None
    assert trouble.password not in listener.health.message
    await listener.stop()


async def test_a_server_that_is_down_is_tried_until_it_is_up(imap: FakeImap, make: Make, waits: Waits) -> None:
    await imap.close()
    listener = make()
    await listener.start()
    await until(lambda: len(waits.asked) == 1)
    assert listener.health.reason == "ServerUnreachable"
    waits.end()
    await until(lambda: len(waits.asked) == 2)
    assert waits.asked[0] <= 2 <= waits.asked[1] <= 4, "the wait grows"
    await imap.open()
    waits.end()
    await until(lambda: len(waits.asked) == 3)
    assert listener.health.state is State.LISTENING
    await listener.stop()


async def test_a_wrong_password_is_not_tried_again_by_a_new_listener(imap: FakeImap, make: Make, waits: Waits) -> None:
    first = make("wrong")
    await first.start()
    await until(lambda: waits.asked)
    await first.stop()
    second = make("wrong")
    await second.start()
    await until(lambda: len(waits.asked) == 2)
    assert imap.logins == ["wrong"]
    assert second.health.reason == "AuthenticationFailed"
    await second.stop()
    third = make("secret")
    await third.start()
    await until(lambda: len(waits.asked) == 3)
    assert third.health.state is State.LISTENING
    await third.stop()


async def test_one_failed_look_does_not_change_a_good_status(
    imap: FakeImap, make: Make, waits: Waits, told: list[Health]
) -> None:
    listener = make()
    await listener.start()
    await until(lambda: waits.asked)
    await imap.close()
    waits.end()
    await until(lambda: len(waits.asked) == 2)
    assert listener.health.state is State.LISTENING
    waits.end()
    await until(lambda: len(waits.asked) == 3)
    assert listener.health.reason == "ServerUnreachable"
    assert [health.state for health in told] == [State.STARTING, State.LISTENING, State.FAILED]
    await listener.stop()

import asyncio

import pytest

from mailpush.imap.client import ImapLogin, ImapServer, Way
from mailpush.listener.mechanisms.budget import AuthFailuresHighError, ConnectBudget
from mailpush.listener.mechanisms.lanes import Standing
from mailpush.work.pace import Backoff

SERVER = ImapServer("mail.example.org")
OTHER = ImapServer("other.example.org")
LOGIN = ImapLogin("alice", "wrong")
USER = (1, 3)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    async def within(self, event: asyncio.Event, seconds: float | None) -> bool:
        """As `set_within`; where nothing else happens, the time passes at once."""
        for _ in range(10):
            if event.is_set():
                return True
            await asyncio.sleep(0)
        if seconds is None:
            return await event.wait()
        self.waits.append(round(seconds, 6))
        self.now += seconds
        return False


@pytest.fixture
def time() -> Time:
    return Time()


def budget_of(time: Time, *, burst: int = 2, concurrency: int = 100, auth_failures: int = 3) -> ConnectBudget:
    return ConnectBudget(
        rate=10,
        burst=burst,
        concurrency=concurrency,
        auth_failures=auth_failures,
        clock=time.clock,
        within=time.within,
    )


async def begin(budget: ConnectBudget, server: ImapServer = SERVER, standing: Standing = Standing.UNPROVEN) -> None:
    async with budget.conversation(server, standing):
        pass


async def test_after_a_burst_conversations_begin_at_the_rate(time: Time) -> None:
    budget = budget_of(time)
    for _ in range(5):
        await begin(budget)
    assert time.waits == [0.1, 0.1, 0.1]


async def test_an_idle_time_gives_no_more_than_a_burst(time: Time) -> None:
    budget = budget_of(time)
    time.now += 3600
    for _ in range(3):
        await begin(budget)
    assert time.waits == [0.1]


async def test_each_server_has_a_budget_of_its_own(time: Time) -> None:
    budget = budget_of(time, burst=1)
    await begin(budget, SERVER)
    await begin(budget, OTHER)
    assert time.waits == []


async def test_only_so_many_conversations_are_under_way(time: Time) -> None:
    budget = budget_of(time, burst=100, concurrency=2)
    under_way: list[int] = []
    go_on = asyncio.Event()

    async def converse(number: int) -> None:
        async with budget.conversation(SERVER, Standing.UNPROVEN):
            under_way.append(number)
            await go_on.wait()

    tasks = [asyncio.create_task(converse(number)) for number in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert under_way == [0, 1]
    go_on.set()
    await asyncio.gather(*tasks)
    assert under_way == [0, 1, 2, 3, 4]


async def test_proven_logins_begin_before_unproven_ones_that_came_earlier(time: Time) -> None:
    budget = budget_of(time, burst=100, concurrency=1)
    begun: list[str] = []

    async def converse(name: str, standing: Standing) -> None:
        async with budget.conversation(SERVER, standing, begins=True):
            begun.append(name)
            await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(
            converse("first", Standing.UNPROVEN),
            converse("refused", Standing.REFUSED),
            converse("unproven", Standing.UNPROVEN),
            converse("proven", Standing.PROVEN),
        )
    assert begun == ["proven", "first", "unproven", "refused"]
    assert time.now >= 1010.0, "the refused one waits until it is quiet"


async def test_who_gives_up_waiting_keeps_nobody_from_the_turn(time: Time) -> None:
    budget = budget_of(time, burst=100, concurrency=1)
    go_on, begun = asyncio.Event(), []

    async def converse(name: str) -> None:
        async with budget.conversation(SERVER, Standing.UNPROVEN):
            begun.append(name)
            await go_on.wait()

    tasks = [asyncio.create_task(converse(name)) for name in ("one", "two", "three")]
    for _ in range(20):
        await asyncio.sleep(0)
    go_on.set()
    tasks[1].cancel()  # in the very turn in which it may be told to begin
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert begun == ["one", "three"]
    async with asyncio.timeout(10):
        await begin(budget)


def test_a_login_that_was_refused_is_the_last_to_be_tried_until_the_password_changes(time: Time) -> None:
    budget = budget_of(time)
    assert budget.standing(SERVER, USER, LOGIN, proven=False) is Standing.UNPROVEN
    budget.refused_elsewhere(SERVER, USER, LOGIN, 60.0)
    assert budget.standing(SERVER, USER, LOGIN, proven=False) is Standing.REFUSED
    assert budget.standing(SERVER, USER, ImapLogin("alice", "right"), proven=False) is Standing.UNPROVEN
    assert budget.standing(SERVER, USER, LOGIN, proven=True) is Standing.PROVEN, "another process was let in since"


def test_a_refused_login_waits_longer_each_time_up_to_an_hour(time: Time) -> None:
    budget = budget_of(time, auth_failures=1000)
    waits = [budget.auth_failed(SERVER, USER, LOGIN) for _ in range(12)]
    for number, wait in enumerate(waits):
        whole = min(3600.0, 60.0 * 2**number)
        assert whole / 2 <= wait <= whole
    assert budget.auth_wait(SERVER, USER, LOGIN) == pytest.approx(waits[-1])


def test_another_password_is_tried_at_once(time: Time) -> None:
    budget = budget_of(time)
    budget.auth_failed(SERVER, USER, LOGIN)
    assert budget.auth_wait(SERVER, USER, LOGIN) > 0
    assert budget.auth_wait(SERVER, USER, ImapLogin("alice", "right")) == 0
    assert budget.auth_wait(SERVER, (1, 4), LOGIN) == 0


def test_a_login_that_works_is_forgiven(time: Time) -> None:
    budget = budget_of(time)
    budget.auth_failed(SERVER, USER, LOGIN)
    budget.auth_succeeded(SERVER, USER, Way.PLAIN)
    assert budget.auth_wait(SERVER, USER, LOGIN) == 0


def test_refusals_of_users_who_have_moved_away_are_not_kept_for_ever(time: Time) -> None:
    budget = budget_of(time, auth_failures=1000)
    for user in range(10_000):
        budget.auth_failed(SERVER, (1, user), LOGIN)
        time.now += 10
        assert len(budget._refusals) <= 460, "an hour of them and a wait, and what comes until they are swept"


def test_whoever_is_still_here_and_refused_each_time_waits_longer_all_the_same(time: Time) -> None:
    budget = budget_of(time, auth_failures=1000)
    wait = 0.0
    for _ in range(20):
        wait = budget.auth_failed(SERVER, USER, LOGIN)
        time.now += wait + 60
    assert wait >= 1800


async def test_after_many_refusals_only_proven_passwords_are_tried(time: Time) -> None:
    budget = budget_of(time, burst=100)
    for user in range(3):
        await begin(budget)
        budget.auth_failed(SERVER, (1, user), LOGIN)
    assert budget.auth_failures_high(SERVER)
    with pytest.raises(AuthFailuresHighError) as refused:
        await begin(budget)
    assert refused.value.retry_in == pytest.approx(60)
    await begin(budget, standing=Standing.PROVEN)
    await begin(budget, OTHER)
    time.now += 60
    await begin(budget)
    assert not budget.auth_failures_high(SERVER)


def test_no_password_stands_in_what_the_budget_shows(time: Time) -> None:
    budget = budget_of(time)
    budget.auth_failed(SERVER, USER, ImapLogin("alice", "pa55w0rd"))
    assert "pa55w0rd" not in repr(vars(budget))


@pytest.mark.parametrize("failures", [1, 2, 5, 1000])
def test_backoff_stays_between_half_and_the_whole(failures: int) -> None:
    for _ in range(50):
        assert min(60.0, 2.0 * 2 ** min(failures - 1, 30)) / 2 <= Backoff(2.0, 60.0).after(failures) <= 60.0


def test_the_way_that_a_server_let_in_last_is_tried_first_there_and_nowhere_else(time: Time) -> None:
    budget = budget_of(time)
    assert budget.way(SERVER) is Way.PLAIN
    budget.auth_succeeded(SERVER, USER, Way.LOGIN)
    assert (budget.way(SERVER), budget.way(OTHER)) == (Way.LOGIN, Way.PLAIN)


def test_a_login_that_was_refused_before_is_known_until_it_changes_or_succeeds(time: Time) -> None:
    budget = budget_of(time)
    assert budget.refused_before(SERVER, USER, LOGIN) == 0
    for count in (1, 2):
        budget.auth_failed(SERVER, USER, LOGIN)
        assert budget.refused_before(SERVER, USER, LOGIN) == count
    assert budget.refused_before(SERVER, USER, ImapLogin("alice", "other")) == 0
    budget.auth_succeeded(SERVER, USER, Way.PLAIN)
    assert budget.refused_before(SERVER, USER, LOGIN) == 0


def test_a_token_that_is_renewed_is_the_login_that_was_refused_and_one_of_another_source_is_not(
    time: Time,
) -> None:
    budget = budget_of(time)
    budget.auth_failed(SERVER, USER, ImapLogin.with_token("alice", "token-one", origin=1))
    assert budget.auth_wait(SERVER, USER, ImapLogin.with_token("alice", "token-two", origin=1)) > 0
    assert budget.auth_wait(SERVER, USER, ImapLogin.with_token("alice", "token-two", origin=2)) == 0
    assert budget.auth_wait(SERVER, USER, ImapLogin("alice", "token-one")) == 0


def test_the_way_of_a_token_is_not_the_way_of_passwords(time: Time) -> None:
    budget = budget_of(time)
    budget.auth_succeeded(SERVER, USER, Way.LOGIN)
    budget.auth_succeeded(SERVER, USER, Way.XOAUTH2)
    assert budget.way(SERVER) is Way.LOGIN


def test_who_was_refused_in_another_process_waits_as_it_would_have_there(time: Time) -> None:
    budget = budget_of(time)
    waits = []
    for minutes in (1, 10, 60, 60 * 24 * 30):
        budget.forget(SERVER, USER)
        budget.refused_elsewhere(SERVER, USER, LOGIN, 60.0 * minutes)
        waits.append(budget.auth_wait(SERVER, USER, LOGIN))
    assert all(30 <= wait <= 3600 for wait in waits)
    assert waits[-1] >= 1800
    assert budget.auth_wait(SERVER, USER, ImapLogin("alice", "another")) == 0


def test_what_this_process_knows_of_a_refused_login_counts_more_than_what_others_have_said(time: Time) -> None:
    budget = budget_of(time)
    budget.auth_failed(SERVER, USER, LOGIN)
    before = budget.auth_wait(SERVER, USER, LOGIN)
    budget.refused_elsewhere(SERVER, USER, LOGIN, 1e6)
    assert budget.auth_wait(SERVER, USER, LOGIN) == before

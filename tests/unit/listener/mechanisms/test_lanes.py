"""Who begins next, with a simulated clock; and whole cold starts at a Dovecot of which only the penalty is real."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from mailpush.listener.mechanisms.lanes import PENALTY_SECONDS, QUIET, Lanes, Standing, Ticket
from mailpush.work.pace import Pace

PROVEN, UNPROVEN, REFUSED = Standing
QUIET_SECONDS = QUIET[REFUSED].seconds


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def lanes_of(time: Time, *, concurrency: int = 20, rate: float = 1000.0) -> Lanes:
    return Lanes(Pace(rate, 1, clock=time.clock), concurrency, time.clock)


def begin(lanes: Lanes) -> Ticket:
    turn = lanes.next()
    assert isinstance(turn, Ticket)
    return turn


def test_proven_ones_go_first_then_the_unproven_and_each_in_the_order_in_which_it_came(time: Time) -> None:
    lanes = lanes_of(time, rate=1e9)
    came = [lanes.come(standing, begins=True) for standing in (REFUSED, UNPROVEN, PROVEN, UNPROVEN, PROVEN)]
    time.now += 3600.0
    assert [begin(lanes) for _ in came[1:]] == [came[2], came[4], came[1], came[3]]


def test_an_unproven_one_waits_a_moment_for_more_proven_ones_of_a_cold_start_but_not_for_ever(time: Time) -> None:
    lanes = lanes_of(time)
    lanes.leave(lanes.come(PROVEN, begins=True))
    unproven = lanes.come(UNPROVEN, begins=True)
    assert lanes.next() == pytest.approx(QUIET[UNPROVEN].seconds)
    for _ in range(int(QUIET[UNPROVEN].longest) - 1):
        time.now += 1
        lanes.leave(lanes.come(PROVEN, begins=True))
        assert isinstance(lanes.next(), float)
    time.now += 1
    lanes.leave(lanes.come(PROVEN, begins=True))
    assert begin(lanes) is unproven


def test_an_unproven_one_waits_for_nothing_where_no_proven_listener_begins(time: Time) -> None:
    lanes = lanes_of(time)
    lanes.leave(lanes.come(PROVEN, begins=False))
    unproven = lanes.come(UNPROVEN, begins=True)
    assert begin(lanes) is unproven


def test_a_refused_one_waits_until_no_listener_has_begun_for_a_while(time: Time) -> None:
    lanes = lanes_of(time)
    doubted = lanes.come(REFUSED, begins=True)
    for _ in range(30):
        time.now += QUIET_SECONDS - 1
        lanes.leave(lanes.come(PROVEN, begins=True))
        assert lanes.next() == pytest.approx(QUIET_SECONDS)
    time.now += QUIET_SECONDS
    assert begin(lanes) is doubted


def test_logins_of_listeners_that_run_already_do_not_keep_a_refused_one_waiting(time: Time) -> None:
    lanes = lanes_of(time)
    doubted = lanes.come(REFUSED, begins=False)
    for _ in range(int(QUIET_SECONDS)):
        lanes.leave(lanes.come(PROVEN, begins=False))
        time.now += 1
    assert begin(lanes) is doubted


def test_where_it_is_never_quiet_a_refused_one_has_its_turn_after_an_hour_and_not_before_one_who_waits(
    time: Time,
) -> None:
    lanes = lanes_of(time)
    doubted = lanes.come(REFUSED, begins=False)
    time.now += QUIET[REFUSED].longest
    other = lanes.come(UNPROVEN, begins=True)
    assert begin(lanes) is other
    time.now += 1
    assert begin(lanes) is doubted


def test_refused_ones_go_one_at_a_time_and_each_refusal_is_forgotten_by_the_server_before_the_next(
    time: Time,
) -> None:
    lanes = lanes_of(time)
    for _ in range(3):
        lanes.come(REFUSED, begins=False)
    time.now += QUIET_SECONDS
    one = begin(lanes)
    assert lanes.next() is None, "one is under way"
    lanes.refused(doubted=True)
    lanes.leave(one)
    assert lanes.next() == pytest.approx(PENALTY_SECONDS)
    time.now += PENALTY_SECONDS
    begin(lanes)


def test_a_refusal_of_any_login_holds_the_refused_ones_back(time: Time) -> None:
    lanes = lanes_of(time)
    lanes.come(REFUSED, begins=False)
    time.now += QUIET_SECONDS
    lanes.refused(doubted=False)
    assert lanes.next() == pytest.approx(PENALTY_SECONDS)


def test_refused_ones_that_are_let_in_again_open_the_lane_and_refusals_narrow_it(time: Time) -> None:
    """An outage of the server's own table of passwords refuses everybody: all must be back soon after it."""
    lanes = lanes_of(time, rate=1e9)
    for _ in range(100):
        lanes.come(REFUSED, begins=False)
    time.now += QUIET_SECONDS
    at_once = []
    for _ in range(4):
        under_way = []
        while isinstance(turn := lanes.next(), Ticket):
            under_way.append(turn)
            time.now += 0.001
        at_once.append(len(under_way))
        for ticket in under_way:
            lanes.let_in(doubted=True)
            lanes.leave(ticket)
    assert at_once == [1, 2, 4, 8]
    for _ in range(5):
        lanes.refused(doubted=True)
    assert lanes.next() == pytest.approx(PENALTY_SECONDS)


def test_who_leaves_frees_the_place_and_who_waited_is_forgotten(time: Time) -> None:
    lanes = lanes_of(time, concurrency=1)
    first, second, third = (lanes.come(UNPROVEN, begins=True) for _ in range(3))
    assert begin(lanes) is first
    assert lanes.next() is None
    lanes.leave(second)
    lanes.leave(first)
    time.now += 1
    assert begin(lanes) is third
    assert lanes.waiting == 0


# -- whole cold starts


class Dovecot:
    """What a login costs, by time: as measured with 2.3.19 and 2.4.1, see the docstring of `lanes`."""

    def __init__(self, answer_seconds: float) -> None:
        self.answer_seconds = answer_seconds
        self.failure_delay = 2.0
        self.penalty = 0
        self.refused_at = 0.0

    def delay(self, now: float) -> tuple[float, int]:
        """Seconds for which a login waits that begins now, and the penalty that it has seen."""
        if now - self.refused_at >= 15.0:
            self.penalty = 0
        return (min(15.0, 2.0 * 2**self.penalty) if self.penalty else 0.0), self.penalty

    def checked(self, now: float, seen: int, *, right: bool) -> None:
        if not right:
            self.penalty, self.refused_at = seen + 1, now
        elif seen:
            self.penalty = 0


class ColdStart:
    """Listeners of one pod. Each comes when the pod has read its user, and tries until it is let in."""

    RETRY = 45.0
    """Seconds until a refused login comes again, about as ConnectBudget.auth_wait gives it."""

    def __init__(self, standings: dict[int, Standing], stale: set[int], *, per_second: float = 50.0) -> None:
        self.time = Time()
        self.began = self.time.now
        self.stale = stale
        self.dovecot = Dovecot(0.05)
        self.lanes = Lanes(Pace(50.0, 20, clock=self.time.clock), 20, self.time.clock)
        self.let_in: dict[int, float] = {}
        """User to the seconds after which the server took the login."""
        self.refused: list[tuple[float, int]] = []
        self.slowest = 0.0
        """Of the logins that the server took, the longest answer in seconds."""
        self._users: dict[Ticket, int] = {}
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._asked_at: float | None = None
        for number, (user, standing) in enumerate(standings.items()):
            self._after(number / per_second + (self.RETRY if standing is REFUSED else 0.0), self._come, user, standing)

    def run(self, seconds: float) -> "ColdStart":
        end = self.began + seconds
        while self._events and self._events[0][0] <= end:
            self.time.now, _, happens = heapq.heappop(self._events)
            happens()
            self._pump()
        return self

    def _after(self, seconds: float, step: Callable[..., None], *args: object) -> None:
        heapq.heappush(self._events, (self.time.now + seconds, next(self._order), lambda: step(*args)))

    def _come(self, user: int, standing: Standing) -> None:
        self._users[self.lanes.come(standing, begins=True)] = user

    def _pump(self) -> None:
        while isinstance(turn := self.lanes.next(), Ticket):
            delay, seen = self.dovecot.delay(self.time.now)
            self._after(delay + self.dovecot.answer_seconds, self._answer, turn, seen, self.time.now)
        if turn is not None and (self._asked_at is None or self._asked_at <= self.time.now):
            self._asked_at = self.time.now + turn
            self._after(turn, lambda: None)

    def _answer(self, ticket: Ticket, seen: int, began: float) -> None:
        user, now = self._users[ticket], self.time.now
        right = user not in self.stale
        self.dovecot.checked(now, seen, right=right)
        if right:
            self.let_in[user] = now - self.began
            self.slowest = max(self.slowest, now - began)
            self.lanes.let_in(doubted=ticket.standing is REFUSED)
            self.lanes.leave(ticket)
        else:
            self.refused.append((now - self.began, user))
            self._after(self.dovecot.failure_delay, self._refused, ticket)

    def _refused(self, ticket: Ticket) -> None:
        self.lanes.refused(doubted=ticket.standing is REFUSED)
        self.lanes.leave(ticket)
        self._after(self.RETRY, self._come, self._users[ticket], REFUSED)


USERS = range(3000)
STALE = set(range(25, 3000, 50))
HOUR = 3600.0


def last(cold_start: ColdStart, users: set[int]) -> float:
    return max(cold_start.let_in[user] for user in users)


@pytest.fixture(scope="module")
def undisturbed() -> ColdStart:
    return ColdStart(dict.fromkeys(USERS, PROVEN), set()).run(HOUR)


def test_passwords_that_are_known_as_refused_delay_no_other_login_of_a_cold_start(undisturbed: ColdStart) -> None:
    standings = {user: REFUSED if user in STALE else PROVEN for user in USERS}
    start = ColdStart(standings, STALE).run(HOUR)
    others = set(USERS) - STALE
    assert set(start.let_in) == others
    assert last(start, others) <= last(undisturbed, others)
    assert start.slowest == pytest.approx(start.dovecot.answer_seconds)
    assert min(at for at, _ in start.refused) > last(start, others) + QUIET_SECONDS - 1


def test_known_refused_passwords_are_refused_three_times_a_minute_at_most(undisturbed: ColdStart) -> None:
    start = ColdStart(dict.fromkeys(USERS, REFUSED), set(USERS)).run(HOUR)
    minutes = Counter(int(at // 60) for at, _ in start.refused)
    assert max(minutes.values()) <= 3
    assert max(Counter(user for _, user in start.refused).values()) == 1


def test_unproven_passwords_wait_for_the_proven_ones_and_delay_none_of_them(undisturbed: ColdStart) -> None:
    """As after an import of some users among many others."""
    standings = {user: UNPROVEN if user % 10 == 5 else PROVEN for user in USERS}
    start = ColdStart(standings, STALE, per_second=1e6).run(HOUR)
    proven = {user for user, standing in standings.items() if standing is PROVEN}
    assert set(start.let_in) == set(USERS) - STALE
    assert last(start, proven) < min(start.let_in[user] for user in set(USERS) - STALE - proven)
    assert last(start, proven) <= last(undisturbed, set(USERS))


def test_after_an_outage_that_has_refused_everybody_all_are_back_within_minutes() -> None:
    start = ColdStart(dict.fromkeys(USERS, REFUSED), STALE).run(HOUR)
    assert set(start.let_in) == set(USERS) - STALE
    assert last(start, set(USERS) - STALE) <= 15 * 60


def test_a_first_start_whose_passwords_nobody_has_tried_is_slowed_down_but_ends(undisturbed: ColdStart) -> None:
    start = ColdStart(dict.fromkeys(USERS, UNPROVEN), STALE).run(HOUR)
    others = set(USERS) - STALE
    assert set(start.let_in) == others
    assert last(start, others) <= 2 * last(undisturbed, others)
    assert start.slowest <= 15.0 + start.dovecot.answer_seconds

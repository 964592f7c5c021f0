"""Who may begin the next conversation with one mail server: three lanes, one after another. Pure: nothing waits here.

A Dovecot that has refused one login makes every other one from that address wait, a right one, too (its auth penalty,
measured with 2.3.19 and 2.4.1): 4 s after one refusal, 8 s after two, at most 15 s, until a login that has begun after
the refusal is let in, or some 15 s have passed without a further refusal. So a password that is likely to be refused
is not tried while others have to log in, and the next one not before that is over.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from mailpush.work.clock import Clock
from mailpush.work.pace import Pace

PENALTY_SECONDS: Final = 20.0
"""After so long Dovecot has forgotten a refusal: it does after 15 s, but not after 12 s."""
DOUBTED_MOST: Final = 10
"""So many refused passwords at once, where all of them are let in again: the server itself was at fault."""


class Standing(IntEnum):
    """What is known of a login before it is tried. The lower goes first."""

    PROVEN = 0
    """It was let in lately, in whatever process."""
    UNPROVEN = 1
    REFUSED = 2
    """The server refused it the last time."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a lane waits for, but that nobody waits in one before it.

    Listeners of a cold start come one after another, so that for a moment nobody may wait, and pods that share an
    address at the mail server do not end theirs together. But at some servers there is always somebody who begins.
    """

    seconds: float
    """So long no listener of a lane before it has come or begun."""
    longest: float
    """Seconds after which that is waited for no more."""


QUIET: Final = {
    Standing.PROVEN: Quiet(0.0, 0.0),
    Standing.UNPROVEN: Quiet(2.0, 600.0),
    Standing.REFUSED: Quiet(60.0, 3600.0),
}


@dataclass(eq=False, slots=True)
class Ticket:
    """One conversation, from the wish to have it to its end."""

    standing: Standing
    begins: bool
    """Whether its listener has not been let in yet: each user of a cold start has one."""
    came: float


class Lanes:
    """
    Args:
        pace: how many conversations may begin.
        concurrency: how many may be under way.
    """

    def __init__(self, pace: Pace, concurrency: int, clock: Clock) -> None:
        self._pace = pace
        self._concurrency = concurrency
        self._clock = clock
        self._waiting: dict[Standing, OrderedDict[Ticket, None]] = {standing: OrderedDict() for standing in Standing}
        self._under_way: set[Ticket] = set()
        # A process has just begun: others will come.
        self._begun_at = {Standing.PROVEN: float("-inf"), Standing.UNPROVEN: clock(), Standing.REFUSED: float("-inf")}
        """When a listener of a lane came or began last."""
        self._refused_at = float("-inf")
        self._window = 1
        """So many refused passwords may be tried at once: one more after each that is let in, half after a refusal."""

    @property
    def waiting(self) -> int:
        """How many have not begun."""
        return sum(map(len, self._waiting.values()))

    def come(self, standing: Standing, *, begins: bool) -> Ticket:
        """Somebody wishes a conversation. Whoever comes has to `leave`."""
        ticket = Ticket(standing, begins, self._clock())
        self._waiting[standing][ticket] = None
        if begins:
            self._begun_at[standing] = ticket.came
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The conversation is over, or is wished no more."""
        self._under_way.discard(ticket)
        self._waiting[ticket.standing].pop(ticket, None)

    def next(self) -> Ticket | float | None:
        """The one who begins now; or in how many seconds to ask again; or None: when somebody comes or leaves."""
        if len(self._under_way) >= self._concurrency:
            return None
        waits: list[float] = []
        for standing, line in self._waiting.items():
            if line and (wait := self._wait(standing, next(iter(line)))) is not None:
                if not wait:
                    return self._begin(line)
                waits.append(wait)
        return min(waits, default=None)

    def let_in(self, *, doubted: bool) -> None:
        """The server has taken a login; `doubted`: one that it had refused before."""
        if doubted:
            self._window = min(DOUBTED_MOST, self._window + 1)

    def refused(self, *, doubted: bool) -> None:
        """The server has refused a login; `doubted`: once more."""
        self._refused_at = self._clock()
        if doubted:
            self._window = max(1, self._window // 2)

    def _wait(self, standing: Standing, first: Ticket) -> float | None:
        """Seconds until the first of a lane may begin; 0 for now, None for when another leaves."""
        now, quiet = self._clock(), QUIET[standing]
        before = max((at for lane, at in self._begun_at.items() if lane < standing), default=float("-inf"))
        since = min(before + quiet.seconds, first.came + quiet.longest)
        if standing is Standing.REFUSED:
            if sum(ticket.standing is Standing.REFUSED for ticket in self._under_way) >= self._window:
                return None
            if self._window == 1:
                since = max(since, self._refused_at + PENALTY_SECONDS)
        return max(0.0, since - now, self._pace.ready_in)

    def _begin(self, line: OrderedDict[Ticket, None]) -> Ticket:
        self._pace.take()
        ticket, _ = line.popitem(last=False)
        self._under_way.add(ticket)
        if ticket.begins:
            self._begun_at[ticket.standing] = self._clock()
        return ticket

"""Cold starts of many users of whom some have a stale password, at a Dovecot that punishes refused logins.

Each cold start with stale passwords is measured against the same one without: of entries whose marks say which are
refused and which work, and of entries without any mark, as after an import. When each user was let in is read from
Dovecot's own log, and so is which logins it has refused.
"""

import re
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from dev.services import Dovecot
from tests.credentials.verdict import Verdict
from tests.sites.namespace import wait_for

SHARE: Final = 0.02
STALE: Final = "stale*"
"""The logins of those who are going to have another password at Dovecot."""
FAILURE_DELAY: Final = 2.0
"""Dovecot's default; without it there is no penalty."""
SESSIONS: Final = 200
"""Of an imap process: else most of the machine's time goes into starting them."""
BUDGET: Final = 30
"""Logins that a server may refuse to one pod within a minute before unproven passwords wait (ConnectBudget)."""
DOUBTED: Final = 3
"""Of passwords that are known as refused, so many in a minute (mechanisms.lanes)."""
TRIES: Final = 3
"""Of one stale password in all: one, and another after a minute and after two more."""
SLOWER: Final = 1.25
"""What a cold start may take of one without stale passwords: two runs differ by a tenth anyway."""
FIRST_SLOWER: Final = 2.0
"""The same where no mark says which passwords are stale, so that each refusal costs a penalty of 4 s or more."""
PATIENCE: Final = 1800.0
STANDSTILL: Final = 200.0
"""Seconds in which nobody has been let in: nobody will be any more."""
WATCHED_SECONDS: Final = 180.0
"""So long the refused ones are looked at when all others have been let in."""
LINE: Final = 1000
"""Bytes of the longest line of Dovecot's log."""
SHARES: Final = (0.5, 0.95, 1.0)
LOGGED_IN: Final = re.compile(r"^(\w{3} \d+ [\d:]+) imap-login: Info: Login: user=<([^>]*)>", re.MULTILINE)
REFUSED: Final = re.compile(r"^(\w{3} \d+ [\d:]+) auth: Info: [\w-]+\(([^,]*),.*: Password mismatch", re.MULTILINE)


class LoginLog:
    """What Dovecot says of logins. A place is a byte of its log."""

    def __init__(self, dovecot: Dovecot) -> None:
        self._dovecot = dovecot

    def end(self) -> int:
        """The place where it ends now."""
        return self._dovecot.log_size()

    def let_in(self, since: int = 0) -> list[tuple[str, str]]:
        """Time and login of each that Dovecot let in."""
        return LOGGED_IN.findall(self._dovecot.log(since))

    def refused(self, since: int = 0) -> list[tuple[str, str]]:
        """Time and login of each that it refused."""
        return REFUSED.findall(self._dovecot.log(since))


@dataclass(frozen=True)
class ColdStart:
    """When each login was let in, in seconds since the first of all: until then processes start and take their slots.

    `place`: from which on the log tells of it.
    """

    let_in: dict[str, float]
    place: int

    def only(self, logins: set[str]) -> "ColdStart":
        return ColdStart({login: at for login, at in self.let_in.items() if login in logins}, self.place)

    def seconds(self) -> list[int]:
        return [round(self.quantile(share)) for share in SHARES]

    def quantile(self, share: float) -> float:
        ranked = sorted(self.let_in.values())
        return max(1.0, ranked[int(share * (len(ranked) - 1))]) if ranked else float("inf")

    def slower_than(self, other: "ColdStart") -> list[float]:
        """How many times as long as the other it took, for each of SHARES."""
        return [round(self.quantile(share) / other.quantile(share), 2) for share in SHARES]


class Pods(Protocol):
    """Listener pods that can be started cold."""

    pods: int
    log: LoginLog

    def cold_start(self, wanted: set[str], *, stale: str | None = None, fresh: bool = False) -> ColdStart:
        """Loses all pods, and starts them at once; waits until those `wanted` have been let in.

        `stale`: the logins of this pattern have another password at Dovecot meanwhile. `fresh`: all passwords are put
        anew before, so that no mark says anything of them.
        """

    def marked_refused(self) -> int:
        """Of how many entries the store says that they are refused."""


class Play:
    """The users, and what happens to them."""

    def __init__(self, users: int) -> None:
        stale = set(range(1, users + 1, round(1 / SHARE)))
        self.logins = {number: f"stale{number}" if number in stale else f"u{number}" for number in range(1, users + 1)}
        """By user id."""
        self.wrong = {self.logins[number] for number in stale}
        self.others = set(self.logins.values()) - self.wrong

    def run(self, verdict: Verdict, pods: Pods) -> None:
        everybody, others = set(self.logins.values()), self.others
        # Maildirs and registrations are made here, so that the cold starts below do the same work.
        first = pods.cold_start(everybody, fresh=True)
        verdict.step(f"all {len(everybody)} users are let in once", everybody <= first.let_in.keys(), first.seconds())
        unmarked = pods.cold_start(everybody, fresh=True)
        marked = pods.cold_start(everybody)
        for start, what in ((unmarked, "unmarked"), (marked, "proven")):
            verdict.step(f"all {what} ones are let in", everybody <= start.let_in.keys(), start.seconds())
        verdict.step("nobody is refused so far", not pods.log.refused())

        unmarked_stale = pods.cold_start(others, stale=STALE, fresh=True)
        verdict.step(f"all {len(others)} others are let in, unmarked", others <= unmarked_stale.let_in.keys())
        self._wait_refused(pods, unmarked_stale.place)
        known = pods.cold_start(others, stale=STALE)
        early = pods.log.refused(known.place)
        verdict.step(f"all {len(others)} others are let in, with marks", others <= known.let_in.keys())
        verdict.step("nobody is refused before all of them are in", not early, f"{len(early)} refused")
        time.sleep(WATCHED_SECONDS)
        self._judge_refusals(verdict, pods, unmarked_stale.place, known.place)

        ratio = known.only(others).slower_than(marked.only(others))
        verdict.step("with marks no other is delayed", max(ratio) <= SLOWER, f"{ratio} times as long")
        first_ratio = unmarked_stale.only(others).slower_than(unmarked.only(others))
        verdict.step(
            "without marks no other waits for more than the penalty",
            max(first_ratio) <= FIRST_SLOWER,
            f"{first_ratio} times as long",
        )
        verdict.number(
            users=len(everybody),
            stale=len(self.wrong),
            shares=SHARES,
            marked_s=[marked.only(others).seconds(), known.only(others).seconds()],
            marked_ratio=ratio,
            unmarked_s=[unmarked.only(others).seconds(), unmarked_stale.only(others).seconds()],
            unmarked_ratio=first_ratio,
            refused_before_all_were_in=len(early),
        )

    def _wait_refused(self, pods: Pods, place: int) -> None:
        """Until the stale ones have been tried once, and their entries are marked so."""
        wait_for(
            "each stale password is refused once",
            lambda: self.wrong <= {login for _, login in pods.log.refused(place)},
            PATIENCE,
        )
        wait_for("all marks are written", lambda: pods.marked_refused() == len(self.wrong), PATIENCE)

    def _judge_refusals(self, verdict: Verdict, pods: Pods, place: int, known_place: int) -> None:
        """The refused logins: whose, how many a minute, and how often each."""
        refused, again = pods.log.refused(place), pods.log.refused(known_place)
        tries = Counter(login for _, login in refused)
        worst, worst_again, most = worst_minute(refused), worst_minute(again), max(tries.values(), default=0)
        verdict.step("only stale passwords are refused", tries.keys() <= self.wrong)
        verdict.step("refused logins stay within the budget", worst <= BUDGET * pods.pods, f"{worst} in a minute")
        verdict.step("those that are known as refused are tried again", again, f"{len(again)} times")
        verdict.step(
            "and within a budget of their own", worst_again <= (DOUBTED + 1) * pods.pods, f"{worst_again} in a minute"
        )
        verdict.step("no account is tried so often that it could be locked", most <= TRIES, f"{most} times")
        verdict.number(
            refused=len(refused), refused_a_minute=worst, known_refused_a_minute=worst_again, tries_of_one=most
        )


def let_in(log: LoginLog, place: int, wanted: set[str]) -> ColdStart:
    """Waits until all have been let in, or nobody is any more."""
    moments: dict[str, datetime] = {}
    read, ends, changed = place, time.monotonic() + PATIENCE, time.monotonic()
    while not wanted <= moments.keys() and time.monotonic() < min(ends, changed + STANDSTILL):
        time.sleep(1)
        # From a little before: what had been read may have ended within a line.
        read, from_here = log.end(), max(place, read - LINE)
        for at, login in log.let_in(from_here):
            if login not in moments:
                moments[login] = datetime.strptime(f"2000 {at}", "%Y %b %d %H:%M:%S")
                changed = time.monotonic()
    first = min(moments.values(), default=None)
    return ColdStart({login: (at - first).total_seconds() for login, at in moments.items() if first}, place)


def worst_minute(refused: list[tuple[str, str]]) -> int:
    """How many of one minute of the clock."""
    return max(Counter(at[:-3] for at, _ in refused).values(), default=0)

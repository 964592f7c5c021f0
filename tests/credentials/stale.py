"""`stale`: cold starts of many users of whom some have a stale password, at a Dovecot that punishes refused logins.

Each cold start with stale passwords is measured against the same one without: of entries whose marks say which are
refused and which work, and of entries without any mark, as after an import. When each user was let in is read from
Dovecot's own log, and so is which logins it has refused.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailpush.kube import resources
from mailpush.kube.client import Kube
from tests.credentials.site import CredentialSite, Stage
from tests.sites.listener import ListenerSite
from tests.sites.mail import CLIENT

SHARE: Final = 0.02
FAILURE_DELAY: Final = 2.0
"""Dovecot's default."""
BUDGET: Final = 30
"""Logins that a server may refuse to one pod within a minute before unproven passwords wait (ConnectBudget)."""
DOUBTED: Final = 3
"""Of passwords that are known as refused, so many in a minute (mechanisms.lanes)."""
TRIES: Final = 3
"""Of one stale password within the scene: one, and another after a minute and after two more."""
SLOWER: Final = 1.25
"""What a cold start may take of one without stale passwords: two runs differ by a tenth anyway."""
FIRST_SLOWER: Final = 2.0
"""The same where no mark says which passwords are stale, so that each refusal costs a penalty of 4 s or more."""
PATIENCE: Final = 1800.0
WATCHED_SECONDS: Final = 180.0
"""So long the refused ones are looked at when all others have been let in."""
BATCH: Final = 200
SHARES: Final = (0.5, 0.95, 1.0)


@dataclass(frozen=True)
class ColdStart:
    """Seconds until each login was let in, and the logins that were refused meanwhile, from a place of the log on."""

    let_in: dict[str, float]
    place: int
    began: datetime

    def only(self, logins: set[str]) -> "ColdStart":
        return ColdStart({login: at for login, at in self.let_in.items() if login in logins}, self.place, self.began)

    def seconds(self) -> list[int]:
        return [round(self.quantile(share)) for share in SHARES]

    def quantile(self, share: float) -> float:
        ranked = sorted(self.let_in.values())
        return max(1.0, ranked[int(share * (len(ranked) - 1))]) if ranked else float("inf")

    def slower_than(self, other: "ColdStart") -> dict[float, float]:
        """How many times as long as the other it took, by share of the logins."""
        return {share: round(self.quantile(share) / other.quantile(share), 2) for share in SHARES}


def play(stage: Stage) -> None:
    verdict = stage.verdict
    count = stage.users
    stale = set(range(1, count + 1, round(1 / SHARE)))
    logins = {number: f"stale{number}" if number in stale else f"u{number}" for number in range(1, count + 1)}
    wrong = {logins[number] for number in stale}
    others = set(logins.values()) - wrong
    with stage.site("memory", failure_delay=FAILURE_DELAY) as site:
        site.install()
        site.start_pods()
        asyncio.run(register(site, logins))
        put(site, logins)
        # Maildirs and registrations are made here, so that the cold starts below do the same work.
        first = let_in(site, 0, set(logins.values()), datetime.now())
        verdict.step(f"all {count} users are let in once", len(first.let_in) == count, f"{first.seconds()[-1]} s")

        def right() -> None:
            site.dovecot.start()

        def changed() -> None:
            site.dovecot.change_password("stale*", "another-password")

        unmarked = cold_start(site, set(logins.values()), right, fresh=logins)
        marked = cold_start(site, set(logins.values()), right)
        for start, what in ((unmarked, "unmarked"), (marked, "proven")):
            verdict.step(f"all {what} ones are let in", len(start.let_in) == count, f"{start.seconds()} s")
        verdict.step("nobody is refused so far", not site.refused())

        unmarked_stale = cold_start(site, others, changed, fresh=logins).only(others)
        verdict.step(f"all {len(others)} others are let in, unmarked", others <= set(unmarked_stale.let_in))
        wait_refused(site, unmarked_stale.place, wrong)
        known = cold_start(site, others, changed).only(others)
        verdict.step(f"all {len(others)} others are let in, with marks", others <= set(known.let_in))
        early = [at for at, _ in site.refused(known.place)]
        verdict.step("nobody is refused before all of them are in", not early, f"{len(early)} refused")
        time.sleep(WATCHED_SECONDS)
        judge(stage, site, wrong, unmarked_stale.place, known.place)

        ratios = known.slower_than(marked.only(others))
        verdict.step("with marks no other is delayed", max(ratios.values()) <= SLOWER, f"{ratios} times")
        first_ratios = unmarked_stale.slower_than(unmarked.only(others))
        verdict.step(
            "without marks no other waits for more than the penalty",
            max(first_ratios.values()) <= FIRST_SLOWER,
            f"{first_ratios} times",
        )
        verdict.number(
            users=count,
            stale=len(stale),
            shares=SHARES,
            marked_s=[marked.only(others).seconds(), known.seconds()],
            marked_ratio=list(ratios.values()),
            unmarked_s=[unmarked.only(others).seconds(), unmarked_stale.seconds()],
            unmarked_ratio=list(first_ratios.values()),
            refused_before_all_were_in=len(early),
        )


def put(site: CredentialSite, logins: dict[int, str], password: str | None = None) -> None:
    users = sorted(logins)
    for start in range(0, len(users), 5000):
        site.put(*users[start : start + 5000], password=password)


def wait_refused(site: CredentialSite, place: int, wrong: set[str]) -> None:
    """Until the stale ones have been tried once: their entries are marked so."""
    site.wait_for(
        "each stale password is refused once", lambda: wrong <= {login for _, login in site.refused(place)}, PATIENCE
    )
    entries = site.entries
    site.wait_for("all marks are written", lambda: sum(bool(one["refused"]) for one in entries()) == len(wrong))


def judge(stage: Stage, site: CredentialSite, wrong: set[str], place: int, known_place: int) -> None:
    """The refused logins: whose, how many a minute, and how often each."""
    verdict = stage.verdict
    refused, again = site.refused(place), site.refused(known_place)
    tries = Counter(login for _, login in refused)
    worst, worst_again = worst_minute(refused), worst_minute(again)
    pods = len(site.pods)
    verdict.step("only stale passwords are refused", set(tries) <= wrong)
    verdict.step("refused logins stay within the budget", worst <= 2 * BUDGET * pods, f"{worst} in a minute")
    verdict.step("those that are known as refused are tried again", again, f"{len(again)} times")
    verdict.step("and within a budget of their own", worst_again <= (DOUBTED + 1) * pods, f"{worst_again} in a minute")
    most = max(tries.values(), default=0)
    verdict.step("no account is tried so often that it could be locked", most <= TRIES, f"{most} times")
    verdict.number(refused=len(refused), refused_a_minute=worst, known_refused_a_minute=worst_again, tries_of_one=most)


def worst_minute(refused: list[tuple[str, str]]) -> int:
    """How many of one minute of the clock."""
    return max(Counter(at[:-3] for at, _ in refused).values(), default=0)


def cold_start(
    site: CredentialSite, wanted: set[str], change: Callable[[], None], fresh: dict[int, str] | None = None
) -> ColdStart:
    """All pods are lost, and started at once, when `change` has started Dovecot again.

    `fresh`: the passwords of these were put anew, so that no mark says anything of them.
    """
    site.dovecot.stop()
    if fresh is not None:  # nobody logs in meanwhile
        put(site, fresh, "a-former-password")
        put(site, fresh)
    site.lose(*site.pods)
    change()
    for name in sorted(site.pods):
        site.wait_pod(name)
    place, began = site.log_end(), datetime.now()
    for name in sorted(site.pods):
        site.start_pod(name)
    return let_in(site, place, wanted, began)


def let_in(site: CredentialSite, place: int, wanted: set[str], began: datetime) -> ColdStart:
    """Waits until all have been let in, or nobody is any more."""
    end, count, changed = time.monotonic() + PATIENCE, -1, time.monotonic()
    while time.monotonic() < end:
        found = {login for _, login in site.logins(place)}
        if wanted <= found:
            break
        if len(found) != count:
            count, changed = len(found), time.monotonic()
        elif time.monotonic() - changed > 200:
            break
        time.sleep(1)
    times: dict[str, float] = {}
    for at, login in site.logins(place):
        moment = datetime.strptime(f"{began.year} {at}", "%Y %b %d %H:%M:%S")
        times.setdefault(login, max(0.0, (moment - began).total_seconds()))
    return ColdStart(times, place, began)


async def register(site: CredentialSite, logins: dict[int, str]) -> None:
    """Many PushUsers, some hundred at a time: kubectl would take minutes."""
    async with await Kube.connect(site.namespace.plane.kubeconfig) as kube:
        numbers = sorted(logins)
        for start in range(0, len(numbers), BATCH):
            await asyncio.gather(
                *(
                    kube.create(
                        resources.PUSH_USER,
                        site.namespace.name,
                        ListenerSite.push_user(number, (CLIENT,), login=logins[number]),
                    )
                    for number in numbers[start : start + BATCH]
                )
            )

"""`stale`: a cold start of many users of whom some have a stale password, at a Dovecot that punishes refused logins.

The same cold start twice: once with every password right, once after the mail server has got other passwords for 2 % of
the users. When each user was let in is read from Dovecot's own log, and so is how many logins it has refused.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
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
TRIES: Final = 3
"""Of one stale password within the scene: one, and another after a minute and after two more."""
SLOWER: Final = 1.25
"""What the cold start of the others may take of one without stale passwords: two runs differ by a tenth anyway."""
PATIENCE: Final = 900.0
BATCH: Final = 200


def play(stage: Stage) -> None:
    verdict = stage.verdict
    count = stage.users
    stale = set(range(1, count + 1, round(1 / SHARE)))
    good = set(range(1, count + 1)) - stale
    logins = {number: f"stale{number}" if number in stale else f"u{number}" for number in range(1, count + 1)}
    with stage.site("memory", failure_delay=FAILURE_DELAY) as site:
        site.install()
        site.start_pods()
        asyncio.run(register(site, logins))
        users = sorted(logins)
        for start in range(0, count, 5000):
            site.put(*users[start : start + 5000])
        first = let_in(site, 0, set(logins.values()))
        verdict.step(f"all {count} users are let in once", len(first) == count, f"{span(first):.0f} s")

        def restart() -> None:
            """As a change of passwords does, so that nothing but the passwords is another."""
            site.dovecot.stop()
            site.dovecot.start()

        before = cold_start(site, set(logins.values()), restart)
        verdict.step("all are let in again", len(before) == count, f"{span(before):.0f} s")

        wanted = {logins[number] for number in good}
        refused_at = []

        def change() -> None:
            site.dovecot.change_password("stale*", "another-password")
            refused_at.append(site.log_end())

        after = cold_start(site, wanted, change)
        verdict.step(f"all {len(good)} others are let in", wanted <= set(after), f"{len(set(after) & wanted)}")
        others = {login: at for login, at in before.items() if login in wanted}
        mine = {login: at for login, at in after.items() if login in wanted}
        ratios = {share: round(quantile(mine, share) / quantile(others, share), 2) for share in (0.5, 0.95, 1.0)}
        verdict.step("the others are not delayed", ratios[0.95] <= SLOWER, f"{ratios} times without stale passwords")
        judge(stage, site, refused_at[0], {logins[number] for number in stale}, span(mine))
        verdict.number(
            users=count,
            stale=len(stale),
            cold_start_s=[round(span(others)), round(span(mine))],
            ratio=ratios,
        )


def judge(stage: Stage, site: CredentialSite, place: int, stale: set[str], seconds: float) -> None:
    """The refused logins: whose, how many a minute, and how often each."""
    verdict = stage.verdict
    refused = site.refused(place)
    tries = Counter(login for _, login in refused)
    minutes = Counter(at[:-3] for at, _ in refused)
    worst = max(minutes.values(), default=0)
    pods = len(site.pods)
    verdict.step("only stale passwords are refused", set(tries) <= stale)
    verdict.step("refused logins stay within the budget", worst <= 2 * BUDGET * pods, f"{worst} in a minute")
    most = max(tries.values(), default=0)
    verdict.step("no account is tried so often that it could be locked", most <= TRIES, f"{most} times")
    verdict.number(refused=len(refused), refused_a_minute=worst, tries_of_one=most, seconds=round(seconds))


def cold_start(site: CredentialSite, wanted: set[str], change: Callable[[], None]) -> dict[str, float]:
    """All pods are lost, and started at once; the seconds until each login was let in."""
    site.lose(*site.pods)
    change()
    for name in sorted(site.pods):
        site.wait_pod(name)
    place, began = site.log_end(), datetime.now()
    for name in sorted(site.pods):
        site.start_pod(name)
    return let_in(site, place, wanted, began)


def let_in(site: CredentialSite, place: int, wanted: set[str], began: datetime | None = None) -> dict[str, float]:
    """Waits until all have been let in, or nobody is any more; the seconds until each was."""
    end, count, changed = time.monotonic() + PATIENCE, -1, time.monotonic()
    while time.monotonic() < end:
        found = {login for _, login in site.logins(place)}
        if wanted <= found:
            break
        if len(found) != count:
            count, changed = len(found), time.monotonic()
        elif time.monotonic() - changed > 200:
            break
        time.sleep(2)
    times: dict[str, float] = {}
    began = began or datetime.now()
    for at, login in site.logins(place):
        moment = datetime.strptime(f"{began.year} {at}", "%Y %b %d %H:%M:%S")
        times.setdefault(login, max(0.0, (moment - began).total_seconds()))
    return times


def span(times: dict[str, float]) -> float:
    return max(times.values(), default=0.0)


def quantile(times: dict[str, float], share: float) -> float:
    ranked = sorted(times.values())
    return max(1.0, ranked[int(share * (len(ranked) - 1))]) if ranked else float("inf")


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

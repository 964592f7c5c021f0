"""`outage`: both stores away for a minute under mail load: nothing lost, no restart, and no delivery that waits."""

import itertools
import statistics
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.credentials.site import CredentialSite, Stage

USERS = tuple(range(3, 15))
RATE: Final = 5.0
"""Mails a second."""
CALM: Final = 20.0
"""Seconds before the outage, and after it."""
AWAY: Final = 60.0
SLOWER: Final = 1.5
"""What the median of the deliveries during the outage may be of the one before: a delivery waits for a callback, not
for a store."""


class Load:
    """Mails to the users in turn, each with the phase in which it was sent and the seconds until Dovecot answered."""

    def __init__(self, site: CredentialSite) -> None:
        self.phase = "before"
        self.subjects: list[str] = []
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.refused: list[str] = []
        self._site = site
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=50)
        self._clock = threading.Thread(target=self._run)
        self._clock.start()

    def stop(self) -> None:
        """Returns once Dovecot has answered for all."""
        self._ended.set()
        self._clock.join()
        self._pool.shutdown(wait=True)

    def _run(self) -> None:
        start = time.monotonic()
        for number, user in enumerate(itertools.cycle(USERS)):
            if self._ended.wait(max(0.0, start + number / RATE - time.monotonic())):
                return
            self._pool.submit(self._deliver, self.phase, user, f"outage {number}")

    def _deliver(self, phase: str, user: int, subject: str) -> None:
        start = time.monotonic()
        try:
            self._site.dovecot.deliver(f"u{user}", subject=subject)
        except OSError as error:  # an MTA would try again
            self.refused.append(f"{subject}: {error}")
            return
        self.seconds[phase].append(time.monotonic() - start)
        self.subjects.append(subject)


def play(stage: Stage) -> None:
    verdict = stage.verdict
    with stage.site("rdb") as site:
        assert site.database is not None
        site.install()
        site.start_pods()
        site.register(*USERS)
        site.put(*USERS)
        site.wait_listening(*USERS)
        site.wait_spread(*USERS)
        processes = {name: pod.pid for name, pod in site.pods.items()}
        place = site.log_end()
        load = Load(site)
        try:
            time.sleep(CALM)
            load.phase = "during"
            site.database.stop()
            site.redis.stop()
            began = time.monotonic()
            site.wait_for("the MailPushConfig says so", lambda: degraded(site))
            verdict.step("the MailPushConfig names it", True, f"after {time.monotonic() - began:.0f} s")
            time.sleep(max(0.0, began + AWAY - time.monotonic()))
        finally:
            site.redis.start()
            site.database.start()
            load.phase = "after"
            time.sleep(CALM)
            load.stop()
        judge(stage, site, load, processes, place)


def judge(stage: Stage, site: CredentialSite, load: Load, processes: dict[str, int], place: int) -> None:
    verdict = stage.verdict
    told: set[str] = set()

    def all_told() -> bool:
        told.clear()
        told.update(subject for subject, _ in site.told())
        return set(load.subjects) <= told

    try:
        site.wait_for("each mail is told", all_told)
    except AssertionError:
        pass  # which are missing is said below
    lost = sorted(set(load.subjects) - told)
    ids: dict[str, set[str]] = defaultdict(set)
    for subject, identity in site.told():
        ids[subject].add(identity)
    doubled = [subject for subject in load.subjects if len(ids[subject]) > 1]
    verdict.step(f"none of {len(load.subjects)} mails is lost", not lost, ", ".join(lost[:10]))
    verdict.step("none is told under two ids", not doubled, ", ".join(doubled[:10]))
    verdict.step("Dovecot takes every mail", not load.refused, "; ".join(load.refused[:3]))
    same = {name: pod.pid for name, pod in site.pods.items() if site.runs(pod)} == processes
    verdict.step("no listener was restarted", same)
    again = [login for _, login in site.logins(place)]
    verdict.step("no listener was stopped and started", not again, f"{len(again)} logins")
    median = {phase: statistics.median(times) for phase, times in load.seconds.items()}
    ratio = median["during"] / median["before"]
    verdict.step("no delivery waits for a store", ratio <= SLOWER, f"{ratio:.2f} times the median of before")
    site.wait_for("the MailPushConfig is well again", lambda: not degraded(site))
    site.wait_listening(*USERS)
    verdict.number(
        mails=len(load.subjects),
        lost=len(lost),
        doubled=len(doubled),
        away_s=AWAY,
        lmtp_ms={
            phase: [round(1000 * value, 1) for value in (median[phase], p95(times))]
            for phase, times in load.seconds.items()
        },
        ratio=round(ratio, 2),
    )


def degraded(site: CredentialSite) -> bool:
    return site.config_conditions().get("CredentialStorageDegraded", ("",))[0] == "True"


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]

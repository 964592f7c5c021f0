"""`stale`: the cold starts of a whole site with and without stale passwords."""

import asyncio
from typing import Final

from mailpush.kube import resources
from mailpush.kube.client import Kube
from tests.credentials.coldstart import FAILURE_DELAY, SESSIONS, ColdStart, Play, let_in
from tests.credentials.site import CredentialSite, Stage
from tests.sites.listener import ListenerSite
from tests.sites.mail import CLIENT

REGISTERED_AT_ONCE: Final = 200
PUT_AT_ONCE: Final = 5000


def play(stage: Stage) -> None:
    users = Play(stage.users)
    with stage.site("memory", failure_delay=FAILURE_DELAY, sessions=SESSIONS) as site:
        site.install()
        site.start_pods()
        asyncio.run(register(site, users.logins))
        users.run(stage.verdict, SitePods(site, users.logins))


class SitePods:
    """The pods of a site on a control plane."""

    def __init__(self, site: CredentialSite, logins: dict[int, str]) -> None:
        self.pods = len(site.pods)
        self.log = site.logins_log
        self._site = site
        self._logins = logins

    def cold_start(self, wanted: set[str], *, stale: str | None = None, fresh: bool = False) -> ColdStart:
        site = self._site
        site.dovecot.stop()
        if fresh:  # nobody logs in meanwhile
            self._put("a-former-password")
            self._put(site.dovecot.password)
        site.lose(*site.pods)
        if stale is None:
            site.dovecot.start()
        else:
            site.dovecot.change_password(stale, "another-password")
        for name in sorted(site.pods):
            site.wait_pod(name)
        place = self.log.end()
        for name in sorted(site.pods):
            site.start_pod(name)
        return let_in(self.log, place, wanted)

    def marked_refused(self) -> int:
        return sum(bool(entry["refused"]) for entry in self._site.entries())

    def _put(self, password: str) -> None:
        users = sorted(self._logins)
        for start in range(0, len(users), PUT_AT_ONCE):
            self._site.put(*users[start : start + PUT_AT_ONCE], password=password)


async def register(site: CredentialSite, logins: dict[int, str]) -> None:
    """Many PushUsers, some hundred at a time: kubectl would take minutes."""
    async with await Kube.connect(site.namespace.plane.kubeconfig) as kube:
        numbers = sorted(logins)
        for start in range(0, len(numbers), REGISTERED_AT_ONCE):
            await asyncio.gather(
                *(
                    kube.create(
                        resources.PUSH_USER,
                        site.namespace.name,
                        ListenerSite.push_user(number, (CLIENT,), login=logins[number]),
                    )
                    for number in numbers[start : start + REGISTERED_AT_ONCE]
                )
            )

"""A mail that a mechanism has seen outlives its process, as a callback's does."""

import asyncio
import shutil
from pathlib import Path
from typing import cast

from mailpush.kube.client import Kube
from mailpush.listener.mails.inbox import Inbox
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.open_entries import OpenEntries
from mailpush.listener.mails.peers import Peers
from mailpush.listener.mails.router import Router
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.status import UserOutcome
from mailpush.listener.users.status_writer import StatusWriter
from mailpush.listener.users.supervisor import Supervisor
from mailpush.listener.users.user import UserKey
from mailpush.listener.users.watch import Users
from mailpush.notifications.claims.store import MemoryClaims, boottime
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from tests.sites.fakekube import FakeKube
from tests.sites.waiting import until
from tests.unit.listener.people import CLIENT, FILES, FakeSite, Permitted, push_user
from tests.unit.notifications.site_of_tests import Recorder, Site, idle, mail, target

IMAPIDLE_ONLY = FILES | {
    "mail-push-listener.properties": FILES["mail-push-listener.properties"].replace("open-xchange-push-dovecot, ", "")
}


class Statuses:
    """Written nowhere."""

    def owns(self, slots: int) -> None:
        return

    def submit(self, key: UserKey, outcome: UserOutcome) -> None:
        return

    async def drop(self, keys: object) -> None:
        return


class Pod:
    """The parts that a mail goes through, on one journal; it owns every user."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.dispatcher = site.open(target(timeout=5.0))
        folder.mkdir(exist_ok=True)
        self.journal = Journal(folder)
        open_entries = OpenEntries(self.journal, self.dispatcher)
        self.inbox = Inbox(self.journal, open_entries)
        self.mechanisms = FakeSite(IMAPIDLE_ONLY)
        users = Users("main")
        self.supervisor = Supervisor(
            users,
            Credentials(UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: 0.0)),
            cast("StatusWriter", Statuses()),
            self.dispatcher,
            inbox=self.inbox,
            permission=Permitted(),
        )
        users.observe("ADDED", push_user(3, clients=[CLIENT]))
        self.router = Router(
            me="pod-0",
            inbox=self.inbox,
            open_entries=open_entries,
            own_users=self.supervisor,
            owners=self,
            peers=cast("Peers", None),
        )

    def owner_of(self, slot: int) -> str | None:
        return "pod-0"

    async def start(self) -> None:
        self.supervisor.apply(self.mechanisms.site())
        self.supervisor.start_slots([slot_of(1, 3)], 1)
        await self.supervisor.idle()
        self.routing = asyncio.create_task(self.router.run())

    def sees(self, seen: NewMail) -> bool:
        """The mechanism finds a mail in the user's folder."""
        (listener,) = self.mechanisms.imapidle.running
        return listener.on_mail(seen)

    async def end(self) -> None:
        self.routing.cancel()
        await asyncio.wait([self.routing])
        await self.dispatcher.close()
        await self.supervisor.close()


async def test_a_mail_that_imapidle_saw_before_a_kill_is_sent_once_by_the_next_process(tmp_path: Path) -> None:
    later = 0.0
    site = Site(claims=MemoryClaims(clock=lambda: boottime() + later))
    site.recorder.gate.clear()  # the webhook hangs
    killed = Pod(tmp_path / "journal", site)
    await killed.start()
    assert killed.sees(mail(7))
    await until(lambda: site.recorder.under_way)
    assert killed.sees(mail(8)), "one that is on its way, and one that has just been seen"
    shutil.copytree(tmp_path / "journal", tmp_path / "after the kill")

    hung, site.recorder = site.recorder, Recorder()
    later += 60.0  # the claims of a killed process expire
    pod = Pod(tmp_path / "after the kill", site)
    assert pod.inbox.pending == 2
    await pod.start()
    await until(lambda: len(site.recorder.ids) == 2)
    await idle(pod.dispatcher)
    assert pod.sees(mail(7)), "as where the folder is looked at again"
    assert await pod.inbox.flush(60) == 0
    assert pod.dispatcher.pending() == 0
    assert len(site.recorder.ids) == len(set(site.recorder.ids)) == 2
    hung.gate.set()
    for each in (pod, killed):
        await each.end()
    assert Journal(tmp_path / "after the kill").replay() == []

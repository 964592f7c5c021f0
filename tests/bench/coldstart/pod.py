"""What a listener pod has for its users, in a process of its own, without Kubernetes; all else is the product's.

It reads what it is to do from its standard input, since a password stands on no command line, and runs until killed.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any, Final, cast

import uvloop

from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.memory import RedisCredentials
from mailpush.credentials.stored import StoredCredentials
from mailpush.decision import site_facts
from mailpush.kube.client import Kube
from mailpush.listener.mechanisms.registry import MechanismRegistry
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.marks import Marks
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.site import Site
from mailpush.listener.users.status import UserOutcome
from mailpush.listener.users.status_writer import StatusWriter
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.listener.users.supervisor import Supervisor
from mailpush.listener.users.user import UserKey
from mailpush.listener.users.watch import Users
from mailpush.notifications.dispatcher import Dispatched, Undelivered
from mailpush.notifications.notification import NewMail
from mailpush.properties.read import read
from mailpush.properties.settings import RedisSettings
from mailpush.sharding.slots import SLOTS, slot_of
from mailpush.store.redis import client_of
from tests.sites.listener import ListenerSite
from tests.sites.mail import CLIENT

CONFIG_UID: Final = "bench"


def stored_in(redis_url: str, passcrypt: str) -> StoredCredentials:
    """The storage of the benchmark."""
    storage = RedisCredentials(client_of(RedisSettings(redis_url)), CONFIG_UID)
    return StoredCredentials(storage, Cipher(Passcrypt(passcrypt)))


class Nowhere:
    """Takes the statuses, and whatever else only mails need: there are none."""

    def owns(self, slots: int) -> None: ...

    def submit(self, key: UserKey, outcome: UserOutcome) -> None: ...

    async def drop(self, keys: Iterable[UserKey]) -> None: ...

    def dispatch(self, mail: NewMail, clients: tuple[str, ...]) -> Dispatched:
        return Dispatched(0, 0)

    async def settle(self, slots: Any, grace: float) -> list[Undelivered]:
        return []

    def offer(self, mail: NewMail) -> bool:
        return False

    def give_back(self, rest: Undelivered) -> None: ...

    def may_write(self) -> bool:
        return True


async def run(orders: dict[str, Any]) -> None:
    """Listens for the users of this pod's slots until killed."""
    settings = read(orders["files"])
    stored = stored_in(orders["redis"], settings.passcrypt or "")
    users, entries, nowhere = Users("main"), StoredEntries(), Nowhere()
    entries.use(stored)
    marks = Marks(entries)
    supervisor = Supervisor(
        users,
        Credentials(UserSecretReader(cast("Kube", None), "bench"), entries, marks),
        cast("StatusWriter", nowhere),
        nowhere,
        inbox=nowhere,
        permission=nowhere,
    )
    users.notify(supervisor)
    entries.notify(supervisor.user_changed)
    slots = [slot for slot in range(SLOTS) if slot % orders["pods"] == orders["pod"]]
    mine = frozenset(slots)
    for number, login in enumerate(orders["logins"], 1):
        if slot_of(1, number) in mine:
            push_user = ListenerSite.push_user(number, (CLIENT,), login=login)
            push_user["metadata"] |= {"uid": str(number), "resourceVersion": "1", "generation": 1}
            users.observe("MODIFIED", push_user)
    supervisor.apply(Site(settings, site_facts(settings), MechanismRegistry().by(settings)))
    supervisor.start_slots(slots, 1)
    await asyncio.gather(stored.watch(), entries.run(), marks.run())


if __name__ == "__main__":
    uvloop.run(run(json.load(sys.stdin)))

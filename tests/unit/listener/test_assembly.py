"""The parts as they are put together: a mail's way through them, and back when its user moves away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from mailpush.http.health import Pulse
from mailpush.kube.client import Kube
from mailpush.listener.assembly import Parts, assemble
from mailpush.listener.environment import Environment
from mailpush.listener.settings_watch import Loaded
from mailpush.notifications.notification import NewMail
from mailpush.sharding.leases import LeaseState
from mailpush.sharding.shardmap import NONE, PodRef, ShardMap
from mailpush.sharding.slots import SLOTS, slot_of
from mailpush.work.clock import boottime
from tests.sites.fakekube import FakeKube
from tests.sites.waiting import until
from tests.unit.listener.people import CLIENT, FILES, settings
from tests.unit.listener.users.userapi import UserApi

ME = PodRef("mail-push-main-0", "a")
MAIL = NewMail(1, 3, "INBOX", 1, 1)
WEBHOOK = f"""
mailpush.mail.server.default.host=127.0.0.1
mailpush.mail.server.default.port=1
mailpush.webhooks=hook
mailpush.webhook.hook.url=http://127.0.0.1:1/
mailpush.webhook.hook.clients={CLIENT}
"""


class Api(UserApi, FakeKube):
    """With the users, and all else."""

    def __init__(self) -> None:
        FakeKube.__init__(self)
        UserApi.__init__(self)


@pytest.fixture
async def api() -> Api:
    return Api()


@pytest.fixture
async def parts(tmp_path: Path, api: Api) -> AsyncIterator[Parts]:
    env = Environment.read(
        {
            "MAILPUSH_CONFIG": "main",
            "MAILPUSH_CONFIG_UID": "uid",
            "POD_NAMESPACE": "mail",
            "POD_NAME": ME.name,
            "POD_UID": ME.uid,
            "MAILPUSH_JOURNAL_DIR": str(tmp_path),
        }
    )
    name = "mail-push-listener.properties"
    loaded = Loaded(settings(FILES | {name: FILES[name] + WEBHOOK}), "hash")
    parts = assemble(env, cast("Kube", api), loaded, {}, Pulse())
    tasks = [asyncio.create_task(part.run()) for part in (parts.router, parts.shards, parts.user_reader)]
    yield parts
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await parts.supervisor.close()
    await parts.dispatcher.close()
    await parts.peers.close()
    parts.journal.close()


def shard_map(parts: Parts, epoch: int, owner: int) -> None:
    """All the users' slots are of this pod (0), or of nobody."""
    numbers = tuple(owner if slot == slot_of(1, 3) else NONE for slot in range(SLOTS))
    spec = ShardMap(epoch, False, (ME,), numbers, ()).to_spec()
    parts.shards.map_listed()
    parts.shards.observe_map(
        "MODIFIED", {"metadata": {"name": "main", "uid": "m", "resourceVersion": str(epoch)}, "spec": spec}
    )


async def test_a_mail_waits_for_its_owner_is_dispatched_by_it_and_waits_again_when_the_user_moves_away(
    parts: Parts,
    api: Api,
) -> None:
    parts.keeper.right.lasts = 1000.0
    parts.keeper.right.renewed(boottime())
    parts.applied.begin()
    assert parts.inbox.offer(MAIL)

    await api.put_user(3)
    parts.shards.begin(LeaseState())
    api.gate.clear()
    shard_map(parts, 1, 0)
    await until(lambda: api.lists)
    assert not parts.keeper.state.capable, "the users are not known"
    api.gate.set()
    await until(lambda: parts.dispatcher.open_users() == {(1, 3)})
    await until(lambda: parts.inbox.pending == 0)
    assert parts.keeper.state.config_hash == "hash"
    assert parts.keeper.state.capable

    shard_map(parts, 2, NONE)
    await until(lambda: parts.inbox.pending == 1)
    assert parts.dispatcher.open_users() == set()
    assert parts.keeper.state.released_through == 2

    parts.permission.end()
    assert not parts.dispatcher._may_send()

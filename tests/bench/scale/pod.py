"""What a listener does when it starts: reads the users of its slots and begins to listen for them.

`python -m tests.bench.scale.pod KUBECONFIG NAMESPACE CONFIG PODS [whole]` prints one JSON line. `PODS` pods read, each
its own slots, and all in this process; `whole`: only the first of them, which begins with its users too. The settings
allow none of their clients, so that no mail server is asked; what would be written to their statuses is not.
"""

import asyncio
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from mailpush import logs
from mailpush.http.health import Pulse
from mailpush.kube.client import Kube
from mailpush.listener.assembly import Parts, assemble
from mailpush.listener.environment import Environment
from mailpush.listener.settings_watch import Loaded
from mailpush.listener.users.reader import UserReader
from mailpush.listener.users.watch import Users
from mailpush.properties.read import read
from mailpush.sharding.leases import LeaseState
from mailpush.sharding.shardmap import PodRef, ShardMap
from mailpush.sharding.slots import SLOTS
from mailpush.work.clock import boottime
from tests.bench.scale.rig import memory_of

FILES: Final = {
    "mail-push-listener.properties": """
mailpush.packages=open-xchange-push-dovecot
mailpush.mail.servers=default
mailpush.mail.server.default.host=127.0.0.1
""",
    "mail-push.properties": "com.openexchange.push.allowedClients=nobody\n",
    "mail.properties": "com.openexchange.mail.passwordSource=global\n",
    "mail-push-secrets.properties": "com.openexchange.mail.masterPassword=of-the-benchmark\n",
}
MONITOR_SECONDS: Final = 0.002


def slots_of(pod: int, pods: int) -> frozenset[int]:
    """The slots of one of so many pods, which lie apart as they do after some changes."""
    return frozenset(range(pod, SLOTS, pods))


class Stalls:
    """The longest time between two turns of the loop: by the clock, and of this thread's CPU, which others take less
    of."""

    def __init__(self) -> None:
        self.clock = self.cpu = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            clock, cpu = time.monotonic(), time.thread_time()
            await asyncio.sleep(MONITOR_SECONDS)
            self.clock = max(self.clock, time.monotonic() - clock - MONITOR_SECONDS)
            self.cpu = max(self.cpu, time.thread_time() - cpu)


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(MONITOR_SECONDS)


async def read_all(kubeconfig: Path, namespace: str, config: str, pods: int) -> dict[str, Any]:
    """All pods read at once, each by a connection pool of its own."""
    kubes = [await Kube.connect(kubeconfig) for _ in range(pods)]
    users = [Users(config) for _ in range(pods)]
    readers = [UserReader(kube, namespace, config, known) for kube, known in zip(kubes, users, strict=True)]
    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    for pod, reader in enumerate(readers):
        reader.want(slots_of(pod, pods))
    await until(lambda: all(reader.ready() for reader in readers))
    found = sum(map(len, users))
    await _end(*tasks)
    for kube in kubes:
        await kube.close()
    return {"users": found}


async def start(kubeconfig: Path, namespace: str, config: str, pods: int) -> dict[str, Any]:
    """The first pod, with all that it has."""
    me = PodRef(f"mail-push-{config}-0", "uid")
    before = _resident()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "MAILPUSH_CONFIG": config,
            "MAILPUSH_CONFIG_UID": "uid",
            "POD_NAMESPACE": namespace,
            "POD_NAME": me.name,
            "POD_UID": me.uid,
            "MAILPUSH_JOURNAL_DIR": folder,
        }
        async with await Kube.connect(kubeconfig) as kube:
            parts = assemble(Environment.read(environment), kube, Loaded(read(FILES), "hash"), {}, Pulse())
            try:
                return await _measured(parts, me, slots_of(0, pods), before)
            finally:
                await parts.supervisor.close()
                await parts.dispatcher.close()
                await parts.peers.close()
                parts.journal.close()


async def _measured(parts: Parts, me: PodRef, mine: frozenset[int], before: int) -> dict[str, Any]:
    parts.keeper.right.lasts = 1e6
    parts.keeper.right.renewed(boottime())
    owners = tuple(0 if slot in mine else 1 for slot in range(SLOTS))
    shard_map = ShardMap(1, False, (me, PodRef("another", "uid")), owners, ())
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch())
    began, cpu = time.monotonic(), time.process_time()
    parts.applied.begin()
    tasks = [asyncio.create_task(part.run()) for part in (parts.shards, parts.user_reader)]
    metadata = {"name": "main", "uid": "m", "resourceVersion": "1"}
    parts.shards.observe_map("ADDED", {"metadata": metadata, "spec": shard_map.to_spec()})
    parts.shards.map_listed()
    parts.shards.begin(LeaseState())
    await until(lambda: parts.keeper.state.capable)
    ready, ready_cpu, listed = time.monotonic() - began, time.process_time() - cpu, _resident()
    await until(lambda: all(parts.supervisor.owns(slot) for slot in mine))
    assigned = parts.supervisor.counts()[0]["assigned"]
    await until(lambda: sum(parts.supervisor.counts()[1].values()) == assigned)
    found = {
        "users": assigned,
        "ready_s": ready,
        "ready_cpu_s": ready_cpu,
        "begun_s": time.monotonic() - began,
        "bytes_per_user": (listed - before) // assigned,
        "bytes_per_user_begun": (_resident() - before) // assigned,
        "longest_stall_s": stalls.clock,
        "longest_stall_cpu_s": stalls.cpu,
    }
    await _end(watching, *tasks)
    return found


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _resident() -> int:
    return memory_of(_PID)["VmRSS"]


_PID: Final = int(Path("/proc/self").readlink().name)


async def main() -> None:
    kubeconfig, namespace, config, pods = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    work = start if "whole" in sys.argv[5:] else read_all
    print(json.dumps(await work(kubeconfig, namespace, config, pods)))


if __name__ == "__main__":
    logs.configure(logging.WARNING)
    uvloop.run(main())

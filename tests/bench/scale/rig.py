"""A control plane of its own with as many PushUsers as asked, and what its processes use."""

import asyncio
import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp

from dev.cluster.controlplane import ControlPlane
from dev.processes.errors import DevError
from mailpush import names
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.sharding.slots import slot_of
from tests.sites.namespace import Namespace
from tests.sites.operator import CLIENT, OperatorSite

ROOT: Final = Path(__file__).resolve().parents[3]
NAMESPACE: Final = "bench"
CONFIG: Final = "main"
USERS_OF_A_CONTEXT: Final = 1_000
PUTS: Final = 100
"""PushUsers in one transaction of etcd, which takes 128 operations."""
TICKS: Final = os.sysconf("SC_CLK_TCK")

Figures = dict[str, Any]


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def ids(number: int) -> tuple[int, int]:
    """Context and user of the user with this number, from 0."""
    return 1 + number // USERS_OF_A_CONTEXT, 1 + number % USERS_OF_A_CONTEXT


def push_user(number: int) -> Object:
    """As our tools create it: with the labels."""
    context, user = ids(number)
    labels = {names.CONFIG_LABEL: CONFIG, names.SLOT_LABEL: str(slot_of(context, user))}
    return {
        "apiVersion": names.API_VERSION,
        "kind": "PushUser",
        "metadata": {"name": names.push_user_name(CONFIG, context, user), "labels": labels},
        "spec": {
            "configRef": {"name": CONFIG},
            "contextId": context,
            "userId": user,
            "clients": [CLIENT],
            "login": f"user{user}@context{context}.example",
        },
    }


def like(model: Object, number: int) -> Object:
    """The PushUser with this number, stored as `model` is."""
    own = push_user(number)
    metadata = {**model["metadata"], **own["metadata"], "namespace": NAMESPACE, "uid": str(uuid4())}
    return {**model, "metadata": metadata, "spec": {**model["spec"], **own["spec"]}}


def key_of(name: str) -> bytes:
    return f"/registry/{names.GROUP}/{names.PUSH_USERS}/{NAMESPACE}/{name}".encode()


def put_of(user: Object) -> dict[str, str]:
    value = json.dumps(user, separators=(",", ":")).encode()
    return {"key": b64encode(key_of(user["metadata"]["name"])).decode(), "value": b64encode(value).decode()}


@dataclass
class Rig:
    """A control plane with a namespace and a MailPushConfig in it, whose pods nobody starts."""

    plane: ControlPlane
    kube: Kube
    site: OperatorSite
    users: int
    namespace: str = NAMESPACE
    _apiserver: list[int] = field(default_factory=list)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.plane.kubeconfig

    async def make_users(self, model: Object | None = None) -> None:
        """Makes all PushUsers alike, or what is there of them.

        Put into etcd as the API server stores them, since it takes a quarter of an hour to create as many by way of it
        on a busy machine with two cores. The API server then serves them as it serves all others.

        Args:
            model: a PushUser as it is stored; default: one that the API server has just taken.
        """
        if model is None:
            model = await self.stored_user()
        began, revision = time.monotonic(), ""
        async with aiohttp.ClientSession() as session:
            for first in range(0, self.users, PUTS):
                numbers = range(first, min(first + PUTS, self.users))
                puts = [{"requestPut": put_of(like(model, number))} for number in numbers]
                async with session.post(f"{self.plane.etcd}/v3/kv/txn", json={"success": puts}) as answer:
                    answer.raise_for_status()
                    revision = (await answer.json(content_type=None))["header"]["revision"]
        say(f"{self.users:,} PushUsers put into etcd in {time.monotonic() - began:.1f} s")
        await self._caught_up(revision)

    async def _caught_up(self, revision: str) -> None:
        """Waits until the API server has in its cache what was put into etcd."""
        place = resources.PUSH_USER.path(self.namespace)
        asked = f"{place}?limit=1&resourceVersionMatch=NotOlderThan&resourceVersion={revision}"
        while True:
            answer = await asyncio.to_thread(self.plane.kubectl, "get", "--raw", asked)
            if answer.returncode == 0:
                return
            await asyncio.sleep(1)

    async def stored_user(self) -> Object:
        """The first PushUser as etcd has it; it is created where it is not there."""
        body = push_user(0)
        name = body["metadata"]["name"]
        if await self.kube.find(resources.PUSH_USER, self.namespace, name) is None:
            await self.kube.create(resources.PUSH_USER, self.namespace, body)
        async with aiohttp.ClientSession() as session:
            asked = {"key": b64encode(key_of(name)).decode()}
            async with session.post(f"{self.plane.etcd}/v3/kv/range", json=asked) as answer:
                answer.raise_for_status()
                (found,) = (await answer.json(content_type=None))["kvs"]
        stored: Object = json.loads(b64decode(found["value"]))
        return stored

    def apiserver_cpu(self) -> float:
        """CPU-seconds that the API server has used."""
        if not self._apiserver:
            port = self.plane.server.rpartition(":")[2]
            self._apiserver = [find_process("kube-apiserver", f"--secure-port={port}")]
        return cpu_of(self._apiserver[0])


def find_process(*arguments: str) -> int:
    """The process whose command line has all of these."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if {argument.encode() for argument in arguments} <= set(line):
                return int(folder.name)
    raise DevError(f"no process runs with {' '.join(arguments)}")


def cpu_of(pid: int) -> float:
    """CPU-seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_of(pid: int) -> Mapping[str, int]:
    """Bytes: `VmRSS`, what a process holds now; `VmHWM`, the most that it ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    parts = (line.split() for line in lines if line.startswith(("VmRSS:", "VmHWM:")))
    return {name.rstrip(":"): int(kilobytes) * 1024 for name, kilobytes, _ in parts}


@asynccontextmanager
async def rig(users: int) -> AsyncIterator[Rig]:
    """A control plane with our definitions and a MailPushConfig, and as yet without users."""
    with ControlPlane.start() as plane:
        say(f"a control plane runs at {plane.server}")
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"), check=True)
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s", check=True)
        plane.kubectl("create", "namespace", NAMESPACE, check=True)
        verbs, kinds = "--verb=get,list,watch,update,patch", ("pods", "leases", "pushusers", "pushusers/status")
        listener = ("create", "clusterrole", "mail-push-listener", verbs, f"--resource={','.join(kinds)}")
        plane.kubectl(*listener, check=True)
        site = OperatorSite(Namespace(plane, NAMESPACE))
        try:
            site.secret("master", password="the-master-password")
            site.config(CONFIG, listeners={"replicas": 3})
            async with await Kube.connect(plane.kubeconfig) as kube:
                yield Rig(plane, kube, site, users)
        finally:
            site.close()

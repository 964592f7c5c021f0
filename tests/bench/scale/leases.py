"""How long ten pods' Leases wait to be renewed while all ten write statuses: with and without what protects them.

Each pod's writer is a process of its own with the listeners' ServiceAccount, and so is what renews the ten Leases. In
turn: nobody writes; each pod writes as if it were alone (100 in a second, 8 at a time), served from the same priority
level as the Leases; the same with the chart's FlowSchema; and under the budget that all pods share.
"""

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Final

import click

from dev.processes import run as commands
from dev.programs import binaries
from mailpush import logs
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.listener.users.status_writer import StatusWriter
from mailpush.listener.users.user import User
from mailpush.sharding.slots import SLOTS
from mailpush.work.pace import Pace
from mailpush.work.status_budget import StatusBudget
from tests.bench.scale.rig import NAMESPACE, ROOT, Figures, Rig, push_user, say
from tests.bench.scale.writes import Permitted, Users, outcome

PODS: Final = 10
USERS: Final = 100
"""Of each pod; each is written again and again."""
SECONDS: Final = 20.0
EVERY: Final = 0.5
"""Seconds between two renewals of a Lease: six times as often as a pod, for more of them to be seen."""
ANSWER: Final = 2.5
"""Seconds after which a pod gives a renewal up."""
ALONE: Final = "alone"
SHARED: Final = "shared"


async def run(rig: Rig) -> Figures:
    if await rig.kube.find(resources.PUSH_USER, NAMESPACE, push_user(PODS * USERS - 1)["metadata"]["name"]) is None:
        await rig.make_users()
    await served(rig)
    kubeconfig = rig.plane.kubeconfig_for_service_account(NAMESPACE, "mail-push-main-listener")
    for pod in range(PODS):
        lease = {"metadata": {"name": lease_of(pod)}, "spec": {"holderIdentity": "bench"}}
        await rig.kube.create(resources.LEASE, NAMESPACE, lease)
    figures: Figures = {"lease_pods": PODS}
    for name, writers in (("quiet", None), ("unbounded", ALONE), ("unbounded_flow_schema", ALONE), ("budget", SHARED)):
        if name == "unbounded_flow_schema":
            flow_schema(rig, "apply")
        if name == "budget":
            flow_schema(rig, "delete")
        figures |= await phase(name, kubeconfig, writers)
    return figures


async def served(rig: Rig) -> None:
    """The ServiceAccount of the listeners is there, and has its rights: the operator makes both."""
    process = rig.site.start()
    try:
        rig.site.namespace.wait_for(
            "the listeners' rights", lambda: rig.site.namespace.get("rolebinding", "mail-push-main-listener")
        )
    finally:
        rig.site.stop(process)


def flow_schema(rig: Rig, verb: str) -> None:
    """As the chart has it."""
    chart = str(ROOT / "charts" / "mail-push")
    arguments = ("template", "mail-push", chart, "--namespace", NAMESPACE, "--show-only", "templates/flowcontrol.yaml")
    manifest = commands.quiet(binaries.path("helm4"), *arguments, check=True).stdout
    rig.plane.kubectl(verb, "-f", "-", input=manifest, check=True)


async def phase(name: str, kubeconfig: Path, way: str | None) -> Figures:
    """The writers write from before the first renewal until after the last."""
    pods = range(PODS) if way is not None else ()
    writers = [await started(kubeconfig, way or "", pod) for pod in pods]
    for writer in writers:
        await line_of(writer)
    waits = sorted(float(wait) for wait in (await line_of(await started(kubeconfig, "renew", 0))).split())
    rate = 0.0
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    for writer in writers:
        rate += float(await line_of(writer))
    missed = sum(wait >= ANSWER for wait in waits)
    median, late = statistics.median(waits), waits[int(len(waits) * 0.99)]
    say(
        f"{name:22} {len(waits):>4} renewals, median {1000 * median:.0f} ms, p99 {1000 * late:.0f} ms, "
        f"{missed} missed; {rate:.0f} statuses/s"
    )
    return {
        f"lease_{name}_p99_ms": round(1000 * late),
        f"lease_{name}_missed": missed,
        f"lease_{name}_status_writes_per_s": round(rate),
    }


async def started(kubeconfig: Path, way: str, pod: int) -> asyncio.subprocess.Process:
    """This module in a process of its own, which ends no later than this one: its standard input does."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.bench.scale.leases", str(kubeconfig), way, str(pod)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=2**20,
    )


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise click.ClickException(f"a process of the bench has ended with {await process.wait()}")
    return line.decode()


def lease_of(pod: int) -> str:
    return f"bench-{pod}"


# -- in a process of its own


async def renew(kube: Kube) -> str:
    """Renews all Leases, and gives the seconds that each renewal took."""
    waits: list[float] = []
    end = time.monotonic() + SECONDS

    async def keep(pod: int) -> None:
        lease = await kube.get(resources.LEASE, NAMESPACE, lease_of(pod))
        while (began := time.monotonic()) < end:
            lease["spec"]["renewTime"] = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
            try:
                lease = await kube.replace(resources.LEASE, NAMESPACE, lease, answer_seconds=ANSWER)
            except KubeError:
                waits.append(ANSWER)
                lease = await kube.get(resources.LEASE, NAMESPACE, lease_of(pod))
            else:
                waits.append(time.monotonic() - began)
            await asyncio.sleep(EVERY)

    await asyncio.gather(*(keep(pod) for pod in range(PODS)))
    return " ".join(f"{wait:.4f}" for wait in waits)


async def write(kube: Kube, way: str, pod: int) -> str:
    """Writes statuses of the pod's users until standard input ends, and gives how many in a second."""
    if way == ALONE:
        budget = StatusBudget(pace=Pace(100, 1))
        budget.at_once = 8
    else:
        budget = StatusBudget()
    mine = range(pod * USERS, (pod + 1) * USERS)
    users = [
        User.of(await kube.get(resources.PUSH_USER, NAMESPACE, push_user(number)["metadata"]["name"]))
        for number in mine
    ]
    written = 0

    class Counting(StatusWriter):
        async def _write(self, user: User, *rest: object) -> None:
            nonlocal written
            await super()._write(user, *rest)  # type: ignore[arg-type]
            written += 1

    writer = Counting(kube, NAMESPACE, f"mail-push-main-{pod}", Users(users), Permitted(), budget=budget)
    if way == SHARED:
        writer.owns(SLOTS // PODS)
    writing = asyncio.create_task(writer.run())
    print("ready", flush=True)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    began, round_ = time.monotonic(), 0
    while not ended.done():
        if not writer._pending:
            round_ += 1
            for user in users:
                writer.submit(user.key, outcome(round_))
        await asyncio.sleep(0.05)
    rate = written / (time.monotonic() - began)
    writing.cancel()
    if writer._in_flight:
        await asyncio.wait(writer._in_flight.values())
    return f"{rate:.2f}"


async def in_process(kubeconfig: str, way: str, pod: int) -> str:
    async with await Kube.connect(Path(kubeconfig)) as kube:
        return await (renew(kube) if way == "renew" else write(kube, way, pod))


if __name__ == "__main__":
    logs.configure()
    print(asyncio.run(in_process(sys.argv[1], sys.argv[2], int(sys.argv[3]))))

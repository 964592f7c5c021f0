"""How long the operator takes to know and decide on every user when it starts, and what each user costs it."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import click

from mailpush.kube.client import Object
from tests.bench.scale.rig import Figures, Rig, cpu_of, memory_of, say

START_SECONDS: Final = 1_200.0
"""After which a start counts as one that never ends."""


@dataclass(frozen=True)
class Start:
    """One start of the operator, until it has decided on every user. Memory in bytes, times in seconds."""

    wall: float
    cpu: float
    api_cpu: float
    resident: int
    peak: int
    to_be_written: int


async def run(rig: Rig) -> Figures:
    """An operator without users, then one for which every user is new, then one that finds everything said."""
    empty = await started(rig, 0)
    judged = await judged_user(rig)
    await rig.make_users({key: value for key, value in judged.items() if key != "status"})
    fresh = await started(rig, rig.users)
    await rig.make_users(judged)
    again = await started(rig, rig.users)
    if again.to_be_written:
        raise click.ClickException(f"{again.to_be_written} users are to be written although all is said")
    slowest = max(fresh.wall, again.wall)
    return {
        "users": rig.users,
        "operator_users_per_s": round(rig.users / slowest),
        "operator_users_per_core_second": round(rig.users / max(fresh.cpu, again.cpu)),
        "operator_bytes_per_user": round((max(fresh.peak, again.peak) - empty.resident) / rig.users),
        "operator_resident_bytes_per_user": round((again.resident - empty.resident) / rig.users),
        "operator_peak_mib": mib(max(fresh.peak, again.peak)),
        "operator_fresh_s": round(fresh.wall, 1),
        "operator_restart_s": round(again.wall, 1),
        "operator_restart_cpu_s": round(again.cpu, 1),
        "operator_restart_apiserver_cpu_s": round(again.api_cpu, 1),
    }


def mib(size: int) -> int:
    return round(size / 2**20)


async def started(rig: Rig, users: int) -> Start:
    """Starts an operator, and ends it as soon as it has decided on everybody."""
    site, api_before, began = rig.site, rig.apiserver_cpu(), time.monotonic()
    process = site.start(MAILPUSH_LOG_LEVEL="info")
    pid = site.pids[process]
    try:
        while not (said := site.logged(process, "users_decided")):
            if time.monotonic() - began > START_SECONDS:
                raise click.ClickException("the operator has not decided on all users\n" + site.group.read_log(process))
            site.group.check(process)
            await asyncio.sleep(0.2)
        wall = time.monotonic() - began
        if (decided := said[0]["users"]) != users:
            raise click.ClickException(f"the operator has decided on {decided} users instead of {users}")
        memory = memory_of(pid)
        start = Start(
            wall,
            cpu_of(pid),
            rig.apiserver_cpu() - api_before,
            memory["VmRSS"],
            memory["VmHWM"],
            said[0]["to_be_written"],
        )
    finally:
        site.stop(process)  # which releases its leadership
    say(
        f"operator with {users:,} users: {start.wall:.1f} s, {start.cpu:.1f} CPU-s, API server {start.api_cpu:.1f} "
        f"CPU-s, {mib(start.resident)} MiB resident, {mib(start.peak)} at most, {start.to_be_written:,} to write"
    )
    return start


async def judged_user(rig: Rig) -> Object:
    """A PushUser as it is stored once the operator has said of it that it is accepted."""
    process = rig.site.start()
    try:
        while True:
            user = await rig.stored_user()
            for condition in user.get("status", {}).get("conditions", ()):
                if condition["type"] == "Accepted":
                    if condition["status"] != "True":
                        raise click.ClickException(f"the user is refused: {condition['message']}")
                    return user
            await asyncio.sleep(0.2)
    finally:
        rig.site.stop(process)

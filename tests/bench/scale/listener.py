"""The listeners' cold start: what a pod and the API server need for its users, and what all pods together cost it."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
import msgspec

from mailpush import names
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.reader import LISTS_AT_ONCE, SELECTED
from mailpush.listener.users.slot_watch import selector
from tests.bench.scale.pod import slots_of
from tests.bench.scale.rig import CONFIG, ROOT, Figures, Rig, ids, say

PODS: Final = (3, 10, 50)
ROUNDS: Final = 3


class _Rest(msgspec.Struct, rename={"proceed": "continue"}):
    proceed: str = ""


class _Page(msgspec.Struct):
    metadata: _Rest


async def run(rig: Rig) -> Figures:
    """Each round the API server's own time for a pod's users, and a pod that starts with them; then all pods."""
    last = names.push_user_name(CONFIG, *ids(rig.users - 1))
    if await rig.kube.find(PUSH_USER, rig.namespace, last) is None:  # else another part has made them
        await rig.make_users()
    pods = PODS[0]
    await _read_bare(rig, slots_of(0, pods))  # the first to ask waits until the API server has read all users
    bare, started = [], []
    for _ in range(ROUNDS):
        began = time.monotonic()
        await _read_bare(rig, slots_of(0, pods))
        bare.append(time.monotonic() - began)
        started.append(await _pod(rig, pods, "whole"))
        say(f"API server alone {bare[-1]:.1f} s; a listener {started[-1]}")
    cpu: dict[int, float] = {}
    for count in PODS:
        before = rig.apiserver_cpu()
        found = await _pod(rig, count)
        cpu[count] = rig.apiserver_cpu() - before
        say(f"{count} listeners read {found['users']:,} users: {cpu[count]:.1f} CPU-s of the API server")
        if found["users"] != rig.users:
            raise AssertionError(f"{count} listeners know {found['users']} of {rig.users} users")
    own, ready = statistics.median(bare), statistics.median(one["ready_s"] for one in started)
    return {
        "listener_users": started[0]["users"],
        "apiserver_list_s": round(own, 2),
        "listener_ready_s": round(ready, 2),
        "listener_list_ratio": round(ready / own, 2),
        "listener_ready_cpu_s": round(statistics.median(one["ready_cpu_s"] for one in started), 2),
        "listener_bytes_per_user": started[-1]["bytes_per_user"],
        "listener_bytes_per_user_begun": started[-1]["bytes_per_user_begun"],
        "listener_longest_stall_s": round(max(one["longest_stall_s"] for one in started), 3),
        "listener_longest_stall_cpu_s": round(max(one["longest_stall_cpu_s"] for one in started), 3),
        "apiserver_cpu_s": {str(count): round(seconds, 1) for count, seconds in cpu.items()},
        "apiserver_cpu_50_over_3": round(cpu[50] / cpu[3], 2),
    }


async def _read_bare(rig: Rig, slots: frozenset[int]) -> None:
    """Asks for the same pages, as many at a time as a listener, and does nothing with them."""
    parts = iter(sorted(slots)[begin : begin + SELECTED] for begin in range(0, len(slots), SELECTED))

    async def some(mine: Iterator[list[int]]) -> None:
        for part in mine:
            query = {"limit": "500", "labelSelector": selector(CONFIG, part)}
            while True:
                answer = await rig.kube._request(
                    "GET", PUSH_USER.path(rig.namespace), query=query, timeout=aiohttp.ClientTimeout(total=300)
                )
                data = await answer.read()
                answer.raise_for_status()
                query["continue"] = msgspec.json.decode(data, type=_Page).metadata.proceed
                if not query["continue"]:
                    break

    await asyncio.gather(*(some(parts) for _ in range(LISTS_AT_ONCE)))


async def _pod(rig: Rig, pods: int, *more: str) -> dict[str, Any]:
    arguments = (str(rig.kubeconfig), rig.namespace, CONFIG, str(pods), *more)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.scale.pod", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"tests.bench.scale.pod {' '.join(arguments)} ended with {process.returncode}: see above")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found

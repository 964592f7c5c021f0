"""How fast a listener and the operator write statuses with no limit, against a bare client that does the same."""

import asyncio
import json
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from math import inf
from typing import Final

import aiohttp

from mailpush import names
from mailpush.kube import resources
from mailpush.kube.client import APPLY
from mailpush.listener.users.status import UserOutcome, status_of
from mailpush.listener.users.status_writer import StatusWriter
from mailpush.listener.users.user import User, UserKey
from mailpush.work.pace import Pace
from mailpush.work.status_budget import StatusBudget
from tests.bench.scale.rig import NAMESPACE, Figures, Rig, push_user, say

ROUNDS: Final = 7
IN_A_ROUND: Final = 300
WRITERS: Final = 8
"""Requests that are under way at a time, of either."""
POD: Final = "mail-push-main-0"


class Users:
    """The users of a round, as the watch of a pod would show them: as they are now."""

    def __init__(self, users: Iterable[User]) -> None:
        self.by_key = {user.key: user for user in users}

    def get(self, key: UserKey) -> User | None:
        return self.by_key.get(key)


class Permitted:
    def may_write(self) -> bool:
        return True


def outcome(round_: int) -> UserOutcome:
    """What is said in a round: each round says something else, of the same length."""
    return UserOutcome("True", "Registered", f"registered at the mail server, in round {round_:05}", "dovecot", 1)


async def run(rig: Rig) -> Figures:
    """Client and product by turns, so that what else the machine does meets both; the ratio of each pair of turns."""
    if await rig.kube.find(resources.PUSH_USER, NAMESPACE, push_user(1)["metadata"]["name"]) is None:
        await rig.make_users()
    users = [
        User.of(await rig.kube.get(resources.PUSH_USER, NAMESPACE, push_user(number)["metadata"]["name"]))
        for number in range(IN_A_ROUND)
    ]
    rates: dict[str, list[float]] = {"bare": [], "product": []}
    cpu: dict[str, list[float]] = {"bare": [], "product": []}
    async with bare_client(rig) as session:
        await bare(session, rig, users, 0)  # to warm up
        for round_ in range(1, ROUNDS + 1):
            ways: list[tuple[str, Callable[[int], Awaitable[None]]]] = [
                ("bare", lambda number: bare(session, rig, users, number)),
                ("product", lambda number: product(rig, users, number)),
            ]
            for place, (name, way) in enumerate(ways if round_ % 2 else ways[::-1]):
                before, began = rig.apiserver_cpu(), time.monotonic()
                await way(2 * round_ + place)
                rates[name].append(IN_A_ROUND / (time.monotonic() - began))
                cpu[name].append((rig.apiserver_cpu() - before) / IN_A_ROUND)
    ratios = [mine / theirs for mine, theirs in zip(rates["product"], rates["bare"], strict=True)]
    say(f"ratios of {ROUNDS} pairs of turns: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    return {
        "status_writes_per_s": round(statistics.median(rates["product"])),
        "bare_writes_per_s": round(statistics.median(rates["bare"])),
        "status_write_ratio": round(statistics.median(ratios), 3),
        "apiserver_ms_per_write": round(1000 * statistics.median(cpu["product"]), 1),
    }


def bare_client(rig: Rig) -> aiohttp.ClientSession:
    """aiohttp and nothing else, with the administrator's certificate."""
    tls = ssl.create_default_context(cafile=rig.plane.folder / "pki" / "ca.crt")
    tls.load_cert_chain(rig.plane.folder / "pki" / "admin.crt", rig.plane.folder / "pki" / "admin.key")
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=WRITERS))


async def bare(session: aiohttp.ClientSession, rig: Rig, users: list[User], round_: int) -> None:
    """The same bodies, made beforehand, by as many requests at a time as the product has."""
    said = outcome(round_)
    requests = [
        (
            f"{rig.plane.server}{resources.PUSH_USER.path(NAMESPACE, user.name, 'status')}"
            f"?fieldManager={names.LISTENER_MANAGER}&force=true",
            json.dumps(
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "PushUser",
                    "metadata": {"name": user.name, "uid": user.uid},
                    "status": status_of(user, said, POD, (), datetime.now(UTC)),
                }
            ),
        )
        for user in users
    ]
    left = iter(requests)

    async def worker() -> None:
        for url, body in left:
            async with session.patch(url, data=body, headers={"Content-Type": APPLY}) as answer:
                answer.raise_for_status()
                await answer.read()

    await asyncio.gather(*(worker() for _ in range(WRITERS)))


def unlimited() -> StatusBudget:
    budget = StatusBudget(pace=Pace(inf, 1))
    budget.at_once = WRITERS
    return budget


async def product(rig: Rig, users: list[User], round_: int) -> None:
    """A listener's own writer, without its limit."""
    writer = StatusWriter(rig.kube, NAMESPACE, POD, Users(users), Permitted(), budget=unlimited())
    writing = asyncio.create_task(writer.run())
    for user in users:
        writer.submit(user.key, outcome(round_))
    while writer._pending or writer._in_flight:  # noqa: ASYNC110 - nobody else asks when a writer has nothing to do
        await asyncio.sleep(0.005)
    writing.cancel()

"""How a term of leadership begins and ends: dead pods' users wait for neither kopf nor a reconcile."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from mailpush.controller.configs.reconcile import Reconciler
from mailpush.controller.leader import FIRST_SECONDS, Leader
from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.controller.triggers import Triggers
from mailpush.http.health import Pulse
from mailpush.kube.client import Object
from mailpush.kube.resources import Resource
from mailpush.work.queue import WorkQueue
from tests.unit.controller.builders import OPERATOR, OWNER, Others

MAIN = OWNER.key


class Api:
    """Shows one MailPushConfig and its StatefulSet in lists, and hangs at everything else. `asked`: the deadlines."""

    def __init__(self) -> None:
        self.asked: dict[str, float] = {}
        self.hung = asyncio.Event()

    async def probe(self, resource: Resource, _namespace: str, *, answer_seconds: float = 30.0) -> None:
        self.asked[f"probe {resource.kind}"] = answer_seconds

    async def list(
        self, resource: Resource, _namespace: str, *, answer_seconds: float = 30.0, **_: Any
    ) -> tuple[list[Object], str]:
        self.asked[f"list {resource.kind}"] = answer_seconds
        metadata = {"name": "main", "namespace": "mail", "uid": OWNER.uid, "resourceVersion": "7", "generation": 1}
        if resource.kind == "MailPushConfig":
            return [{"metadata": metadata, "spec": {}}], "9"
        return [{"metadata": {**OWNER.metadata("mail-push-main"), **metadata}, "status": {"updateRevision": "r2"}}], "9"

    async def find(self, *_: Any, **__: Any) -> Object:
        self.hung.set()
        await asyncio.Event().wait()
        raise AssertionError


class Shards(Others):
    """Takes the place of the shard loops: which have begun, and whether they have ended."""

    def __init__(self, state: OperatorState) -> None:
        super().__init__()
        self.began: list[tuple[ConfigKey, dict[ConfigKey, str]]] = []
        self.closed = asyncio.Event()
        self._state = state

    def config_changed(self, key: ConfigKey) -> None:
        self.began.append((key, dict(self._state.revisions)))

    async def close(self) -> None:
        self.closed.set()


class Term:
    """A term of leadership over that API. kopf takes its time to end: until `kopf_may_end`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api, self.state = Api(), OperatorState()
        self.shards = Shards(self.state)
        self.kopf_runs, self.kopf_may_end = asyncio.Event(), asyncio.Event()
        queue: WorkQueue[ConfigKey] = WorkQueue("configs")

        async def kopf(**_: Any) -> None:
            self.kopf_runs.set()
            try:
                await asyncio.Event().wait()
            finally:
                await self.kopf_may_end.wait()

        async def forever() -> None:
            await asyncio.Event().wait()

        async def listed(_namespace: str) -> None: ...

        monkeypatch.setattr("kopf.operator", kopf)
        parts: Any = {
            "state": self.state,
            "triggers": Triggers(self.state, queue, Others(), Others()),
            "watchdog": SimpleNamespace(run=forever),
            "events": SimpleNamespace(run=forever),
            "configs": Reconciler(self.api, OPERATOR, self.state, self.shards, Others(), queue=queue),  # type: ignore[arg-type]
            "config_queue": queue,
            "shards": self.shards,
            "users": SimpleNamespace(work=forever, write=forever, configs_known=lambda: None),
            "store": SimpleNamespace(observe=lambda _: None, count=lambda _: 0, wait_listed=listed),
            "user_queue": WorkQueue("users"),
            "user_writes": WorkQueue("user_writes"),
            "ending": SimpleNamespace(run=forever),
            "leftovers": SimpleNamespace(run=forever),
        }
        self.leader = Leader(self.api, OPERATOR, Pulse(), **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["stop", "leadership that is lost"])
async def test_the_shard_loops_end_at_once_although_kopf_takes_its_time(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process leads by then: two would plan."""
    term, stop = Term(monkeypatch), asyncio.Event()
    running = asyncio.create_task(term.leader.run(stop))
    await term.kopf_runs.wait()
    assert not term.shards.closed.is_set()
    if by == "stop":
        stop.set()
    else:
        running.cancel()
    await term.shards.closed.wait()
    assert not running.done(), "kopf has not ended yet"
    term.kopf_may_end.set()
    await asyncio.wait({running})


async def test_a_new_leader_looks_after_all_shards_by_one_list_although_each_reconcile_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead pod's users waited for all children of their MailPushConfig: a dozen requests of up to 30 s each."""
    term = Term(monkeypatch)
    running = asyncio.create_task(term.leader.run(asyncio.Event()))
    await term.api.hung.wait()
    assert term.shards.began == [(MAIN, {MAIN: "r2"})], "it knows, too, which pods are of an old revision"
    assert not term.state.configs[MAIN].looked
    assert len(term.api.asked) == 5
    assert set(term.api.asked.values()) == {FIRST_SECONDS}
    term.kopf_may_end.set()
    running.cancel()
    await asyncio.wait({running})

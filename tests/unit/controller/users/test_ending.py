"""What the operator does for the push users of a namespace that is being deleted."""

import asyncio
from typing import Any

import pytest

from mailpush import names
from mailpush.controller.state import OperatorState
from mailpush.controller.users.ending import AT_ONCE, EndingNamespaces
from mailpush.controller.users.reconcile import UserReconciler
from mailpush.controller.users.record import UserName
from mailpush.controller.users.store import UserStore
from mailpush.controller.wakes import Wakes
from mailpush.kube.errors import ConflictError, KubeError
from tests.unit.controller.builders import Keys
from tests.unit.controller.users.test_reconcile import HELD, push_user

MAIL = "mail"


class Kube:
    """Takes finalizers off; the first `conflicts` writes find that another wrote first, `refused` refuses each."""

    def __init__(self, conflicts: int = 0) -> None:
        self.conflicts = conflicts
        self.refused = False
        self.patches: list[tuple[str, dict[str, Any]]] = []
        self.reads = 0
        self.beside = self.most_beside = 0

    async def merge_patch(self, _resource: object, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        self.beside += 1
        self.most_beside = max(self.most_beside, self.beside)
        await asyncio.sleep(0)
        self.beside -= 1
        self.patches.append((name, patch["metadata"]))
        if self.refused:
            raise KubeError(403, "Forbidden", "the RoleBinding is gone")
        if self.conflicts > 0:
            self.conflicts -= 1
            raise ConflictError(409, "Conflict", "another wrote first")
        version = str(int(patch["metadata"]["resourceVersion"]) + 1)
        return push_user(int(name.rpartition("-")[2]), version, finalizers=patch["metadata"]["finalizers"])

    async def get(self, _resource: object, namespace: str, name: str) -> dict[str, Any]:
        self.reads += 1
        return push_user(int(name.rpartition("-")[2]), "20", finalizers=[*HELD["finalizers"], "someone.else/their"])


class Scene:
    def __init__(self, users: int, kube: Kube | None = None) -> None:
        self.kube = kube or Kube()
        self.state = OperatorState()
        self.queue = Keys()
        self.rounds = 0
        self.store = UserStore(self.kube, (MAIL,), self.queue, Wakes())  # type: ignore[arg-type]
        self.ending = EndingNamespaces(self.kube, (MAIL,), self.state, self.store, sleep=self.sleep)  # type: ignore[arg-type]
        for number in range(1, users + 1):
            self.store._changed("ADDED", push_user(number, **HELD))

    async def sleep(self, _seconds: float) -> None:
        self.rounds += 1
        await asyncio.sleep(0)

    def namespace(self, **metadata: Any) -> None:
        self.ending._changed("MODIFIED", {"metadata": {"name": MAIL, "resourceVersion": "1", **metadata}})

    async def run(self, rounds: int) -> None:
        """Until so many rounds have ended, or nothing is to be done any more."""
        task = asyncio.create_task(self.ending.run())
        before = self.rounds
        for _ in range(5_000):
            if self.rounds - before >= rounds:
                break
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    def held(self) -> int:
        return sum(names.FINALIZER in record.finalizers for _, record in self.store.all())


ENDS = {"deletionTimestamp": "2026-11-26T00:00:00Z"}


async def test_all_finalizers_go_with_one_write_each_and_some_beside_each_other() -> None:
    scene = Scene(300)
    scene.namespace(**ENDS)
    await scene.run(2)
    assert scene.held() == 0
    assert len(scene.kube.patches) == 300
    assert 1 < scene.kube.most_beside <= AT_ONCE


async def test_a_namespace_that_lives_keeps_them() -> None:
    scene = Scene(3)
    scene.namespace()
    await scene.run(1)
    assert scene.held() == 3
    assert scene.kube.patches == []


async def test_another_write_in_between_costs_another_round_and_nobody_elses_finalizer() -> None:
    scene = Scene(5, Kube(conflicts=2))
    scene.namespace(**ENDS)
    await scene.run(3)
    assert scene.held() == 0
    assert scene.kube.reads == 2
    assert [metadata["finalizers"] for _, metadata in scene.kube.patches[-2:]] == [["someone.else/their"]] * 2


async def test_refusals_are_tried_again_after_a_pause_and_until_the_namespace_is_gone() -> None:
    scene = Scene(4)
    scene.kube.refused = True
    scene.namespace(**ENDS)
    await scene.run(5)
    assert len(scene.kube.patches) in range(4 * 5, 4 * 6 + 1)
    scene.ending._changed("DELETED", {"metadata": {"name": MAIL, "resourceVersion": "2", **ENDS}})
    before = len(scene.kube.patches)
    await scene.run(1)
    assert len(scene.kube.patches) == before


@pytest.mark.parametrize("ends", [True, False])
async def test_nothing_is_written_to_a_user_whose_namespace_ends(ends: bool) -> None:
    scene = Scene(1)
    scene.namespace(**(ENDS if ends else {}))
    writes = Keys()
    users = UserReconciler(scene.kube, scene.state, scene.store, scene.queue, None, writes=writes)  # type: ignore[arg-type]
    for work in (users.work, users.write):
        await work(UserName(MAIL, "main-1-1"))
    assert (scene.kube.patches, writes) == ([], [])
    scene.queue.clear()
    users.configs_known()
    assert scene.queue == [UserName(MAIL, "main-1-1")], "nobody was decided on before"
    await users.work(UserName(MAIL, "main-1-1"))
    assert bool(writes) is not ends

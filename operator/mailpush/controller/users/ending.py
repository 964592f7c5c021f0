"""Namespaces that are being deleted: their PushUsers are let go of at once, or the finalizer would keep them for ever.

Kubernetes waits five seconds before it deletes what is in a namespace (kube-controller-manager's
namespaceDeletionGracePeriod), and then takes the operator's RoleBinding there away as early as anything else. So the
finalizers go in these seconds, whether the users have been unregistered or not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog

from mailpush import names
from mailpush.controller.state import OperatorState
from mailpush.controller.users.record import UserName, UserRecord
from mailpush.controller.users.store import UserStore
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ConflictError, KubeError, NotFoundError
from mailpush.kube.reflector import Change, Reflector
from mailpush.work.pace import Backoff

AT_ONCE: Final = 16
"""Writes that run beside each other."""
RETRY: Final = Backoff(0.2, 5.0)
LOOK_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class EndingNamespaces:
    """Watches the served namespaces, and notes in `state.ending` which are being deleted."""

    def __init__(
        self,
        kube: Kube,
        namespaces: tuple[str, ...],
        state: OperatorState,
        store: UserStore,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kube = kube
        self._state = state
        self._store = store
        self._sleep = sleep
        self._woken = asyncio.Event()
        self._reflectors = tuple(
            Reflector(kube, resources.NAMESPACE, None, self._changed, field_selector=f"metadata.name={namespace}")
            for namespace in namespaces
        )

    def reflectors(self) -> Iterator[Reflector]:
        """All that have to run."""
        yield from self._reflectors

    def _changed(self, change: Change, body: Object) -> None:
        name = body["metadata"]["name"]
        if change in ("DELETED", "ABSENT") or "deletionTimestamp" not in body["metadata"]:
            self._state.ending.discard(name)
        elif name not in self._state.ending:
            self._state.ending.add(name)
            self._woken.set()

    async def run(self) -> None:
        """Takes the finalizers off in each namespace that ends, until cancelled. Only the leader does."""
        failures = 0
        announced: set[str] = set()
        while True:
            if not self._state.ending:
                announced.clear()
                await self._woken.wait()
            self._woken.clear()
            kept = [(name, record) for name, record in self._store.all() if self._is_kept(name, record)]
            for namespace in {name.namespace for name, _ in kept} - announced:
                users = sum(name.namespace == namespace for name, _ in kept)
                log.warning("namespace_ends", namespace=namespace, let_go=users, entries_stay_at_dovecot=True)
                announced.add(namespace)
            if not kept:
                await self._sleep(LOOK_SECONDS)
                continue
            failed = await self._let_go(kept)
            failures = failures + 1 if len(failed) == len(kept) else 0
            if failed and failures in (1, 10):
                log.warning("finalizers_stay", users=len(failed), error=str(failed[0]), see="docs/uninstall.md")
            await self._sleep(RETRY.after(failures) if failures else 0)

    def _is_kept(self, name: UserName, record: UserRecord) -> bool:
        return name.namespace in self._state.ending and names.FINALIZER in record.finalizers

    async def _let_go(self, users: list[tuple[UserName, UserRecord]]) -> list[KubeError]:
        """What failed; a conflict is tried again as soon as the object has been read anew."""
        places = asyncio.Semaphore(AT_ONCE)
        failed: list[KubeError] = []

        async def one(name: UserName, record: UserRecord) -> None:
            finalizers = [finalizer for finalizer in record.finalizers if finalizer != names.FINALIZER]
            metadata = {"resourceVersion": record.version, "finalizers": finalizers}
            async with places:
                try:
                    self._store.take(await self._kube.merge_patch(resources.PUSH_USER, *name, {"metadata": metadata}))
                except NotFoundError:
                    pass  # the watch reports it
                except ConflictError:
                    await self._read(name)
                except KubeError as error:
                    failed.append(error)

        async with asyncio.TaskGroup() as tasks:
            for name, record in users:
                tasks.create_task(one(name, record))
        return failed

    async def _read(self, name: UserName) -> None:
        try:
            self._store.take(await self._kube.get(resources.PUSH_USER, *name))
        except KubeError:
            pass  # the watch brings it, too

"""The operator's admin endpoint: all push users of the namespaces that it serves."""

import asyncio
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Final

import structlog

from mailpush.admin.errors import AdminError
from mailpush.admin.server import AdminAccess, AdminServer, Registration, Running
from mailpush.controller.environment import OperatorSettings
from mailpush.controller.users.record import UserName, UserRecord
from mailpush.controller.users.store import UserStore
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, KubeError, NotFoundError

TRIES: Final = 5
LOOK_SECONDS: Final = 5.0
MISSING: Final = "no login is set: set the chart's admin.existingSecret to a Secret with the keys login and password"

log = structlog.get_logger(__name__)


class ClusterUsers:
    """Answers from what the operator has seen; a change goes by the API server, so a standby may make it as well."""

    def __init__(self, kube: Kube, namespaces: tuple[str, ...], store: UserStore) -> None:
        self._kube = kube
        self._namespaces = namespaces
        self._store = store

    async def listeners(self) -> Iterator[Running]:
        return (
            Running(record.context_id, record.user_id, permanent=True)
            for _, record in self._records()
            if record.listening is not None and record.listening.status == "True"
        )

    async def registrations(self) -> Iterator[Registration]:
        return (
            Registration(record.context_id, record.user_id, client)
            for _, record in self._records()
            if not record.deleting
            for client in record.clients
        )

    async def unregister(self, context: int, user: int, client: str) -> bool:
        """One client off a PushUser, or the PushUser itself with the last one."""
        found = [
            name
            for name, record in self._records()
            if (record.context_id, record.user_id) == (context, user)
            and not record.deleting
            and client in record.clients
        ]
        if len(found) > 1:
            them = ", ".join(f"{name.namespace}/{name.name}" for name in sorted(found))
            raise AdminError(
                409, f"More than one push user has this registration ({them}): edit the right one with kubectl"
            )
        try:
            return bool(found) and await self._remove(found[0], client)
        except KubeError as error:
            log.warning("admin_unregister_failed", user="/".join(found[0]), error=str(error))
            raise AdminError(503, "The Kubernetes API does not take the change: see the operator's log") from error

    async def _remove(self, name: UserName, client: str) -> bool:
        """By resourceVersion: what somebody else has changed meanwhile is looked at again, and not lost."""
        for _ in range(TRIES):
            try:
                body = await self._kube.get(resources.PUSH_USER, *name)
                metadata, clients = body["metadata"], body["spec"].get("clients") or []
                if client not in clients or "deletionTimestamp" in metadata:
                    return False
                version = metadata["resourceVersion"]
                if left := [one for one in clients if one != client]:
                    patch = {"metadata": {"resourceVersion": version}, "spec": {"clients": left}}
                    await self._kube.merge_patch(resources.PUSH_USER, *name, patch)
                else:
                    await self._kube.delete(resources.PUSH_USER, *name, uid=metadata["uid"], resource_version=version)
            except NotFoundError:
                return False
            except ConflictError:
                continue
            return True
        raise AdminError(409, "The push user keeps changing: try again")

    def _records(self) -> Iterator[tuple[UserName, UserRecord]]:
        if not all(self._store.listed(namespace) for namespace in self._namespaces):
            raise AdminError(503, "The operator has not read the push users yet: try again")
        return self._store.all()


class OperatorAdmin:
    """Runs the endpoint where the settings ask for one; login and certificate are read anew when they change."""

    def __init__(self, kube: Kube, settings: OperatorSettings, store: UserStore) -> None:
        self._settings = settings
        self._backend = ClusterUsers(kube, settings.namespaces, store)

    async def run(self) -> None:
        """Until cancelled. What is wrong with it is in the log, and stops nothing else."""
        port = self._settings.admin_port
        if port is None:
            return
        access = await asyncio.to_thread(self._read)
        server = AdminServer(self._backend, access, MISSING)
        try:
            said = await self._try(server.start(self._settings.listen, port), "")
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                current = await asyncio.to_thread(self._read)
                if current != access or not server.serving:
                    access = current
                    said = await self._try(server.use(current), said)
        finally:
            await server.close()

    async def _try(self, change: Awaitable[object], said: str) -> str:
        """What is wrong, empty where nothing is; `said` is not said again."""
        try:
            await change
        except OSError as error:  # of TLS, too
            if str(error) != said:
                log.error("admin_cannot_serve", port=self._settings.admin_port, error=str(error))  # noqa: TRY400
            return str(error)
        return ""

    def _read(self) -> AdminAccess:
        login = _files(self._settings.admin_directory, "login", "password")
        pair = _files(self._settings.admin_tls_directory, "tls.crt", "tls.key")
        return AdminAccess(*((value or "").rstrip("\r\n") for value in login), *pair)


def _files(directory: Path | None, *names: str) -> list[str | None]:
    """Their texts, empty ones for files that are missing; None without a directory."""
    if directory is None:
        return [None for _ in names]
    texts: list[str | None] = []
    for name in names:
        try:
            texts.append((directory / name).read_text())
        except (OSError, UnicodeDecodeError):
            texts.append("")
    return texts

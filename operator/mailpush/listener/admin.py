"""A listener pod's admin endpoint: the listeners of this pod, as OX's tool shows those of one node."""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import structlog

from mailpush import names
from mailpush.admin.credentials import Credentials
from mailpush.admin.errors import AdminError
from mailpush.admin.server import AdminAccess, AdminServer, Registration, Running
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.user import UserKey, key_of
from mailpush.properties.settings import Settings

MISSING: Final = "no login is set: set admin.authSecretRef of the MailPushConfig to a Secret with login and password"
ASK_THE_OPERATOR: Final = (
    "A listener pod may not change push users: ask the operator's admin endpoint (-s <release>-admin, the chart's "
    "admin.enabled), or use kubectl"
)

log = structlog.get_logger(__name__)


class ListeningUsers(Protocol):
    """The part of the supervisor that is needed here."""

    def listening(self) -> Iterable[UserKey]:
        """Users for whom a listener runs in this pod now."""


class PodUsers:
    """What a pod's admin endpoint can say of push users."""

    def __init__(self, kube: Kube, namespace: str, config: str, supervisor: ListeningUsers) -> None:
        self._kube = kube
        self._namespace = namespace
        self._config = config
        self._supervisor = supervisor

    async def listeners(self) -> Iterable[Running]:
        return [Running(*key, permanent=True) for key in self._supervisor.listening()]

    async def registrations(self) -> Iterable[Registration]:
        """All of the MailPushConfig, as OX lists those of the cluster.

        A pod knows only its own, so they are read, page by page; the operator's endpoint has them in memory.
        """
        found: list[Registration] = []
        try:
            selector = f"{names.CONFIG_LABEL}={self._config}"
            async for page, _ in self._kube.pages(PUSH_USER, self._namespace, label_selector=selector):
                for user in page:
                    key = key_of(self._config, user["metadata"]["name"])
                    if key is not None and "deletionTimestamp" not in user["metadata"]:
                        found += (Registration(*key, client) for client in user["spec"].get("clients") or ())
                await asyncio.sleep(0)  # a callback may wait
        except KubeError as error:
            raise AdminError(503, "The push users cannot be read from the Kubernetes API at the moment") from error
        return found

    async def unregister(self, context: int, user: int, client: str) -> bool:
        """A pod's rights are small on purpose: it writes statuses, and nobody's registrations."""
        raise AdminError(403, ASK_THE_OPERATOR)


class SettledCredentials(Credentials, Protocol):
    """The credentials, which go by the settings."""

    def use(self, settings: Settings) -> None:
        """Those that count from now on."""


class PodAdmin:
    """The endpoint. Notifications do not need it, so what is wrong with it is logged and stops nothing."""

    def __init__(self, users: PodUsers, settings: Settings, credentials: SettledCredentials | None = None) -> None:
        self._credentials = credentials
        self._server = AdminServer(users, _access(settings), MISSING, credentials=credentials)

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self, host: str, port: int) -> None:
        try:
            await self._server.start(host, port)
        except OSError as error:  # of TLS, too
            log.warning("admin_cannot_serve", port=port, why=str(error))

    async def use(self, settings: Settings) -> None:
        """Login, certificate and mail servers that count from now on."""
        if self._credentials is not None:
            self._credentials.use(settings)
        try:
            await self._server.use(_access(settings))
        except OSError as error:
            log.warning("admin_cannot_serve", port=self._server.port, why=str(error))

    async def close(self) -> None:
        await self._server.close()


def _access(settings: Settings) -> AdminAccess:
    admin = settings.admin
    return AdminAccess(admin.login, admin.password, admin.certificate, admin.key)

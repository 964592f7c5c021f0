"""Each credential storage on the real server that it needs, by name, and a property test's view of one."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from pathlib import Path

from dev.services import MariaDB, Redis, Sentinel
from mailpush.credentials.database import DatabaseCredentials
from mailpush.credentials.memory import ProcessCredentials, RedisCredentials
from mailpush.credentials.storage import CredentialStorage
from mailpush.properties.settings import DatabaseSettings
from mailpush.store.redis import redis_client
from mailpush.store.sql import engine_of

PASSWORD = "Pl4nted-store-passw0rd"
Launch = Callable[[], CredentialStorage]


class Servers(AbstractContextManager["Servers"]):
    """Started when one is first asked for, and ended together."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self._running: dict[str, Redis | Sentinel | MariaDB] = {}
        self.folder = folder

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def redis(self, *, tls: bool = False, cluster: bool = False) -> Redis:
        name = f"redis-{tls}-{cluster}"
        if name not in self._running:
            password = PASSWORD if tls else None
            server = Redis.launch(password=password, tls=tls, cluster=cluster)
            self._running[name] = self._stack.enter_context(server)
        found = self._running[name]
        assert isinstance(found, Redis)
        return found

    def database(self, uid: str, *, tls: bool = False) -> DatabaseSettings:
        """An empty one, of a user of its own."""
        name = f"mariadb-{tls}"
        if name not in self._running:
            self._running[name] = self._stack.enter_context(MariaDB.launch(tls=tls))
        server = self._running[name]
        assert isinstance(server, MariaDB)
        own = f"c{uid.replace('-', '')[:30]}"
        server.create(own, own, f"{PASSWORD}-é€")
        ca = server.ca_file.read_text() if tls else None
        url = f"mysql://{server.host}:{server.port}/{own}"
        return DatabaseSettings(url, own, f"{PASSWORD}-é€", "verify" if tls else "none", ca)

    def sentinel(self) -> Sentinel:
        if "sentinel" not in self._running:
            self._running["sentinel"] = self._stack.enter_context(Sentinel.launch(self.redis()))
        found = self._running["sentinel"]
        assert isinstance(found, Sentinel)
        return found


def of_redis(server: Redis, uid: str, **options: float) -> RedisCredentials:
    ca = server.ca_file.read_text() if server.tls else None
    return RedisCredentials(redis_client(server.url, ca_pem=ca, **options), uid)  # type: ignore[arg-type]


def of_database(settings: DatabaseSettings) -> DatabaseCredentials:
    return DatabaseCredentials(engine_of(settings))


KINDS: dict[str, Callable[[Servers, str], CredentialStorage]] = {
    "process": lambda servers, uid: ProcessCredentials(),
    "redis": lambda servers, uid: of_redis(servers.redis(), uid),
    "redis-tls-password": lambda servers, uid: of_redis(servers.redis(tls=True), uid),
    "redis-cluster": lambda servers, uid: of_redis(servers.redis(cluster=True), uid),
    "redis-cluster-tls-password": lambda servers, uid: of_redis(servers.redis(tls=True, cluster=True), uid),
    "redis-sentinel": lambda servers, uid: RedisCredentials(redis_client(servers.sentinel().url()), uid),
    "sqlite": lambda servers, uid: of_database(DatabaseSettings(f"sqlite:///{servers.folder}/{uid}.sqlite")),
    "mariadb": lambda servers, uid: of_database(servers.database(uid)),
    "mariadb-tls": lambda servers, uid: of_database(servers.database(uid, tls=True)),
}


@asynccontextmanager
async def opened(servers: Servers, kind: str) -> AsyncIterator[CredentialStorage]:
    """An empty one."""
    storage = KINDS[kind](servers, str(uuid.uuid4()))
    try:
        yield storage
    finally:
        await storage.close()

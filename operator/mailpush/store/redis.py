"""Clients of Redis by URL: one server, with or without TLS, the master that Sentinels name, or a Redis Cluster."""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from mailpush.properties.settings import RedisSettings

RedisClient: TypeAlias = Redis | RedisCluster
ERRORS: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a command may raise. The library's texts may hold an address or a value: only the class may be told."""
CONNECTIONS: Final = 32
TIMEOUT: Final = 2.0

_URL: Final = re.compile(r"(rediss?)(?:\+(sentinel|cluster))?://([^/@?#]+)(?:/([^?#]*))?")
_PORTS: Final = {None: 6379, "cluster": 6379, "sentinel": 26379}

# The first row that fits counts: subclasses stand above their classes.
_TROUBLES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (AuthenticationError, "login"),
    (AuthorizationError, "login"),
    (NoPermissionError, "login"),
    (ReadOnlyError, "read_only"),
    (OutOfMemoryError, "full"),
    (MasterDownError, "away"),
    (RedisConnectionError, "away"),
    (RedisTimeoutError, "away"),
    (RedisClusterException, "away"),
    (OSError, "away"),  # also TimeoutError
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What a URL names. `kind`: None, `sentinel` or `cluster`; `master`: the name that Sentinels know."""

    kind: str | None
    tls: bool
    nodes: tuple[tuple[str, int], ...]
    master: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """`redis://host:port/db`, `redis+cluster://host:port,host:port`, `redis+sentinel://host:port,host:port/NAME/db`;
        `rediss` in place of `redis` for TLS. A login, as in `redis://user:password@host`, is taken too.

        Raises:
            ValueError: it is none. The text does not repeat it.
        """
        scheme, separator, rest = url.partition("://")
        login, at, place = rest.rpartition("@")
        found = _URL.fullmatch(f"{scheme}{separator}{place}")
        if found is None:
            raise ValueError("this is no URL of a Redis: redis://host:6379/0 is one")
        start, kind, hosts, path = found.groups()
        parts = [unquote(part) for part in (path or "").split("/") if part]
        master = parts.pop(0) if kind == "sentinel" and parts else ""
        db = parts.pop(0) if parts and kind != "cluster" else "0"
        if parts or not db.isdecimal() or bool(master) is not (kind == "sentinel"):
            raise ValueError("what stands behind the host in the URL of Redis is no database, or no master's name")
        user, _, password = login.partition(":")
        return cls(
            kind,
            start == "rediss",
            tuple(_node(host, _PORTS[kind]) for host in hosts.split(",")),
            master,
            int(db),
            unquote(user) or None if at else None,
            unquote(password) or None if at else None,
        )


def redis_client(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    ca_pem: str | None = None,
    timeout: float = TIMEOUT,
    connections: int = CONNECTIONS,
) -> RedisClient:
    """A client that connects when it is first used.

    Args:
        url: as `RedisAddress.parse` takes it.
        username, password: in place of those of the URL. Sentinels that want a password get the same.
        ca_pem: trusted in place of the system's authorities; for TLS only.
        timeout: seconds for connecting, for an answer, and for a free connection.
        connections: at most; who wants more waits. Of a Cluster: to each node.

    Raises:
        ValueError: no URL of a Redis, or no certificate. The text repeats neither.
    """
    address = RedisAddress.parse(url)
    options: dict[str, Any] = {
        "username": username or address.username,
        "password": password or address.password,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
    }
    context = _context(ca_pem) if address.tls else None
    if address.kind == "cluster":
        return _Cluster(address, context, connections, timeout, options)
    options |= {
        "db": address.db,
        "max_connections": connections,
        "timeout": timeout,
        "retry": Retry(NoBackoff(), 1),  # one more try, for a connection that was closed while idle
        **({"tls": context} if context is not None else {}),
    }
    if address.kind == "sentinel":
        return Redis.from_pool(_SentinelPool(address, context, timeout, options))
    host, port = address.nodes[0]
    return Redis.from_pool(
        BlockingConnectionPool(
            connection_class=Connection if context is None else _TlsConnection, host=host, port=port, **options
        )
    )


def client_of(redis: RedisSettings, *, connections: int = CONNECTIONS) -> RedisClient:
    """The client of the Redis that the settings name. Raises ValueError as `redis_client` does."""
    return redis_client(
        redis.url, username=redis.username, password=redis.password, ca_pem=redis.ca_pem, connections=connections
    )


async def drop_idle(client: RedisClient) -> None:
    """Closes the connections that nobody uses now: the name may lead to another server by now, and they to the old."""
    with suppress(*ERRORS):
        if isinstance(client, RedisCluster):
            await asyncio.gather(*(node.disconnect_free_connections() for node in client.get_nodes()))
        else:
            await client.connection_pool.disconnect(inuse_connections=False)


def trouble_of(error: BaseException) -> str:
    """What is wrong, in a word: `login`, `read_only`, `full`, `away` or `refuses`."""
    seen: BaseException | None = error
    words: list[str] = []
    while seen is not None and len(words) < 8:  # a Cluster's client tells the reason as a cause
        words.append(next((word for kind, word in _TROUBLES if isinstance(seen, kind)), "refuses"))
        seen = seen.__cause__
    return next((word for word in words if word not in {"away", "refuses"}), words[0])


class _TlsConnection(SSLConnection):
    """With a context of ours: it is made once, not for each connection, and trusts nobody but the given authority."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls


class _SentinelTlsConnection(SentinelManagedConnection, _TlsConnection):
    pass


class _Master(Sentinel):
    """Sentinels that are asked with the password first, and without one where they have none."""

    def __init__(self, address: RedisAddress, context: ssl.SSLContext | None, timeout: float, login: dict[str, Any]):
        super().__init__([], sentinel_kwargs={})  # type: ignore[no-untyped-call]
        common: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
        }
        kind: dict[str, Any] = {"connection_class": _TlsConnection, "tls": context} if context is not None else {}
        logins = [login, {}] if login.get("password") else [{}]
        self.sentinels = [
            Redis.from_pool(BlockingConnectionPool(host=host, port=port, max_connections=2, **common, **kind, **each))
            for host, port in address.nodes
            for each in logins
        ]

    async def aclose(self) -> None:
        await asyncio.gather(*(sentinel.aclose() for sentinel in self.sentinels))


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Who wants a connection waits for one, and gets one to the master."""

    def __init__(
        self, address: RedisAddress, context: ssl.SSLContext | None, timeout: float, options: dict[str, Any]
    ) -> None:
        login = {name: options[name] for name in ("username", "password")}
        self.master = _Master(address, context, timeout, login)
        kind = SentinelManagedConnection if context is None else _SentinelTlsConnection
        super().__init__(address.master, self.master, connection_class=kind, **options)  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        await self.master.aclose()
        await super().aclose()


class _Cluster(RedisCluster):
    """Who wants a connection waits for one, as with a single server."""

    def __init__(
        self,
        address: RedisAddress,
        context: ssl.SSLContext | None,
        connections: int,
        timeout: float,
        options: dict[str, Any],
    ) -> None:
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in address.nodes],
            max_connections=connections + 2,  # that of finding the nodes anew is none of ours
            retry=Retry(NoBackoff(), 1),  # a slot that has moved is asked for at its new place
            **options,
        )
        self._gate = asyncio.Semaphore(connections)
        self._patience = timeout
        if context is not None:
            tls = {"connection_class": _TlsConnection, "tls": context}
            self.nodes_manager.connection_kwargs.update(tls)
            for node in self.nodes_manager.startup_nodes.values():
                node.connection_class = _TlsConnection
                node.connection_kwargs["tls"] = context

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(self._patience):
                await self._gate.acquire()
        except TimeoutError:
            raise RedisConnectionError("No connection available.") from None
        try:
            return await super().execute_command(*args, **options)
        finally:
            self._gate.release()


def _context(ca_pem: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca_pem)
    except (ssl.SSLError, ValueError):
        raise ValueError("the authority of Redis is no PEM certificate") from None


def _node(text: str, default: int) -> tuple[str, int]:
    host, bracket, port = text.rpartition("]")  # [::1]:6379
    host, port = (host[1:], port) if bracket else (text.partition(":")[0], text.partition(":")[2])
    number = port.removeprefix(":")
    if not host or not (number or "0").isdecimal():
        raise ValueError("a host of the URL of Redis is none")
    return host, int(number or default)

"""Credentials in memory, and an endpoint before them."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from mailpush.admin.credentials import Credential, Put, Trial
from mailpush.admin.errors import AdminError
from mailpush.admin.server import AdminAccess, AdminServer, Registration, Running
from mailpush.credentials.storage import StorageUnavailableError, UserKey

LOGIN = ("oxadmin", "secret of the endpoint")


class Nobody:
    """No listener and no registration."""

    async def listeners(self) -> list[Running]:
        return []

    async def registrations(self) -> list[Registration]:
        return []

    async def unregister(self, context: int, user: int, client: str) -> bool:
        return False


class Shelf:
    """The passwords; `down` takes effect after so many puts."""

    def __init__(self) -> None:
        self.passwords: dict[UserKey, str] = {}
        self.puts: list[int] = []
        """How many passwords came at once."""
        self.down: int | None = None
        self.too_long: set[UserKey] = set()
        self.tested: list[UserKey] = []

    async def put(self, passwords: Mapping[UserKey, str]) -> dict[UserKey, Put]:
        self._ask()
        self.puts.append(len(passwords))
        return {key: self._put(key, password) for key, password in passwords.items()}

    def _put(self, key: UserKey, password: str) -> Put:
        if key in self.too_long:
            return Put(False, "it does not fit")
        before, self.passwords[key] = self.passwords.get(key), password
        return Put(before != password)

    async def get(self, key: UserKey) -> Credential | None:
        self._ask()
        return Credential(*key, "usable", 1_700_000_000, 0, 1_700_000_001) if key in self.passwords else None

    async def delete(self, key: UserKey) -> bool:
        self._ask()
        return self.passwords.pop(key, None) is not None

    async def test(self, key: UserKey) -> Trial:
        self._ask()
        if key in self.tested:
            raise AdminError(429, "tried a moment ago", 42)
        self.tested.append(key)
        return Trial("refused", "AuthenticationFailed", "mail.example:993 refused the login (NO)")

    async def page(self, after: UserKey | None, limit: int) -> list[Credential]:
        self._ask()
        keys = [key for key in sorted(self.passwords) if key > (after or (0, 0))]
        return [Credential(*key, "encrypted", 1_700_000_000, 0, 0) for key in keys[:limit]]

    def _ask(self) -> None:
        if self.down is not None and len(self.puts) >= self.down:
            raise StorageUnavailableError("the credential storage gives no answer within 10 s")


@contextlib.asynccontextmanager
async def endpoint(shelf: Shelf | None, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running endpoint."""
    server = AdminServer(Nobody(), AdminAccess(*LOGIN), "set a login", credentials=shelf, **options)
    port = await server.start("127.0.0.1", 0)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", auth=LOGIN, timeout=60, trust_env=False) as c:
            yield c
    finally:
        await server.close()

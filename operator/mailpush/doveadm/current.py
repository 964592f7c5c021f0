"""The doveadm that the settings name. It is replaced when they change."""

import asyncio
from typing import Any

from mailpush.doveadm.access import DoveadmAccess
from mailpush.doveadm.answers import Rows
from mailpush.doveadm.client import DoveadmClient
from mailpush.doveadm.errors import DoveadmUnreachableError


class CurrentDoveadm:
    """The API that the settings name, behind one name, so that a changed key needs no restart."""

    def __init__(self) -> None:
        self._access: DoveadmAccess | None = None
        self._client: DoveadmClient | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def use(self, access: DoveadmAccess | None) -> None:
        """Replaces it; who waits for the former one is told to come again."""
        if access == self._access:
            return
        if self._client is not None:
            closing = asyncio.create_task(self._client.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._access, self._client = access, DoveadmClient(access) if access is not None else None

    @property
    def trouble(self) -> str:
        """As `DoveadmClient.trouble`."""
        return self._client.trouble if self._client is not None else ""

    async def ask(self, command: str, user: str, **parameters: Any) -> Rows:
        if self._client is None:
            raise DoveadmUnreachableError("mailAccess.doveadm is off")
        return await self._client.ask(command, user, **parameters)

    async def close(self) -> None:
        self.use(None)
        await asyncio.gather(*self._closing)

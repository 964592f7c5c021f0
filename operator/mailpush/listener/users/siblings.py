"""Other PushUsers of the same user: a mail server holds one registration of a user, whoever of them made it."""

import asyncio
from typing import Final, Protocol

from pydantic import ValidationError

from mailpush import names
from mailpush.kube.client import Kube
from mailpush.kube.errors import NotFoundError
from mailpush.kube.resources import PUSH_USER, SHARD_MAP
from mailpush.listener.users.user import User
from mailpush.work.clock import Clock, boottime

KNOWN_SECONDS: Final = 1.0
"""Short: a user may move as soon as its new MailPushConfig is there."""


class OtherPushUsers(Protocol):
    """Knows of the other PushUsers of a user."""

    async def need(self, user: User, /) -> bool:
        """Whether another PushUser needs the registration of `user` at the mail server. Raises KubeError."""


class Siblings:
    """Looks in the namespace, where a user may be taken over from one MailPushConfig by another.

    It reads them by name, which follows from the MailPushConfig's and the user's. A query by label makes the API
    server go through all users, and a change of the settings may deny all of them at once.
    """

    def __init__(self, kube: Kube, namespace: str, config: str, clock: Clock = boottime) -> None:
        self._kube = kube
        self._namespace = namespace
        self._config = config
        self._clock = clock
        self._others: frozenset[str] = frozenset()
        self._looked = float("-inf")
        self._look: asyncio.Task[None] | None = None

    async def need(self, user: User) -> bool:
        """As `OtherPushUsers`. One that is deleted, suspended or without a client needs nothing."""
        for config in await self._other_configs():
            name = names.push_user_name(config, user.spec.context_id, user.spec.user_id)
            try:
                other = User.of(await self._kube.get(PUSH_USER, self._namespace, name))
            except (NotFoundError, ValidationError):
                continue
            if other.spec.clients and not other.spec.suspend and not other.deleting:
                return True
        return False

    async def _other_configs(self) -> frozenset[str]:
        """Each MailPushConfig has a ShardMap of its name, and those a listener may list."""
        asked = self._clock()
        while asked - self._looked >= KNOWN_SECONDS:
            if self._look is None or self._look.done():
                self._look = asyncio.create_task(self._list())
            # Shared, its failure too: where the API server is away, nobody waits for the timeouts of all others.
            await asyncio.shield(self._look)
        return self._others

    async def _list(self) -> None:
        begun = self._clock()
        maps, _ = await self._kube.list(SHARD_MAP, self._namespace)
        self._others = frozenset(one["metadata"]["name"] for one in maps) - {self._config}
        self._looked = begun


class NoSiblings:
    """For where there can be only one."""

    async def need(self, _user: User, /) -> bool:
        return False

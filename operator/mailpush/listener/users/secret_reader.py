"""The Secrets of this pod's users, through the API."""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from mailpush.credentials.user_secret import MISSING, UserSecret, user_secret
from mailpush.kube.client import Kube
from mailpush.kube.objects import older
from mailpush.kube.resources import SECRET
from mailpush.work.clock import Clock, boottime

KEPT_SECONDS: Final = 300.0
SWEEP_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 10.0
NO_SECRET: Final = "0"  # noqa: S105 - no resourceVersion


@dataclass(slots=True)
class _Kept:
    name: str
    secret: UserSecret
    version: str
    """Its resourceVersion; NO_SECRET where it does not exist."""
    until: float

    def is_older(self, announced: str | None) -> bool:
        """Whether the operator has seen a later Secret; a Secret that came or went is a later one."""
        if announced is None or announced == self.version:
            return False
        return NO_SECRET in (announced, self.version) or older(self.version, announced)


class UserSecretReader:
    """Reads users' Secrets by name (a listener may `get`, not list or watch them) and keeps them some minutes.

    The operator, which watches them, says in the PushUser's status which version it has seen: so a changed Secret is
    read at once, and no pod needs the right to see all Secrets of the namespace.

    Of each PushUser one is kept, until `forget` or its time drops it: a password does not stay in memory because
    nobody asks any more.
    """

    def __init__(self, kube: Kube, namespace: str, clock: Clock = boottime) -> None:
        self._kube = kube
        self._namespace = namespace
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def get(self, name: str, push_user: str, announced: str | None = None) -> UserSecret:
        """What Secret `name` holds for `push_user`.

        `announced`: the resourceVersion that the operator has seen last, None where it has said nothing.

        Raises:
            KubeError, TimeoutError: the API does not give it now.
        """
        kept = self._kept.get(push_user)
        if kept is not None and kept.name == name and kept.until > self._clock() and not kept.is_older(announced):
            return kept.secret
        async with asyncio.timeout(ANSWER_SECONDS):
            secret = await self._kube.find(SECRET, self._namespace, name)
        found = MISSING if secret is None else user_secret(secret, push_user)
        version = NO_SECRET if secret is None else secret["metadata"].get("resourceVersion", NO_SECRET)
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - so that not all are read again at once
        self._kept[push_user] = _Kept(name, found, version, self._clock() + KEPT_SECONDS * spread)
        self._sweep_later()
        return found

    def forget(self, push_user: str) -> None:
        """Drops the Secret of a user who has left, or one that is wrong or old: the next `get` reads it again."""
        self._kept.pop(push_user, None)

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._clock()
        self._kept = {push_user: kept for push_user, kept in self._kept.items() if kept.until > now}
        if self._kept:
            self._sweep_later()

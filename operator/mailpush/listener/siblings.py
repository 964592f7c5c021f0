"""Other PushUsers of the same user: a mail server holds one registration of a user, whoever of them made it."""

from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from mailpush import names
from mailpush.kube.client import Kube
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users import User

Needed = Callable[[User], Awaitable[bool]]
"""Whether another PushUser needs the registration of the given one. May raise KubeError."""


class Siblings:
    """Looks in the namespace, where a user may be taken over from one MailPushConfig by another."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace

    async def need(self, user: User) -> bool:
        """As `Needed`. One that is deleted, suspended or without a client needs nothing."""
        selector = f"{names.SLOT_LABEL}={user.slot}"
        for body in (await self._kube.list(PUSH_USER, self._namespace, label_selector=selector))[0]:
            try:
                other = User.of(body)
            except ValidationError:
                continue
            wants = other.spec.clients and not other.spec.suspend and not other.deleting
            if wants and other.key == user.key and other.uid != user.uid:
                return True
        return False


async def nobody_else(_: User) -> bool:
    """For where there can be only one."""
    return False

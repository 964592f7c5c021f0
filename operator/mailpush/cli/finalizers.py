"""Finalizers of PushUsers, taken off without anybody being unregistered: many at a time, and as often as asked."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mailpush import names
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ConflictError, NotFoundError

AT_A_TIME: Final = 32


def has_finalizer(user: Object) -> bool:
    """Whether a PushUser is kept until it is unregistered at Dovecot."""
    return names.FINALIZER in (user["metadata"].get("finalizers") or ())


def registered(users: Iterable[Object]) -> list[Object]:
    """Those that are registered at Dovecot: they have the finalizer."""
    return [user for user in users if has_finalizer(user)]


async def take_off(kube: Kube, namespace: str, users: Sequence[Object], done: Callable[[int], None]) -> None:
    """Takes the finalizer off each of the users; others that they have stay.

    Args:
        users: as they were last read.
        done: called with how many are done, after each.

    Raises:
        KubeError: the first that could not be done, once none is under way any more. The others may be done.
    """
    places = asyncio.Semaphore(AT_A_TIME)
    count = 0

    async def one(user: Object) -> None:
        nonlocal count
        async with places:
            await _take_off(kube, namespace, user)
        count += 1
        done(count)

    results = await asyncio.gather(*map(one, users), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _take_off(kube: Kube, namespace: str, user: Object) -> None:
    name = user["metadata"]["name"]
    while True:
        try:
            kept = [item for item in user["metadata"].get("finalizers") or () if item != names.FINALIZER]
            # By resourceVersion: the list is replaced as a whole, and another finalizer must not get lost.
            metadata = {"resourceVersion": user["metadata"]["resourceVersion"], "finalizers": kept}
            await kube.merge_patch(resources.PUSH_USER, namespace, name, {"metadata": metadata})
        except NotFoundError:
            return
        except ConflictError:
            found = await kube.find(resources.PUSH_USER, namespace, name)  # another wrote first
            if found is None:
                return
            user = found
        else:
            return

"""The Secrets that PushUsers name, as the operator knows them: what a decision may know, never the password."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mailpush.api.pushuser import PushUserSpec
from mailpush.controller.users.record import UserName
from mailpush.credentials.user_secret import MISSING, user_secret
from mailpush.decision import SecretFacts
from mailpush.kube import resources
from mailpush.kube.client import Kube

KEPT_SECONDS: Final = 300.0
NO_SECRET: Final = "0"  # noqa: S105 - no resourceVersion


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a user's Secret; all None where none is named."""

    facts: SecretFacts | None = None
    login: str | None = field(default=None, repr=False)
    version: str | None = None
    """Its resourceVersion, NO_SECRET where it does not exist."""


class UserSecrets:
    """Reads Secrets when users are decided on, and again when the watch has shown a change."""

    def __init__(self, kube: Kube, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._seen: dict[UserName, tuple[float, Seen]] = {}
        self._secret_of: dict[UserName, tuple[str, str]] = {}
        """Namespace and name of the Secret that was seen."""
        self._by_secret: dict[tuple[str, str], set[UserName]] = {}

    def changed(self, namespace: str, name: str) -> set[UserName]:
        """The Secret has changed: gives the users who name it, on whom is to be decided again."""
        users = self._by_secret.pop((namespace, name), set())
        for user in users:
            self._seen.pop(user, None)
        return users

    async def get(self, name: UserName, spec: PushUserSpec) -> Seen:
        """What is known of the user's Secret. Raises KubeError."""
        reference = spec.credentials_secret_ref
        if reference is None:
            self.forget(name)
            return Seen()
        place = (name.namespace, reference.name)
        if self._secret_of.get(name) != place:
            self.forget(name)
            self._secret_of[name] = place
        self._by_secret.setdefault(place, set()).add(name)
        kept = self._seen.get(name)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        secret = await self._kube.find(resources.SECRET, *place)
        found = MISSING if secret is None else user_secret(secret, name.name)
        version = NO_SECRET if secret is None else secret["metadata"].get("resourceVersion", NO_SECRET)
        seen = Seen(found.facts, found.login, version)
        if name in self._by_secret.get(place, ()):
            # Else it has changed while it was read, and this may be what it was: the user is in the queue again.
            self._seen[name] = (self._clock() + KEPT_SECONDS, seen)
        return seen

    def forget(self, name: UserName) -> None:
        """The user is gone, or names another Secret or none."""
        self._seen.pop(name, None)
        if (place := self._secret_of.pop(name, None)) is not None and (users := self._by_secret.get(place)) is not None:
            users.discard(name)
            if not users:
                del self._by_secret[place]

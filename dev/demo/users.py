"""The demo's push users."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import yaml

CLIENT = "open-xchange-mobile-api-facade"
TABLET = "USM-EAS-tablet"


@dataclass(frozen=True)
class DemoUser:
    """One user of one of the two installations; `listens` is what the demo expects."""

    config: str
    user_id: int
    context_id: ClassVar[int] = 1
    clients: tuple[str, ...] = (CLIENT,)
    suspended: bool = False
    own_password: bool = False
    """Whether the password stands in a Secret of the user's own."""
    stored: bool = False
    """Whether the password is put into the credential storage."""

    @property
    def login(self) -> str:
        return f"user{self.user_id}"

    @property
    def name(self) -> str:
        return f"{self.config}-{self.context_id}-{self.user_id}"

    @property
    def source(self) -> str:
        """Where the password comes from, as the PushUser's status names it."""
        return "userSecret" if self.own_password else "storage" if self.stored else "master"

    @property
    def reason(self) -> str | None:
        """Why nobody is to listen for this user; None where somebody is."""
        if self.suspended:
            return "Suspended"
        return None if CLIENT in self.clients else "ClientNotAllowed"

    @property
    def listens(self) -> bool:
        return self.reason is None

    def manifest(self) -> dict[str, object]:
        spec: dict[str, object] = {
            "configRef": {"name": self.config},
            "contextId": self.context_id,
            "userId": self.user_id,
            "clients": list(self.clients),
            "login": self.login,
            "mail": f"{self.login}@example.org",
        }
        if self.suspended:
            spec["suspend"] = True
        if self.own_password:
            spec["credentialsSecretRef"] = {"name": f"password-{self.user_id}"}
        return {
            "apiVersion": "mailpush.dev/v1alpha1",
            "kind": "PushUser",
            "metadata": {"name": self.name},
            "spec": spec,
        }


USERS = (
    DemoUser("main", 3, clients=(CLIENT, TABLET)),
    *(DemoUser("main", number) for number in range(4, 13)),
    DemoUser("main", 13, clients=("some-other-client",)),
    DemoUser("main", 14, suspended=True),
    *(DemoUser("idle", number, own_password=True) for number in range(21, 24)),
    *(DemoUser("idle", number, stored=True) for number in range(24, 27)),
)
DENIED = next(user for user in USERS if not user.listens and not user.suspended)
LISTENING = tuple(user for user in USERS if user.listens)
STORED = tuple(user for user in USERS if user.stored)
SPARE = "user30"
"""A login that Dovecot knows and no push user has."""
SILENT = tuple(user for user in USERS if not user.listens)


def manifests_of(users: Iterable[DemoUser]) -> str:
    """For kubectl apply."""
    return yaml.safe_dump_all([user.manifest() for user in users], sort_keys=False)

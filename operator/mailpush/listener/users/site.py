"""What one user's listener needs of the pod: the settings that all users share, and whom it reports to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mailpush.decision import Placement, SiteFacts
from mailpush.listener.mechanisms.base import Health, Mechanism
from mailpush.listener.users.status import UserOutcome
from mailpush.listener.users.user import UserKey
from mailpush.notifications.notification import NewMail
from mailpush.properties.settings import Settings


@dataclass(frozen=True, slots=True)
class Site:
    """What all users of the pod share.

    `unregister`: all users are to be unregistered. `leaves_registrations`: those that are deleted are not. `pod`: this
    pod's name, and `pod_allowed` whether it may run permanent listeners.
    """

    settings: Settings
    facts: SiteFacts
    mechanisms: Mapping[str, Mechanism]
    unregister: bool = False
    leaves_registrations: bool = False
    pod: str | None = None
    pod_allowed: bool = True

    def placement(self, slot: int) -> Placement:
        """The placement of a user whose slot this pod owns."""
        return Placement(slot, owner=self.pod, allowed=self.pod_allowed, here=self.pod)


class ListenerOwner(Protocol):
    """The supervisor, as one user's listener sees it."""

    def reported(self, key: UserKey, outcome: UserOutcome, health: Health | None) -> None:
        """There is a new outcome."""

    def look_again(self, key: UserKey) -> None:
        """The mechanism has given up: `reconcile` is to be called."""

    def user_gone(self, key: UserKey) -> None:
        """The last client of the user is gone, and nothing is registered any more."""

    def mail_seen(self, mail: NewMail) -> bool:
        """The mechanism has seen a new mail of the user; returns whether it is kept."""

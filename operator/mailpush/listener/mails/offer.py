"""What becomes of a new mail that is offered to a pod: what callback, hand-over and supervisor agree on."""

from enum import Enum
from typing import Protocol

from mailpush.notifications.notification import NewMail


class TakeResult(Enum):
    """What has become of a new mail that was offered to this pod."""

    TAKEN = "taken"  # this pod notifies the user's clients of it
    BUSY = "busy"  # the user is ours, and there is no room at the moment: keep the mail and offer it again
    NOT_MINE = "not_mine"  # not now: another pod owns the slot, or it is on its way; look for the owner again
    UNKNOWN = "unknown"  # the slot is ours, and there is no such PushUser
    DENIED = "denied"  # ours, but nobody is notified: suspended, no allowed client, ...


class MailTaker(Protocol):
    """Takes new mails of this pod's users: the supervisor."""

    def take(self, mail: NewMail) -> TakeResult:
        """Offers the mail to this pod's users. Never blocks, never raises."""


class SlotOwners(Protocol):
    """Knows which pod owns which slot: the shards."""

    def owner_of(self, slot: int) -> str | None:
        """The name of the pod that owns the slot now, None where this pod knows of none."""

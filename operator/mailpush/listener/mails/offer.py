"""What becomes of a new mail that is offered to a pod: what callback, hand-over and supervisor agree on."""

from collections.abc import Callable
from enum import Enum

from mailpush.notifications.notification import NewMail


class TakeResult(Enum):
    """What has become of a new mail that was offered to this pod."""

    TAKEN = "taken"  # this pod notifies the user's clients of it
    BUSY = "busy"  # the user is ours, and there is no room at the moment: keep the mail and offer it again
    NOT_MINE = "not_mine"  # not now: another pod owns the slot, or it is on its way; look for the owner again
    UNKNOWN = "unknown"  # the slot is ours, and there is no such PushUser
    DENIED = "denied"  # ours, but nobody is notified: suspended, no allowed client, ...


Local = Callable[[NewMail], TakeResult]
"""Offers a new mail to this pod's own listeners. Never blocks, never raises."""

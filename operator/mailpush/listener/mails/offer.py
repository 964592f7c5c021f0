"""What a pod answers when it is handed a new mail: the one thing that ingress, hand-over and supervisor agree on."""

from collections.abc import Callable
from enum import Enum

from mailpush.notifications.notification import NewMail


class TakeResult(Enum):
    """What has become of a new mail that was offered to this pod."""

    TAKEN = "taken"  # this pod tells the user's clients of it
    NOT_MINE = "not_mine"  # not now: another pod owns the slot, or it is on its way; look for the owner again
    UNKNOWN = "unknown"  # the slot is ours, and there is no such PushUser
    DENIED = "denied"  # ours, but nobody is to be told: suspended, no allowed client, ...


Local = Callable[[NewMail], TakeResult]
"""Offers a new mail to this pod's own listeners. Never blocks, never raises."""

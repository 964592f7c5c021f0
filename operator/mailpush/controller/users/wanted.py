"""What a PushUser object is to have, as far as it is the operator's: decided without I/O."""

from dataclasses import dataclass
from typing import Final

from mailpush import names
from mailpush.api.conditions import Verdict
from mailpush.controller.users.record import UserName, UserRecord

UNREGISTERED: Final = "Unregistered"
UNREGISTER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a PushUser object is to have, as far as it is the operator's."""

    verdicts: tuple[Verdict, ...]
    finalizer: bool | None
    """None: as it is."""
    weighs: bool
    elder: UserName | None = None
    """An older PushUser of the same mailbox."""
    secret_version: str | None = None
    """The resourceVersion of the user's Secret; None where none is used."""


def wanted_finalizer(record: UserRecord, *, config_exists: bool, waited: float) -> bool | None:
    """Whether the object is to be kept until the user is unregistered at Dovecot; None leaves it as it is.

    Args:
        waited: seconds since it was first seen with a deletionTimestamp.
    """
    listening = record.listening
    registered = record.mechanism == "dovecot" and listening is not None and listening.status == "True"
    if names.FINALIZER not in record.finalizers:
        # Kubernetes takes no new finalizer once an object is being deleted.
        return True if registered and config_exists and not record.deleting else None
    unregistered = listening is not None and listening.status == "False" and listening.reason == UNREGISTERED
    if unregistered or not config_exists:
        return False
    return False if record.deleting and waited >= UNREGISTER_SECONDS else None

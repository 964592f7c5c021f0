"""What a PushUser object is to have, as far as it is the operator's: decided without I/O."""

from dataclasses import dataclass
from typing import Any, Final

from mailpush import names
from mailpush.api.conditions import Verdict, condition
from mailpush.controller.users.owner_lost import LEFT, OWNER_LOST
from mailpush.controller.users.record import Said, UserName, UserRecord

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
    resync: bool = False
    """The elder is to register again: this one was faster, and took its entry away since."""
    leaves: bool = False
    """What stays registered when the user goes is meant to (deletionPolicy: Leave)."""

    @property
    def duplicate_of(self) -> str | None:
        return None if self.elder is None else f"{self.elder.namespace}/{self.elder.name}"


def lacks(record: UserRecord, wanted: Wanted) -> bool:
    """Whether anything is to be written."""
    held = names.FINALIZER in record.finalizers
    if not record.labelled or (wanted.finalizer is not None and wanted.finalizer != held):
        return True
    return not goes(record, wanted) and (wanted.resync or not says(record, wanted))


def goes(record: UserRecord, wanted: Wanted) -> bool:
    """Whether nothing holds the object any more: what is said of it then is said for nobody."""
    return record.deleting and wanted.finalizer is False


def says(record: UserRecord, wanted: Wanted) -> bool:
    """Whether the status says already what the operator has to say."""
    if not wanted.verdicts:
        return True
    said = _said(record)
    return (wanted.duplicate_of, wanted.secret_version) == (record.duplicate_of, record.secret_version) and all(
        _same(said.get(verdict.type), verdict, record.generation) for verdict in wanted.verdicts
    )


def is_urgent(record: UserRecord, wanted: Wanted) -> bool:
    """Whether somebody waits for it: it goes before what a change of settings means for all the others."""
    if record.deleting or not record.labelled or record.accepted is None or wanted.resync:
        return True
    return any(verdict.reason == OWNER_LOST for verdict in wanted.verdicts)


def status_body(name: UserName, record: UserRecord, wanted: Wanted, now: str) -> dict[str, Any]:
    """The operator's part of the status, to be applied."""
    said = _said(record)
    status: dict[str, Any] = {
        "conditions": [
            condition(verdict, record.generation, _stood(said.get(verdict.type)), now) for verdict in wanted.verdicts
        ]
    }
    if wanted.duplicate_of is not None:
        status["duplicateOf"] = wanted.duplicate_of
    if wanted.secret_version is not None:
        status["secretVersion"] = wanted.secret_version
    metadata = {"name": name.name, "uid": record.uid}
    if any(verdict.reason == OWNER_LOST for verdict in wanted.verdicts):
        status |= {"reason": OWNER_LOST, "permanent": False}
        # Never over what a new owner has written since.
        metadata["resourceVersion"] = record.version
    elif record.listening is None and wanted.verdicts[0].status == "False":
        # No pod has anything to say of the user yet, and perhaps none ever will: kubectl get shows why.
        status["reason"] = wanted.verdicts[0].reason
        metadata["resourceVersion"] = record.version
    return {"metadata": metadata, "status": status}


def _said(record: UserRecord) -> dict[str, Said | None]:
    return {"Accepted": record.accepted, "Listening": record.listening, "Ready": record.ready, LEFT: record.left}


def _same(said: Said | None, verdict: Verdict, generation: int) -> bool:
    return said is not None and (said.status, said.reason, said.message, said.generation) == (
        verdict.status,
        verdict.reason,
        verdict.text,
        generation,
    )


def _stood(said: Said | None) -> tuple[str, str] | None:
    return None if said is None else (said.status, said.since)


def wanted_finalizer(record: UserRecord, *, config_exists: bool, waited: float, leaves: bool = False) -> bool | None:
    """Whether the object is to be kept until the user is unregistered at Dovecot; None leaves it as it is.

    Args:
        leaves: the registration is to stay when the user goes (deletionPolicy: Leave).
        waited: seconds since it was first seen with a deletionTimestamp.
    """
    if leaves:
        return False if names.FINALIZER in record.finalizers else None
    listening = record.listening
    registered = record.mechanism == "dovecot" and listening is not None and listening.status == "True"
    if names.FINALIZER not in record.finalizers:
        # Kubernetes takes no new finalizer once an object is being deleted.
        return True if registered and config_exists and not record.deleting else None
    unregistered = listening is not None and listening.status == "False" and listening.reason == UNREGISTERED
    if unregistered or not config_exists:
        return False
    return False if record.deleting and waited >= UNREGISTER_SECONDS else None

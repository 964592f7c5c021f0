"""The conditions of the credential storage, and how far a rotation of its passcrypt is. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mailpush.api.conditions import Verdict, truth
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView
from mailpush.controller.status.pod import saying as _saying
from mailpush.credentials.ox.rules import Refusal, sentence
from mailpush.decision.kept import CLUSTER_MEMORY, DATABASE, FILE_OF_POD, OX_TABLE, PROCESS_MEMORY, kept_in
from mailpush.properties.settings import Settings
from mailpush.sharding.leases import LeaseState, RotationReport

MISMATCH: Final = "PasscryptMismatch"
DEGRADED: Final = "CredentialStorageDegraded"
VOLATILE: Final = "CredentialsVolatile"
WRITES_REFUSED: Final = "CredentialWritesRefused"
NAMED_PODS: Final = 5

_SECRET: Final = "the Secret that credentialStorage.passcryptSecretRef names"  # noqa: S105 - a sentence
_LASTING: Final = {
    OX_TABLE: "passwords stand in OX's own table",
    DATABASE: "passwords stand in a database",
}
_VOLATILE: Final = {
    FILE_OF_POD: "passwords stand in a file that ends with its pod: set credentialStorage.database.url to keep them",
    PROCESS_MEMORY: (
        "passwords stand in a pod's memory and end with its process: set credentialStorage.rdb or redis.url"
    ),
    CLUSTER_MEMORY: (
        "passwords stand in Redis and are gone when its memory is, as in OX without rdb: then each user's password has "
        "to be put again; credentialStorage.rdb keeps them"
    ),
}
_MEANT: Final = {
    "DatabaseOfAnother": "it is the database of another MailPushConfig: each needs one of its own",
    "CredentialStorageInvalid": "its URL or certificates cannot be used",
}
"""Words of pods that name what to change."""
_WAITS: Final = "listeners that run go on, and those that are to start wait for it"


def credential_verdicts(state: ConfigState, pods: tuple[PodView, ...]) -> Iterator[Verdict]:
    """Nothing where no storage is used, or no pod has taken its Lease yet."""
    settings = _using(state)
    if settings is None:
        return
    yield _volatile(settings)
    saying = _saying(pods)
    if saying:
        yield _mismatch(saying)
        yield _degraded(saying)
    if (refused := _writes_refused(settings, saying)) is not None:
        yield refused


def storage_status(state: ConfigState, pods: tuple[PodView, ...]) -> dict[str, Any] | None:
    """The field `credentialStorage` of the status; None where there is nothing to say.

    That a passcrypt was made is kept for ever: a storage that is off for a while still holds what it can read.
    """
    settings = _using(state)
    said: dict[str, Any] = {"passcryptMade": True} if state.passcrypt_made else {}
    if settings is None:
        return said or None
    # A former rotation's end must not count for one that the pods have not read of yet: their hash tells.
    wanted = state.evaluation.rendered.config_hash if state.evaluation is not None else None
    by_it = [lease if lease.config_hash == wanted else None for lease in _saying(pods).values()]
    migration = _farthest([lease.migration for lease in by_it if lease is not None])
    if settings.redis is not None and kept_in(settings) == DATABASE:
        said["migration"] = _told(migration, copied=True) if migration is not None else {"text": "waiting"}
    copying = "migration" in said and not (migration is not None and migration.finished)
    return said | _rotation_status(settings, by_it, copying)


def _rotation_status(settings: Settings, by_it: list[LeaseState | None], copying: bool) -> dict[str, Any]:
    """`previousNeeded` is said only where a previous passcrypt is given: a pod that has not begun yet needs it, too."""
    if settings.passcrypt_previous is None or settings.ox is not None:
        return {}
    reports = [lease.rotation if lease is not None else None for lease in by_it]
    farthest = _farthest(reports)
    if farthest is None:
        return {"rotation": {"text": "waiting"}, "previousNeeded": True}
    # Each pod that has the previous passcrypt must say so: one that runs by older settings may still write under it.
    # What is still to be copied may stand under it as well.
    needed = None in reports or not farthest.finished or copying
    return {"rotation": _told(farthest), "previousNeeded": needed}


def _farthest(reports: Sequence[RotationReport | None]) -> RotationReport | None:
    """Of those that have not begun, the one that says what it waits for."""
    known = [report for report in reports if report is not None]
    return max(known, key=lambda one: (one.finished, one.done, one.total, one.waits), default=None)


def _told(report: RotationReport, *, copied: bool = False) -> dict[str, Any]:
    text = "finished" if report.finished else f"{report.done}/{report.total}"
    if copied and report.finished:
        text = f"finished, {report.total} entries"
    if report.waits:
        text = f"waiting: {report.waits}" if not report.total else f"{text}, waiting: {report.waits}"
    return {
        "total": max(0, report.total),
        "done": max(0, report.done),
        "unreadable": max(0, report.unreadable),
        "finished": report.finished,
        "text": f"{text}, {report.unreadable} unreadable" if report.unreadable > 0 else text,
    }


def _using(state: ConfigState) -> Settings | None:
    """The settings, where passwords are taken from a storage."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    if settings is None or not settings.credential_storage.enabled or settings.mail is None:
        return None
    return settings if settings.mail.password_source == "session" else None  # noqa: S105 - OX's word


def _mismatch(saying: dict[str, LeaseState]) -> Verdict:
    refused = sorted(name for name, lease in saying.items() if MISMATCH in (lease.storage, lease.reason))
    prints = Counter(lease.passcrypt for lease in saying.values() if lease.passcrypt)
    if len(refused) == len(saying):
        text = (
            f"the credential storage is written under another passcrypt than that of all {len(saying)} pods: put the "
            f"right one into {_SECRET}, or give the former one as credentialStorage.passcryptPrevious"
            "SecretRef; no login is tried, and nothing is deleted"
        )
        return Verdict(MISMATCH, "True", "StoreDiffers", text)
    if refused:
        text = (
            f"{_named(refused)} of {len(saying)} pods have another passcrypt than the credential storage: they take no "
            f"users and delete nothing; see that {_SECRET} has reached them, or delete these pods"
        )
        return Verdict(MISMATCH, "True", "PodsDiffer", text)
    if len(prints) > 1:
        usual = max(prints, key=lambda one: (prints[one], one))
        others = sorted(name for name, lease in saying.items() if lease.passcrypt not in ("", usual))
        text = (
            f"{_named(others)} of {len(saying)} pods have another passcrypt than the others: nothing needs to be done "
            f"while a change of {_SECRET} is on its way to the pods, which takes up to two minutes"
        )
        return Verdict(MISMATCH, "True", "PodsDiffer", text)
    return Verdict(MISMATCH, "False", "Agree", "no pod has another passcrypt than the credential storage")


def _degraded(saying: dict[str, LeaseState]) -> Verdict:
    troubles = Counter(lease.storage for lease in saying.values() if lease.storage and lease.storage != MISMATCH)
    if not troubles:
        return Verdict(DEGRADED, "False", "Answering", "no pod is kept from the credential storage")
    worst = max(troubles, key=lambda trouble: (troubles[trouble], trouble))
    why = _MEANT.get(worst, worst)
    text = f"{troubles[worst]} of {len(saying)} pods do not get on with the credential storage ({why}): {_WAITS}"
    return Verdict(DEGRADED, "True", worst, f"{text}; the log of a listener pod says why, event credential_storage")


def _writes_refused(settings: Settings, saying: dict[str, LeaseState]) -> Verdict | None:
    """None where no passwords are put into OX's table, or no pod has looked at it."""
    reports = [lease.writes for lease in saying.values() if lease.writes is not None]
    if settings.ox is None or settings.ox.credentials != "readWrite" or not reports:
        return None
    report = max(reports, key=lambda one: (one.refusing, one.schemas, one.schema))
    if not report.refusing:
        text = f"OX's table takes passwords of the form {settings.ox.form} in all {report.schemas} schemas"
        return Verdict(WRITES_REFUSED, "False", "Taken", text)
    refusals = {refusal.value: refusal for refusal in Refusal}
    refusal = refusals.get(report.reason)
    why = sentence(refusal, report.schema) if refusal is not None else report.reason  # of another version's pod
    text = f"passwords that are put are not written to {report.refusing} of {report.schemas} schemas of OX: {why}"
    return Verdict(WRITES_REFUSED, "True", report.reason, f"{text}. What stands there is read as before")


def _volatile(settings: Settings) -> Verdict:
    place = kept_in(settings)
    return Verdict(VOLATILE, truth(place in _VOLATILE), place, _VOLATILE.get(place) or _LASTING[place])


def _named(pods: list[str]) -> str:
    more = f" and {len(pods) - NAMED_PODS} more" if len(pods) > NAMED_PODS else ""
    return ", ".join(pods[:NAMED_PODS]) + more

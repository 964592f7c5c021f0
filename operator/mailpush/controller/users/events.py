"""Which changes of a PushUser become Kubernetes Events: another decision, a listener lost, a listener back."""

from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.events import NORMAL, WARNING, Event, Subject
from mailpush.controller.users.record import Said, UserName, UserRecord

WISHED: Final = frozenset({"Suspended", "PermanentPushDisabled", "NotRegistered", "Unregistered"})
"""Reasons that somebody wished for."""


def subject_of(name: UserName, record: UserRecord) -> Subject:
    return Subject("PushUser", name.namespace, name.name, record.uid)


def decision_news(name: UserName, record: UserRecord, verdict: Verdict) -> Event | None:
    """`verdict` is what Accepted is about to say."""
    before = record.accepted
    if before is not None and (before.status, before.reason) == (verdict.status, verdict.reason):
        return None
    type_ = NORMAL if verdict.status == "True" or verdict.reason in WISHED else WARNING
    return Event(subject_of(name, record), type_, verdict.reason, "Decide", verdict.message)


def listening_news(name: UserName, before: UserRecord, after: UserRecord) -> Event | None:
    """What another word of the owning pod means. A user who only moves is listened for before and after."""
    was, now = before.listening, after.listening
    if now is None or after.deleting or before.uid != after.uid:
        return None
    subject = subject_of(name, after)
    if was is not None and was.status == "True" and now.status != "True":
        return _lost(subject, now, after)
    if now.status == "True" and was is not None and was.status != "True":
        return Event(subject, NORMAL, "Listening", "Listen", f"listened for again: {now.message}")
    return None


def registration_news(name: UserName, before: UserRecord, after: UserRecord) -> Event | None:
    """Whether a former mailbox still calls for the user, or does not any more."""
    was, now = before.left, after.left
    if before.uid != after.uid or (was is None) == (now is None):
        return None
    subject = subject_of(name, after)
    if now is not None:
        return Event(subject, WARNING, "RegistrationLeft", "Unregister", f"{now.reason}: {now.message}")
    return Event(subject, NORMAL, "RegistrationGone", "Unregister", "no former mailbox calls for the user any more")


def _lost(subject: Subject, now: Said, after: UserRecord) -> Event | None:
    decided = after.accepted is not None and after.accepted.reason == now.reason
    if decided or now.reason in WISHED:
        return None  # the decision has an Event already
    return Event(subject, WARNING, now.reason, "Listen", f"not listened for any more: {now.message}")

"""A new mail as a notification: its id and the body of its message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

from mailpush.notifications.headers import (
    MAX_TEASER,
    clean,
    decode_sender,
    decode_subject,
    header_fields,
    without_surrogates,
)

TOPIC: Final = "ox:mail:new"
BODY_VERSION: Final = 1
WINDOW_SECONDS: Final = 600.0

Content: TypeAlias = Literal["none", "headers", "full"]
MailId: TypeAlias = tuple[int, int, str, int, int | str]
"""Context, user, folder, UIDVALIDITY and UID: whichever pod or mechanism has seen the mail.

A mail without a UID has what its callback says of it, and when it came: Dovecot's second try of a callback is the same
mail, and another of the same content at the same moment shows the user nothing else.
"""


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail that has arrived for a user. `folder` is the name on the mail server; None is what is not known.

    `unread`: unseen mails in the folder. `teaser`: the beginning of the text. `uid` is 0 for a mail that Dovecot knows
    no UID of; `window` then is the WINDOW_SECONDS in which it arrived, counted from 1970. `mark`: which of the user's
    registrations the mail server called by; empty for the plain one. `found`: the mail server, where no callback has
    told of the mail and a look into the mailbox has found it; else empty. `again`: another process may have told of it,
    which only the claims that all share know.
    """

    context_id: int
    user_id: int
    folder: str
    uid: int
    uidvalidity: int
    email: str | None = None
    displayname: str | None = None
    subject: str | None = None
    unread: int | None = None
    teaser: str | None = None
    window: int | None = None
    mark: str = ""
    found: str = ""
    again: bool = False

    @property
    def id(self) -> MailId:
        which = self.uid or json.dumps(
            [self.window, self.unread, self.email, self.displayname, self.subject, self.teaser], separators=(",", ":")
        )
        return (self.context_id, self.user_id, self.folder, self.uidvalidity, which)


def folder_name(name: str) -> str:
    """As a NewMail has it. RFC 3501: INBOX in any case."""
    return "INBOX" if name.upper() == "INBOX" else without_surrogates(name)


def new_mail(
    *,
    context_id: int,
    user_id: int,
    folder: str,
    uid: int,
    uidvalidity: int,
    sender: str | None = None,
    subject: str | None = None,
    unread: int | None = None,
    teaser: str | None = None,
    window: int | None = None,
    mark: str = "",
) -> NewMail:
    """A NewMail from raw header values: `sender` and `subject` as they stand in the mail, encoded and folded."""
    email, displayname = (None, None) if sender is None else decode_sender(sender)
    return NewMail(
        context_id=context_id,
        user_id=user_id,
        folder=folder_name(folder),
        uid=uid,
        uidvalidity=uidvalidity,
        email=email,
        displayname=displayname,
        subject=None if subject is None else decode_subject(subject),
        unread=unread,
        teaser=None if teaser is None else clean(teaser, MAX_TEASER),
        window=window,
        mark=mark,
    )


def new_mail_from_header(
    header: bytes, *, context_id: int, user_id: int, folder: str, uid: int, uidvalidity: int, unread: int | None = None
) -> NewMail:
    """As `new_mail`, from a raw header block with From and Subject, as a FETCH gives it."""
    fields = header_fields(header)
    return new_mail(
        context_id=context_id,
        user_id=user_id,
        folder=folder,
        uid=uid,
        uidvalidity=uidvalidity,
        sender=fields.get("from"),
        subject=fields.get("subject"),
        unread=unread,
    )


def notification_id(config_uid: str, mail: NewMail, target: str) -> str:
    """The one id of a mail for a target (protocol P12): the same from each pod, each mechanism and each try."""
    parts = [config_uid, *mail.id, target]
    return "ntf_" + sha256(json.dumps(parts, separators=(",", ":")).encode("ascii")).hexdigest()[:40]


def likeness_id(config_uid: str, mail: NewMail, target: str) -> str:
    """What a mail that came without a UID has in common with the same one as it is found in the mailbox later."""
    parts = [config_uid, *mail.id[:4], "like", mail.email, mail.displayname, mail.subject, target]
    return "like_" + sha256(json.dumps(parts, separators=(",", ":")).encode("ascii")).hexdigest()[:40]


def body(notification: NewMail, clients: Sequence[str], content: Content) -> bytes:
    """The JSON message (docs/webhook.md): `none` names the mail only, `headers` adds sender and subject,
    `full` the teaser. What is not known is left out.
    """
    data: dict[str, Any] = {
        "folder": notification.folder,
        "uid": notification.uid or None,
        "uidvalidity": notification.uidvalidity,
        "unread": notification.unread,
    }
    if content != "none":
        data |= {
            "email": notification.email,
            "displayname": notification.displayname,
            "subject": notification.subject,
        }
    if content == "full":
        data["teaser"] = notification.teaser
    message = {
        "version": BODY_VERSION,
        "topic": TOPIC,
        "contextId": notification.context_id,
        "userId": notification.user_id,
        "clients": list(clients),
        "data": {name: value for name, value in data.items() if value is not None},
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

"""Reads the callback of Dovecot's OX driver for a delivered mail, as OX's own endpoint does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeGuard

from mailpush.notifications.headers import clean
from mailpush.notifications.notification import WINDOW_SECONDS, NewMail, new_mail

MAX_BODY: Final = 256 * 1024
"""Bytes that are read of a callback. Of a longer one the beginning counts: Dovecot sends the mail's identity first."""
MAX_SENT: Final = 16 * 1024 * 1024
"""Bytes that a callback may have. Dovecot sends a header field whole, and a sender chooses its length."""
MAX_ID: Final = 2**31 - 1
MAX_UID: Final = 2**32 - 1

BY_LOGIN: Final = "by-login"
"""The mark of a mail whose mailbox was found by the login that the server has named: it is the user's for sure."""

_MOST_FIELDS: Final = 64
_CUT: Final = frozenset({"from", "subject", "snippet"})
_OPENING = re.compile(r"\s*\{")
_KEY = re.compile(r'\s*("(?:[^"\\]|\\.){0,64}")\s*:\s*')
_COMMA = re.compile(r"\s*,")
_MAYBE_BROKEN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_DECODER: Final = json.JSONDecoder()
# Dovecot before 2.2.33 ends a sender that it has not begun. Within a JSON string each quote has a backslash before it,
# so this is never what somebody wrote.
_STRAY_QUOTE = re.compile(r'("imap-uid":[0-9]{1,10})"')
_USER = re.compile(r"([0-9]{1,10})@([0-9]{1,10})(?:#([0-9a-f]{1,64}))?\Z")


class CallbackError(ValueError):
    """A body that is no callback. The text names the fault and holds nothing of the body."""


@dataclass(frozen=True, slots=True)
class IgnoredEvent:
    """An event that is no new mail. The answer is success, and nothing else happens."""

    event: str


@dataclass(frozen=True, slots=True)
class UnknownUserForm:
    """`user` is not `<userId>@<contextId>`, for one a login name, and nobody is found by it."""

    user: str


FindByLogin: TypeAlias = Callable[[str], tuple[int, int] | None]
"""The context and the user of a login name, where they are known."""
Callback: TypeAlias = NewMail | IgnoredEvent | UnknownUserForm


def registered_user(context_id: int, user_id: int, mark: str = "") -> str:
    """`user` of a callback as OX registers it, `<userId>@<contextId>`, and behind it `#<mark>` where there is one."""
    return f"{user_id}@{context_id}#{mark}" if mark else f"{user_id}@{context_id}"


def parse_callback(body: bytes, now: float, by_login: FindByLogin = lambda _: None) -> Callback:
    """The event of one callback, which came at `now` (Unix seconds).

    `by_login` is asked for a `user` that is not `<userId>@<contextId>`.

    Raises:
        CallbackError: not JSON, not an object, or a new mail without `user`, `folder`, `imap-uid` or
            `imap-uidvalidity`, or with one that is none.
    Of a body of more than MAX_BODY bytes the text that ends there is cut, and what follows is not known.
    Other fields may be missing, as Dovecot leaves them out; `from` and `subject` come raw and are decoded here
    (RFC 2047). The stray quote is forgiven with which Dovecot before 2.2.33 reports a mail without From. Both spellings
    of the event are accepted: Dovecot's page documents `MessageNew`, Dovecot 2.3 sends `messageNew`; and both names of
    the badge: Dovecot sends `unseen`, OX reads `unread`.
    Of mails that are delivered to one mailbox at the same moment Dovecot (2.3.19) sends some with `"imap-uid": 0`:
    their UID is not known, and they are as new as any other.
    """
    fields = _json_object(body)
    event = fields.get("event")
    if event not in ("messageNew", "MessageNew"):
        return IgnoredEvent(clean(event, 64) if isinstance(event, str) else "")
    user = fields.get("user")
    if not isinstance(user, str):
        raise CallbackError('the callback has no "user"')
    ids = _ids(user)
    key = ids or by_login(user)
    if key is None:
        return UnknownUserForm(clean(user, 320))
    folder = fields.get("folder")
    if not isinstance(folder, str) or not folder:
        raise CallbackError('the callback has no "folder"')
    sent = fields.get("imap-uid")
    uid = 0 if _is_number(sent) and sent == 0 else _uid(fields, "imap-uid")
    return new_mail(
        context_id=key[0],
        user_id=key[1],
        folder=folder,
        uid=uid,
        uidvalidity=_uid(fields, "imap-uidvalidity"),
        sender=_text(fields, "from"),
        subject=_text(fields, "subject"),
        unread=_count(fields, "unseen", "unread"),
        teaser=_text(fields, "snippet"),
        window=None if uid else int(now // WINDOW_SECONDS),
        mark=BY_LOGIN if ids is None else user.partition("#")[2],
    )


def _ids(user: str) -> tuple[int, int] | None:
    ids = _USER.match(user)
    if ids is None or not (0 < int(ids[1]) <= MAX_ID and 0 < int(ids[2]) <= MAX_ID):
        return None
    return int(ids[2]), int(ids[1])


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise CallbackError("the callback has no body")
    if len(body) > MAX_BODY:
        return _cut_object(_decoded(body[:MAX_BODY]))
    try:
        value = json.loads(_decoded(body))
    except (ValueError, RecursionError):
        raise CallbackError("the callback is not JSON") from None
    if not isinstance(value, dict):
        raise CallbackError("the callback is not a JSON object")
    return value


def _decoded(body: bytes) -> str:
    text = body.decode("utf-8", "replace")  # a mail may hold any bytes, and notifies all the same
    return _STRAY_QUOTE.sub(r"\1", text, count=1)


def _cut_object(text: str) -> dict[str, Any]:
    """The fields of a JSON object that breaks off; of a sender, a subject or a snippet that does, the beginning."""
    fields: dict[str, Any] = {}
    at = _OPENING.match(text)
    if at is None:
        raise CallbackError("the callback is not a JSON object")
    end = at.end()
    try:
        for _ in range(_MOST_FIELDS):
            key = _KEY.match(text, end)
            if key is None:
                break
            name = json.loads(key[1])
            try:
                value, end = _DECODER.raw_decode(text, key.end())
            except ValueError:
                if name in _CUT and text.startswith('"', key.end()):
                    fields[name] = json.loads(_whole_escapes(text[key.end() :]) + '"')
                break
            following = _COMMA.match(text, end)
            if following is None and not isinstance(value, str):  # a number may be cut as well
                break
            fields[name] = value
            if following is None:
                break
            end = following.end()
    except (ValueError, RecursionError):
        raise CallbackError("the callback is not JSON") from None
    return fields


def _whole_escapes(text: str) -> str:
    """`text` without the escape that it breaks off in. Only its end is searched."""
    broken = _MAYBE_BROKEN.search(text[-5:])
    if broken is None:
        return text
    before = text[: len(text) - len(broken[0])]
    backslashes = len(before) - len(before.rstrip("\\"))
    return text if backslashes % 2 else before


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _uid(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if not _is_number(value) or not 0 < value <= MAX_UID:
        raise CallbackError(f'the callback has no "{name}" from 1 to {MAX_UID}')
    return value


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _count(fields: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = fields.get(name)
        if _is_number(value) and 0 <= value <= MAX_UID:
            return value
    return None

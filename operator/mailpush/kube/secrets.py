"""What is in a Secret object, and whether it may be used."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from mailpush import names


def value_of(secret: Mapping[str, Any], key: str) -> bytes | None:
    """The value of a key, None where it is missing or no base64."""
    data = secret.get("data") or {}
    try:
        # The API server takes line breaks in it, as `base64` writes them.
        return base64.b64decode(data[key].replace("\n", "").replace("\r", ""), validate=True)
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def text_of(secret: Mapping[str, Any], key: str) -> str | None:
    """The value of a key as text, None where it is missing or no UTF-8."""
    value = value_of(secret, key)
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def is_permitted(secret: Mapping[str, Any], purpose: str) -> bool:
    """Whether a v1 Secret may be used for `purpose`: whoever made it says so by the label `mailpush.dev/use`.

    Else whoever may write a PushUser or a MailPushConfig could have any Secret of the namespace, marked for something
    else or not at all, sent to a server of their choice.
    """
    return purpose in _purposes(secret)


def is_for_user(secret: Mapping[str, Any], push_user: str) -> bool:
    """Whether a v1 Secret holds the password of this PushUser: it is for that, and it names the PushUser.

    It does so by its own name or by the annotation `mailpush.dev/push-users`. Else whoever may write PushUsers could
    have another user's password used, and that user's mails announced under ids of his choice.
    """
    metadata = secret.get("metadata") or {}
    named = re.split(r"[,\s]+", (metadata.get("annotations") or {}).get(names.PUSH_USERS_ANNOTATION, ""))
    return is_permitted(secret, names.USER_PASSWORD) and push_user in (metadata.get("name"), *named)


def _purposes(secret: Mapping[str, Any]) -> set[str]:
    label = ((secret.get("metadata") or {}).get("labels") or {}).get(names.USE_LABEL, "")
    found = set(label.split("."))
    if secret.get("type") == names.CREDENTIALS_SECRET_TYPE:
        found.add(names.USER_PASSWORD)
    return found

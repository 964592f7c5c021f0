"""What is in a Secret object, and whether it may be used."""

import base64
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


def is_permitted(secret: Mapping[str, Any]) -> bool:
    """Whether a v1 Secret may be sent to a mail server: by its type or its label.

    Else whoever may write a PushUser could send any Secret of the namespace to a server of their choice.
    """
    labels = (secret.get("metadata") or {}).get("labels") or {}
    return secret.get("type") == names.CREDENTIALS_SECRET_TYPE or names.USE_LABEL in labels

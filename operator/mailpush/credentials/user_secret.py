"""A user's password in a Secret of the namespace (`credentialsSecretRef`): what may be used, and what is in it."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailpush import names
from mailpush.decision import SecretFacts


@dataclass(frozen=True, slots=True)
class UserSecret:
    """What was found behind a reference. Of a Secret that is not permitted nothing is taken over."""

    found: bool
    permitted: bool = True
    login: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def facts(self) -> SecretFacts:
        """What a decision may know of it."""
        return SecretFacts(self.found, self.permitted, has_password=bool(self.password), has_login=bool(self.login))


MISSING = UserSecret(found=False)


def is_permitted(secret: Mapping[str, Any]) -> bool:
    """Whether a v1 Secret may be sent to a mail server: by its type or its label.

    Else whoever may write a PushUser could send any Secret of the namespace to a server of their choice.
    """
    labels = (secret.get("metadata") or {}).get("labels") or {}
    return secret.get("type") == names.CREDENTIALS_SECRET_TYPE or names.USE_LABEL in labels


def user_secret(secret: Mapping[str, Any]) -> UserSecret:
    """From a v1 Secret object with the keys `password` and, optionally, `login`; what is no UTF-8 counts as missing."""
    if not is_permitted(secret):
        return UserSecret(found=True, permitted=False)
    data = secret.get("data") or {}
    return UserSecret(found=True, login=_text(data.get("login")), password=_text(data.get("password")))


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        # A file that `kubectl create secret --from-file` took often ends in a line break.
        return base64.b64decode(value).decode().rstrip("\r\n") or None
    except (binascii.Error, ValueError):
        return None

"""A user's password in a Secret of the namespace (`credentialsSecretRef`): what may be used, and what is in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailpush.decision import SecretFacts
from mailpush.kube.secrets import is_for_user, text_of


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


def user_secret(secret: Mapping[str, Any], push_user: str) -> UserSecret:
    """From a v1 Secret object with the keys `password` and, optionally, `login`; what is no UTF-8 counts as missing."""
    if not is_for_user(secret, push_user):
        return UserSecret(found=True, permitted=False)
    return UserSecret(found=True, login=_line(secret, "login"), password=_line(secret, "password"))


def _line(secret: Mapping[str, Any], key: str) -> str | None:
    """Without the line break with which a file that `kubectl create secret --from-file` took often ends."""
    return (text_of(secret, key) or "").rstrip("\r\n") or None

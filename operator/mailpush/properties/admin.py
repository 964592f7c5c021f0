"""The admin endpoint's login and certificate, as they stand in the file of secrets."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mailpush.api.mailpushconfig import Admin
from mailpush.api.meta import SecretKeyReference
from mailpush.properties.lookup import Lookup

ADMIN_PREFIX: Final = "mailpush.admin."
LOGIN: Final = f"{ADMIN_PREFIX}login"
PASSWORD: Final = f"{ADMIN_PREFIX}password"
CERTIFICATE: Final = f"{ADMIN_PREFIX}tls.certificate"
KEY: Final = f"{ADMIN_PREFIX}tls.key"

ADMIN_PATHS: Final = {
    LOGIN: "admin.authSecretRef.login",
    PASSWORD: "admin.authSecretRef.password",
    CERTIFICATE: "admin.tlsSecretRef[tls.crt]",
    KEY: "admin.tlsSecretRef[tls.key]",
}
"""Property to the path of the field that it comes from."""


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """Without a login nobody is let in; without a certificate the endpoint talks plain HTTP. Both in PEM."""

    login: str = ""
    password: str = field(default="", repr=False)
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)


def admin_references(admin: Admin) -> Iterator[tuple[str, SecretKeyReference]]:
    """The keys of Secrets that it refers to, with the paths of the fields."""
    if admin.auth_secret_ref:
        for key, name in ((LOGIN, "login"), (PASSWORD, "password")):
            yield ADMIN_PATHS[key], SecretKeyReference(name=admin.auth_secret_ref.name, key=name)
    if admin.tls_secret_ref:
        for key, name in ((CERTIFICATE, "tls.crt"), (KEY, "tls.key")):
            yield ADMIN_PATHS[key], SecretKeyReference(name=admin.tls_secret_ref.name, key=name)


def read_admin(lookup: Lookup) -> AdminSettings:
    """The settings of the files. What is wrong is said to `lookup`."""
    return AdminSettings(
        lookup.secret(LOGIN) or "",
        lookup.secret(PASSWORD) or "",
        lookup.certificates(CERTIFICATE),
        lookup.secret(KEY) or None,
    )

"""The login name of a push user at the mail server."""

from types import MappingProxyType
from typing import Final

import idna

from mailpush.api.pushuser import PushUserSpec
from mailpush.properties.settings import Settings

LOGIN_FIELDS: Final = MappingProxyType({"login": "login", "name": "login", "mail": "mail", "mailLocalPart": "mail"})
"""By loginSource: the field of a PushUser that it takes. OX's `login` is the mail account's login and its `name` the
user's login info; a PushUser has one field for both, since a site means one of them."""

_LONGEST: Final = 253
"""Characters of a DNS name in ASCII, which has no fewer than one that is not. Logins come in callbacks, too."""


def login_of(spec: PushUserSpec, settings: Settings, secret_login: str | None = None) -> str | None:
    """The login name at the IMAP server; None where it is not known.

    A login that is stored beside the password wins, as in OX (also with a master password). Else loginSource says
    what is taken. The domain is in ASCII where `saneLogin` says so, and always where `mail` is taken, as in OX.
    """
    mail = settings.mail
    if mail is None:
        return None
    if mail.user_secrets and spec.credentials_secret_ref and secret_login:
        return sane_login(secret_login) if mail.sane_login else secret_login
    login = login_by(mail.login_source, spec.login, spec.mail)
    if login is None or not (mail.sane_login or mail.login_source == "mail"):
        return login
    return sane_login(login)


def login_by(source: str, login: str | None, mail: str | None) -> str | None:
    """The login by loginSource alone, without a Secret's, as it is written."""
    if LOGIN_FIELDS[source] == "login":
        return login or None
    if source == "mailLocalPart":
        return mail.rpartition("@")[0] or None if mail else None
    return mail or None


def sane_login(login: str) -> str:
    """The login with the domain behind its first @ in ASCII (`xn--`); as it is where it has none or no such domain.

    OX's rule (`MailConfig.saneLogin`): what is not a host name by its characters is left as it stands.
    """
    local, at, domain = login.partition("@")
    if domain.isascii() or len(domain) > _LONGEST:
        return login
    try:
        return f"{local}{at}{idna.encode(domain, uts46=True, std3_rules=True).decode('ascii')}"
    except idna.IDNAError:
        return login

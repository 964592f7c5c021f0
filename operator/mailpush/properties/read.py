"""From property files to `Settings`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mailpush.api.catchup import CatchUp, Sweep
from mailpush.api.credentialstorage import CredentialStorage
from mailpush.api.mailaccess import Doveadm
from mailpush.api.mailpushconfig import LEAVE, UNREGISTER, Notification, Reschedule
from mailpush.api.mechanisms import DovecotSettings, ImapIdleSettings, MailNotifySettings
from mailpush.properties import keys
from mailpush.properties.admin import read_admin
from mailpush.properties.lookup import Lookup, SettingsError
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.sections import read_section
from mailpush.properties.settings import (
    CallbackSettings,
    MailSettings,
    ServerSettings,
    Settings,
    WebhookSettings,
)
from mailpush.properties.signature_key import signature_key
from mailpush.properties.stores import read_database, read_oauth, read_ox, read_redis

__all__ = ["SettingsError", "read"]

DEFAULT_ALLOWED_CLIENTS: Final = "USM-EAS*, open-xchange-mobile-api-facade*"
OX_LOGIN_SOURCES: Final = ("login", "mail", "name")
MECHANISMS: Final = ("dovecot", "imapidle", "mailnotify")
SECURITIES: Final = ("tls", "starttls", "none")
DEFAULT_PORTS: Final = {"tls": 993, "starttls": 143, "none": 143}


def read(files: Mapping[str, str]) -> Settings:
    """What a directory of property files says.

    Args:
        files: name to text of every file; only names that end in `.properties` count. `mail-push-secrets.properties`
            is read last and wins. Properties that we do not know are passed over; missing ones have OX's defaults.

    Raises:
        SettingsError: names each file, property and value that cannot be taken, and what is allowed (never the value of
            a secret).
    """
    lookup = Lookup(files)
    packages = frozenset(lookup.names(keys.PACKAGES))
    storage = read_section(lookup, "credentialStorage", CredentialStorage, packages)
    settings = Settings(
        allow_permanent_push=lookup.boolean(keys.ALLOW_PERMANENT_PUSH, True),
        allowed_clients=_allowed_clients(lookup),
        packages=packages,
        mechanisms_order=lookup.names(keys.MECHANISMS_ORDER, MECHANISMS, allowed=MECHANISMS),
        mail=_mail(lookup),
        credential_storage=storage,
        passcrypt=_passcrypt(lookup, storage.enabled),
        passcrypt_previous=lookup.text(keys.PASSCRYPT_PREVIOUS) or None,
        database=read_database(lookup),
        ox=read_ox(lookup),
        dovecot=read_section(lookup, "mechanisms.dovecot", DovecotSettings, packages),
        imapidle=read_section(lookup, "mechanisms.imapidle", ImapIdleSettings, packages),
        mailnotify=read_section(lookup, "mechanisms.mailnotify", MailNotifySettings, packages),
        doveadm=read_section(lookup, "mailAccess.doveadm", Doveadm, packages),
        doveadm_api_secret=lookup.secret(keys.DOVEADM_API_SECRET) or None,
        doveadm_ca=lookup.certificates(keys.DOVEADM_CA),
        reschedule=read_section(lookup, "reschedule", Reschedule, packages),
        callback=CallbackSettings(
            lookup.secret(keys.CALLBACK_LOGIN) or "", lookup.secret(keys.CALLBACK_PASSWORD) or ""
        ),
        admin=read_admin(lookup),
        redis=read_redis(lookup),
        webhooks=tuple(_webhook(lookup, name) for name in lookup.names(keys.WEBHOOKS)),
        notification=read_section(lookup, "notification", Notification, packages),
        catch_up=_catch_up(lookup, packages),
        unregister=lookup.boolean(keys.UNREGISTER, False),
        leaves_registrations=lookup.choice(keys.DELETION_POLICY, UNREGISTER, (UNREGISTER, LEAVE)) == LEAVE,
        pod_overrides=_pod_overrides(lookup),
        replicas=lookup.integer(keys.REPLICAS, 0, 0, 1000),
        by_property=frozenset(lookup.names(keys.BY_PROPERTY)),
    )
    lookup.raise_problems()
    return settings


def _allowed_clients(lookup: Lookup) -> ClientPatterns:
    written = lookup.text(keys.ALLOWED_CLIENTS)
    if written is None:
        written = lookup.text(keys.ALLOWED_CLIENT)
    return ClientPatterns.parse(DEFAULT_ALLOWED_CLIENTS if written is None else written)


def _pod_overrides(lookup: Lookup) -> Mapping[int, bool]:
    ordinals = [name for name in lookup.names(keys.PODS) if name.isascii() and name.isdecimal()]
    everywhere = lookup.boolean(keys.ALLOW_PERMANENT_PUSH, True)
    return MappingProxyType(
        {int(name): lookup.boolean(keys.pod_key(name, "allowPermanentPush"), everywhere) for name in ordinals}
    )


def _passcrypt(lookup: Lookup, enabled: bool) -> str | None:
    passcrypt = lookup.text(keys.CREDSTORAGE_PASSCRYPT) or None  # OX trims it too
    if enabled and passcrypt is None:
        # As in OX, whose bundle refuses to start and names both properties.
        lookup.problem(
            f"{keys.SECRETS_FILE}: {keys.CREDSTORAGE_PASSCRYPT} is empty, but {keys.CREDSTORAGE_ENABLED} is true"
        )
    return passcrypt


def _mail(lookup: Lookup) -> MailSettings | None:
    if lookup.text(keys.PASSWORD_SOURCE) is None:
        return None
    # OX's property is there beside ours only where somebody has put it into `properties`.
    ours = lookup.choice(keys.OUR_LOGIN_SOURCE, "login", ("mailLocalPart",))
    return MailSettings(
        password_source=lookup.choice(keys.PASSWORD_SOURCE, "session", ("session", "global")),
        login_source=lookup.choice(keys.LOGIN_SOURCE, ours, OX_LOGIN_SOURCES),
        sane_login=lookup.boolean(keys.SANE_LOGIN, True),
        master_password=lookup.secret(keys.MASTER_PASSWORD) or None,
        master_user=lookup.as_given(keys.MASTER_USER) or None,
        user_secrets=lookup.boolean(keys.USER_SECRETS, False),
        servers=tuple(_server(lookup, name) for name in lookup.names(keys.SERVERS)),
        server_source=lookup.choice(keys.MAIL_SERVER_SOURCE, "user", ("user", "global")),
        auth_proxy_delimiter=lookup.as_given(keys.AUTH_PROXY_DELIMITER) or None,
        oauth=read_oauth(lookup),
    )


def _server(lookup: Lookup, name: str) -> ServerSettings:
    security = lookup.choice(keys.server_key(name, "security"), "tls", SECURITIES)
    return ServerSettings(
        name=name,
        host=lookup.required(keys.server_key(name, "host")),
        port=lookup.integer(keys.server_key(name, "port"), DEFAULT_PORTS[security], 1, 65535),
        security=security,
        ca_pem=lookup.certificates(keys.server_key(name, "ca")),
        server_name=lookup.text(keys.server_key(name, "serverName")) or None,
        verify=lookup.boolean(keys.server_key(name, "verify"), True),
    )


def _catch_up(lookup: Lookup, packages: frozenset[str]) -> CatchUp:
    sweep = read_section(lookup, "catchUp.sweep", Sweep, packages)
    return read_section(lookup, "catchUp", CatchUp, packages).model_copy(update={"sweep": sweep})


def _webhook(lookup: Lookup, name: str) -> WebhookSettings:
    lookup.required(keys.webhook_key(name, "url"))
    return WebhookSettings(
        name=name,
        url=lookup.url(keys.webhook_key(name, "url"), ("http", "https")) or "",
        clients=ClientPatterns.parse(lookup.text(keys.webhook_key(name, "clients")) or ""),
        secret=_webhook_secret(lookup, keys.webhook_key(name, "secret")),
        timeout_ms=lookup.integer(keys.webhook_key(name, "timeout"), 5000, 100, 60000),
    )


def _webhook_secret(lookup: Lookup, key: str) -> str | None:
    secret = lookup.secret(key)
    if secret:
        try:
            signature_key(secret)
        except ValueError as error:
            lookup.problem(f"{keys.SECRETS_FILE}: {key} {error}")
    return secret or None

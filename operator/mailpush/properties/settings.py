"""What a listener runs by: the typed form of its property files.

The operator renders files from a MailPushConfig, and both the operator and the listener read them back into `Settings`,
so that what is decided and what runs come from the same text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from mailpush.api.catchup import CatchUp
from mailpush.api.credentialstorage import CredentialStorage
from mailpush.api.mailaccess import Doveadm
from mailpush.api.mailpushconfig import Notification, Reschedule
from mailpush.api.mechanisms import DovecotSettings, ImapIdleSettings, MailNotifySettings
from mailpush.properties.admin import AdminSettings
from mailpush.properties.patterns import ClientPatterns


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One IMAP server (`mail-push-listener.properties`, `mailpush.mail.server.<name>.*`)."""

    name: str
    host: str
    port: int
    security: str
    """`tls`, `starttls` or `none`."""
    ca_pem: str | None = None
    server_name: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class TokenEndpointSettings:
    """Where access tokens are got by client credentials."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    audience: str | None = None
    ca_pem: str | None = None
    authentication: Literal["basic", "post"] = "basic"


@dataclass(frozen=True, slots=True)
class OAuthSettings:
    """Access tokens for mail servers: `token`, or those of `endpoint`."""

    mechanism: str = "auto"
    """`auto`, `XOAUTH2` or `OAUTHBEARER`."""
    token: str | None = field(default=None, repr=False)
    endpoint: TokenEndpointSettings | None = None


@dataclass(frozen=True, slots=True)
class MailSettings:
    """`mail.properties` and the servers."""

    password_source: str
    """`session` or `global`."""
    login_source: str
    """`login`, `mail`, `name` or `mailLocalPart`."""
    master_password: str | None = field(default=None, repr=False)
    master_user: str | None = None
    user_secrets: bool = False
    servers: tuple[ServerSettings, ...] = ()
    """The first is the default."""
    server_source: str = "user"
    """`user`: each user's own server; `global`: the first for everybody."""
    auth_proxy_delimiter: str | None = None
    """Where it is set OX needs a login name (PUSH-0007); we always do."""
    sane_login: bool = True
    """Whether the domain of a login goes to the mail server in ASCII."""
    oauth: OAuthSettings | None = None
    """None where access tokens are not used."""

    def server(self, name: str | None) -> ServerSettings | None:
        """The named server, or the first where no name is given, and always with `mailServerSource` global."""
        if name is None or self.server_source == "global":
            return self.servers[0] if self.servers else None
        return next((server for server in self.servers if server.name == name), None)


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """Basic authentication of Dovecot's callback. Empty means that the endpoint takes nobody."""

    login: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    url: str
    password: str | None = field(default=None, repr=False)
    username: str | None = None
    ca_pem: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """A database. `tls`: `none` or `verify`. `timeout_ms`: milliseconds for an answer."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: str = "none"
    ca_pem: str | None = None
    pool_size: int = 4
    timeout_ms: int = 2000


@dataclass(frozen=True, slots=True)
class OxCredentialSettings:
    """OX's own table of credentials. `credentials`: `read` or `readWrite`; `form`: `legacy`, `argon` or None."""

    credentials: str
    form: str | None
    configdb: DatabaseSettings


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    name: str
    url: str
    clients: ClientPatterns
    secret: str | None = field(default=None, repr=False)
    timeout_ms: int = 5000


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a listener reads in its files."""

    allow_permanent_push: bool
    allowed_clients: ClientPatterns
    packages: frozenset[str]
    """Names of the packages in effect."""
    mechanisms_order: tuple[str, ...]
    mail: MailSettings | None
    """None where the MailPushConfig gives no access to mailboxes yet."""
    credential_storage: CredentialStorage
    """As in the spec, and so are the other sections of the catalogue; their `enabled` is True or False here."""
    dovecot: DovecotSettings
    imapidle: ImapIdleSettings
    callback: CallbackSettings
    redis: RedisSettings | None
    webhooks: tuple[WebhookSettings, ...]
    notification: Notification
    admin: AdminSettings = AdminSettings()  # noqa: RUF009 - frozen
    unregister: bool = False
    """True before an uninstall: unregister every user at the mail server and start nothing."""
    leaves_registrations: bool = False
    """Whether the registration of a user whose PushUser is deleted stays at the mail server (deletionPolicy: Leave)."""
    mailnotify: MailNotifySettings = MailNotifySettings()  # noqa: RUF009 - frozen, and so are the next
    doveadm: Doveadm = Doveadm()  # noqa: RUF009
    reschedule: Reschedule = Reschedule()  # noqa: RUF009
    catch_up: CatchUp = CatchUp()  # noqa: RUF009
    passcrypt: str | None = field(default=None, repr=False)
    """Of the credential storage."""
    passcrypt_previous: str | None = field(default=None, repr=False)
    """The one of before, while stored passwords are encrypted anew."""
    database: DatabaseSettings | None = None
    """Of the credential storage."""
    ox: OxCredentialSettings | None = None
    """OX's own table, in place of a store of ours."""
    doveadm_api_secret: str | None = field(default=None, repr=False)
    doveadm_ca: str | None = field(default=None, repr=False)
    pod_overrides: Mapping[int, bool] = field(default_factory=lambda: MappingProxyType({}))
    """By ordinal: whether that pod may run permanent listeners, where it differs from `allow_permanent_push`."""
    replicas: int = 0
    """How many pods are wanted; only rendered where pods have settings of their own."""
    by_property: frozenset[str] = frozenset()
    """Properties whose value comes from the MailPushConfig's `properties`, not from a field."""

    def allowed_in(self, ordinal: int) -> bool:
        """Whether the pod of this ordinal may run permanent listeners."""
        return allowed_in(ordinal, self.allow_permanent_push, self.pod_overrides)

    @property
    def allowed_somewhere(self) -> bool:
        """Whether any pod may run permanent listeners."""
        return allowed_somewhere(self.allow_permanent_push, self.pod_overrides, self.replicas)


# Which pods may take permanent listeners: as on an OX cluster, where a role's values override the global ones.


def allowed_in(ordinal: int, everywhere: bool, overrides: Mapping[int, bool]) -> bool:
    """Whether the pod of this ordinal may."""
    return overrides.get(ordinal, everywhere)


def allowed_somewhere(everywhere: bool, overrides: Mapping[int, bool], replicas: int) -> bool:
    """Whether any of the pods that are wanted may; without a pod, what would hold for all."""
    if not overrides or replicas == 0:
        return everywhere
    return any(allowed_in(ordinal, everywhere, overrides) for ordinal in range(replicas))

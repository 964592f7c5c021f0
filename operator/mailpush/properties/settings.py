"""What a listener runs by: the typed form of its property files.

The operator renders files from a MailPushConfig, and both the operator and the listener read them back into `Settings`,
so that what is decided and what runs come from the same text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mailpush.properties.admin import AdminSettings
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.pods import allowed_in, allowed_somewhere


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
class MailSettings:
    """`mail.properties` and the servers."""

    password_source: str
    """`session` or `global`."""
    login_source: str
    """`login`, `mail` or `name`."""
    master_password: str | None = field(default=None, repr=False)
    master_user: str | None = None
    user_secrets: bool = False
    servers: tuple[ServerSettings, ...] = ()
    """The first is the default."""
    server_source: str = "user"
    """`user`: each user's own server; `global`: the first for everybody."""
    auth_proxy_delimiter: str | None = None
    """Where it is set OX needs a login name (PUSH-0007); we always do."""

    def server(self, name: str | None) -> ServerSettings | None:
        """The named server, or the first where no name is given, and always with `mailServerSource` global."""
        if name is None or self.server_source == "global":
            return self.servers[0] if self.servers else None
        return next((server for server in self.servers if server.name == name), None)


@dataclass(frozen=True, slots=True)
class CredentialStorageSettings:
    enabled: bool = False
    passcrypt: str | None = field(default=None, repr=False)
    rdb: bool = False


@dataclass(frozen=True, slots=True)
class DovecotSettings:
    enabled: bool = False
    stateless: bool = True
    cluster_lock: str = "hz"
    prefer_doveadm_for_metadata: bool = False


@dataclass(frozen=True, slots=True)
class DoveadmSettings:
    """`doveadm.properties`: Dovecot's HTTP API. Times in milliseconds."""

    enabled: bool = False
    endpoints: tuple[str, ...] = ()
    api_secret: str | None = field(default=None, repr=False)
    total_connections: int = 100
    max_connections_per_route: int = 0
    """0: an even share of `total_connections`."""
    read_timeout_ms: int = 10_000
    connect_timeout_ms: int = 3000
    check_interval_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class ImapIdleSettings:
    enabled: bool = False
    supports_permanent_listeners: bool = False
    folder: str = "INBOX"
    delay_ms: int = 5000
    push_mode: str = "always"
    account_id: int = 0
    cluster_lock: str = "hz"
    validate_session_existence: bool = False
    check_periodic: bool = False


@dataclass(frozen=True, slots=True)
class MailNotifySettings:
    """`push_mailnotify.properties`: UDP packets of a mail server."""

    enabled: bool = False
    udp_listen_multicast: bool = False
    udp_listen_host: str = "localhost"
    udp_listen_port: int = 23420
    imap_login_delimiter: str | None = None
    use_ox_login: bool = False
    use_full_email_address: bool = False
    delay_ms: int = 5000


@dataclass(frozen=True, slots=True)
class RescheduleSettings:
    """When OX nodes share out users anew; nothing here goes by it. Times in milliseconds."""

    on_registration: bool = False
    delay_duration_ms: int = 5000
    timer_frequency_ms: int = 2000


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """Basic authentication of Dovecot's callback. Empty means that the endpoint takes nobody."""

    login: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    url: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    name: str
    url: str
    clients: ClientPatterns
    secret: str | None = field(default=None, repr=False)
    timeout_ms: int = 5000


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a listener is told by its files."""

    allow_permanent_push: bool
    allowed_clients: ClientPatterns
    packages: frozenset[str]
    """Names of the packages in effect."""
    mechanisms_order: tuple[str, ...]
    mail: MailSettings | None
    """None where the MailPushConfig gives no access to mailboxes yet."""
    credential_storage: CredentialStorageSettings
    dovecot: DovecotSettings
    imapidle: ImapIdleSettings
    callback: CallbackSettings
    redis: RedisSettings | None
    webhooks: tuple[WebhookSettings, ...]
    notification_content: str
    """`none`, `headers` or `full`."""
    admin: AdminSettings = AdminSettings()  # noqa: RUF009 - frozen
    unregister: bool = False
    """True before an uninstall: unregister every user at the mail server and start nothing."""
    mailnotify: MailNotifySettings = MailNotifySettings()
    doveadm: DoveadmSettings = DoveadmSettings()
    reschedule: RescheduleSettings = RescheduleSettings()
    pod_overrides: Mapping[int, bool] = field(default_factory=lambda: MappingProxyType({}))
    """By ordinal: whether that pod may run permanent listeners, where it differs from `allow_permanent_push`."""
    replicas: int = 0
    """How many pods are wanted; only told where pods have settings of their own."""

    def allowed_in(self, ordinal: int) -> bool:
        """Whether the pod of this ordinal may run permanent listeners."""
        return allowed_in(ordinal, self.allow_permanent_push, self.pod_overrides)

    @property
    def allowed_somewhere(self) -> bool:
        """Whether any pod may run permanent listeners."""
        return allowed_somewhere(self.allow_permanent_push, self.pod_overrides, self.replicas)

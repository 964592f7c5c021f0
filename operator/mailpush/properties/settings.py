"""What a listener runs by: the typed form of its property files.

The operator renders files from a MailPushConfig, and both the operator and the listener read them back into `Settings`,
so that what is decided and what runs come from the same text.
"""

from dataclasses import dataclass, field

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

    def server(self, name: str | None) -> ServerSettings | None:
        """The named server, or the first where no name is given."""
        if name is None:
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


@dataclass(frozen=True, slots=True)
class ImapIdleSettings:
    enabled: bool = False
    supports_permanent_listeners: bool = False
    folder: str = "INBOX"
    delay_ms: int = 5000
    push_mode: str = "always"


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
    unregister: bool = False
    """True before an uninstall: unregister every user at the mail server and start nothing."""

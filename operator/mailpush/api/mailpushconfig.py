"""MailPushConfig: one mail push installation of a namespace."""

from typing import Annotated, Any, Literal

from pydantic import Field

from mailpush.api.meta import ClientId, Condition, LocalReference, Model, Name, Port, SecretKeyReference, StatusModel

Toggle = Literal["enabled", "disabled"]
Duration = Annotated[int, Field(ge=0, le=86_400_000)]
Text = Annotated[str, Field(max_length=1024)]
Toggles = Annotated[dict[Annotated[str, Field(max_length=253)], Toggle], Field(max_length=256)]


class Statuses(Model):
    """Packages or features by name."""

    status: Toggles = {}
    """Name of the package or feature: enabled or disabled."""


class CredentialStorage(Model):
    """OX's credential storage: passwords of push users, encrypted. com.openexchange.push.credstorage.*"""

    enabled: bool = False
    """com.openexchange.push.credstorage.enabled"""
    passcrypt_secret_ref: SecretKeyReference | None = None
    """The passphrase: com.openexchange.push.credstorage.passcrypt. Needed where enabled is true."""
    rdb: bool = False
    """com.openexchange.push.credstorage.rdb: true keeps credentials in the database, false in cluster memory."""


class MasterUser(Model):
    """A Dovecot master user: logs in for any user (SASL PLAIN with an authorization identity)."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """Name of the master user."""


class UserSecrets(Model):
    """Passwords of users in Secrets, one a user."""

    enabled: bool = False
    """True: a PushUser's credentialsSecretRef gives the password."""


class OAuth(Model):
    """OAuth access tokens (not supported yet: a MailPushConfig with it says NotYetSupported)."""

    enabled: bool = False
    """True: log in with OAuth."""


class Doveadm(Model):
    """Dovecot's doveadm HTTP API (not supported yet: a MailPushConfig with it says NotYetSupported)."""

    enabled: bool = False
    """com.openexchange.dovecot.doveadm.enabled"""
    endpoints: Annotated[list[Annotated[str, Field(min_length=1, max_length=512)]], Field(max_length=32)] = []
    """com.openexchange.dovecot.doveadm.endpoints"""


class MailServer(Model):
    """One IMAP server."""

    name: Name = "default"
    """What a PushUser's server field names."""
    host: Annotated[str, Field(min_length=1, max_length=253)]
    """Host name or address."""
    port: Port | None = None
    """TCP port. Default: 993 for tls, else 143."""
    security: Literal["tls", "starttls", "none"] = "tls"
    """tls: TLS from the first byte. starttls: upgraded before the login. none: in the clear, for tests and trusted
    networks only."""
    ca_secret_ref: SecretKeyReference | None = None
    """PEM certificates that the server's must be signed by. Default: the image's own."""
    server_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """The name that the server's certificate must bear. Default: host."""
    insecure_skip_verify: bool = False
    """True: take any certificate. For tests only."""


class MailAccess(Model):
    """How listeners reach the users' mailboxes. mail.properties"""

    password_source: Literal["session", "global"] = "session"  # noqa: S105 - OX's word
    """com.openexchange.mail.passwordSource. global: the master password for everybody. session: each user's own, from
    the credential storage or userSecrets."""
    login_source: Literal["login", "mail", "name"] = "login"
    """com.openexchange.mail.loginSource. What is used as the login name: login: the PushUser's login; mail: its mail
    address; name: the part of the mail address before the @."""
    master_password_secret_ref: SecretKeyReference | None = None
    """com.openexchange.mail.masterPassword, for passwordSource global."""
    master_user: MasterUser | None = None
    """With passwordSource global: log in as this Dovecot master user on behalf of the user. Without it the master
    password is taken as each user's own, as OX does."""
    user_secrets: UserSecrets = UserSecrets()
    """Passwords of users in Secrets."""
    oauth: OAuth = OAuth()
    """OAuth access tokens."""
    doveadm: Doveadm = Doveadm()
    """Dovecot's doveadm HTTP API."""
    servers: Annotated[list[MailServer], Field(max_length=64)] = []
    """The IMAP servers. The first is everybody's whose PushUser names none."""


class DovecotMechanism(Model):
    """Dovecot's push_notification with the OX driver. dovecot-push.properties"""

    enabled: bool | None = None
    """com.openexchange.push.dovecot.enabled. Default: whether open-xchange-push-dovecot is enabled."""


class ImapIdleMechanism(Model):
    """IMAP IDLE, one connection a user. push_imapidle.properties"""

    enabled: bool | None = None
    """com.openexchange.push.imapidle.enabled. Default: whether open-xchange-push-imapidle is enabled."""
    supports_permanent_listeners: bool = False
    """com.openexchange.push.imapidle.supportsPermanentListeners. Off as in OX: it holds one connection a user."""
    folder: Annotated[str, Field(min_length=1, max_length=512)] = "INBOX"
    """com.openexchange.push.imapidle.folder"""
    delay: Duration = 5000
    """com.openexchange.push.imapidle.delay in milliseconds: the least time between two attempts to connect."""
    push_mode: Literal["always", "newmail"] = "always"
    """com.openexchange.push.imapidle.pushMode"""


class Mechanisms(Model):
    """How listeners learn of new mail."""

    order: Annotated[list[Literal["dovecot", "imapidle", "mailnotify"]], Field(max_length=3)] = [
        "dovecot",
        "imapidle",
        "mailnotify",
    ]
    """Which is tried first where several are enabled for a user: the first that starts is taken."""
    dovecot: DovecotMechanism = DovecotMechanism()
    """Dovecot's push_notification."""
    imapidle: ImapIdleMechanism = ImapIdleMechanism()
    """IMAP IDLE."""


class Callback(Model):
    """Where Dovecot's OX driver sends its events to: the callback Service, port 8009."""

    auth_secret_ref: LocalReference | None = None
    """A Secret with the keys login and password: com.openexchange.rest.services.basic-auth.login and .password.
    Default: the operator makes one, mail-push-<name>-callback."""


class Redis(Model):
    """The cluster memory."""

    url: Annotated[str, Field(pattern=r"^(redis|rediss)://[^@]*$", max_length=512)]
    """redis://host:6379/0, without a password."""
    password_secret_ref: SecretKeyReference | None = None
    """The password, where Redis asks for one."""


class Webhook(Model):
    """A target that is told of new mail by HTTP POST (docs/webhook.md)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    """Name of the target in metrics and conditions; part of the notification id."""
    url: Annotated[str, Field(pattern=r"^https?://[^@]*$", max_length=2048)]
    """Where to POST to. Redirects are not followed."""
    secret_ref: SecretKeyReference | None = None
    """Key of the signature (Standard Webhooks): whsec_<base64> or any text. Without it nothing is signed."""
    clients: Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=64)] = []
    """Patterns of client ids (* and ?): the target is told for users with such a client. Default: all."""
    timeout_milliseconds: Annotated[int, Field(ge=100, le=60000)] = 5000
    """How long an answer may take."""


class Transports(Model):
    """How notifications leave."""

    webhooks: Annotated[list[Webhook], Field(max_length=32)] = []
    """Targets that are told by HTTP POST."""


class Notification(Model):
    """What a notification tells."""

    content: Literal["none", "headers", "full"] = "headers"
    """none: that there is a mail, and where. headers: also sender, subject, unread count. full: also the first words."""


class Resources(Model):
    """Compute resources of a listener container."""

    limits: Annotated[dict[str, str], Field(max_length=16)] = {}
    """Upper bounds, such as memory: 512Mi."""
    requests: Annotated[dict[str, str], Field(max_length=16)] = {}
    """What is set aside, such as cpu: 50m."""


class Listeners(Model):
    """The StatefulSet of listener pods."""

    replicas: Annotated[int, Field(ge=0, le=1000)] = 2
    """How many pods. With 0 nothing listens."""
    image: Annotated[str, Field(max_length=512)] | None = None
    """Image of the pods. Default: the operator's own."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """Default: IfNotPresent."""
    resources: Resources = Resources()
    """Compute resources."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] = {}
    """Labels that a node must have."""
    tolerations: Annotated[list[dict[str, Any]], Field(max_length=32)] = []
    """Taints that the pods tolerate (core/v1 Toleration)."""


class MailPushConfigSpec(Model):
    """What an administrator sets. The property that a field stands for is named in its description."""

    allow_permanent_push: bool = True
    """com.openexchange.push.allowPermanentPush: the general switch of permanent listeners."""
    allowed_clients: Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=64)] = [
        "USM-EAS*",
        "open-xchange-mobile-api-facade*",
    ]
    """com.openexchange.push.allowedClients: patterns of client ids (* and ?) that are told of new mail. Empty: all."""
    packages: Statuses = Statuses()
    """Push packages, as in OX's chart: open-xchange-push-dovecot: enabled. A push package that is not listed is off."""
    features: Statuses = Statuses()
    """Features, as in OX's chart; packages override them."""
    credential_storage: CredentialStorage = CredentialStorage()
    """OX's credential storage (not supported yet: a MailPushConfig with it says NotYetSupported)."""
    mail_access: MailAccess | None = None
    """How listeners reach the users' mailboxes. Without it nothing is started: condition MailAccessMissing."""
    mechanisms: Mechanisms = Mechanisms()
    """How listeners learn of new mail."""
    callback: Callback = Callback()
    """Where Dovecot sends its events to."""
    redis: Redis | None = None
    """Cluster memory, for claims of notifications. Without it each pod remembers by itself."""
    transports: Transports = Transports()
    """How notifications leave."""
    notification: Notification = Notification()
    """What a notification tells."""
    listeners: Listeners = Listeners()
    """The listener pods."""
    properties: Annotated[
        dict[Annotated[str, Field(max_length=253)], Annotated[str, Field(max_length=4096)]], Field(max_length=256)
    ] = {}
    """Any further OX property, verbatim; these win over what the fields say. Never put secrets here."""


class PackageStatus(StatusModel):
    """What has become of a package."""

    name: Name
    """Name of the package."""
    status: Toggle
    """Whether it is in effect."""
    reason: Text
    """Why."""


class ReasonCount(StatusModel):
    """Users by reason."""

    reason: Text
    """The reason in CamelCase."""
    count: Annotated[int, Field(ge=0)]
    """How many users."""


class ListenersStatus(StatusModel):
    """The listener pods and what they do, from their Leases."""

    pods: Annotated[int, Field(ge=0)] | None = None
    """Listener pods."""
    capable: Annotated[int, Field(ge=0)] | None = None
    """Pods that can take users: allowed, package enabled, lease alive, not draining."""
    assigned: Annotated[int, Field(ge=0)] | None = None
    """Users in the slots that pods own."""
    running: Annotated[int, Field(ge=0)] | None = None
    """Users with a running listener."""
    failed: Annotated[int, Field(ge=0)] | None = None
    """Users whose listener does not start; it is tried again."""
    denied: Annotated[list[ReasonCount], Field(max_length=64)] = []
    """Users who are not to be listened for, by reason."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the pods, for the scale subresource."""


class ConfigHashPods(StatusModel):
    """Pods by the configuration that they run."""

    hash: Text
    """Hash of the rendered configuration."""
    pods: Annotated[int, Field(ge=0)]
    """How many pods run it."""


class MailPushConfigStatus(StatusModel):
    """What is the case."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that this status was made from."""
    conditions: Annotated[list[Condition], Field(max_length=32)] = []
    """Ready, ConfigurationValid, ListenersAvailable, Balanced and warnings."""
    config_hash: Text | None = None
    """Hash of the rendered configuration."""
    config_pods: Annotated[list[ConfigHashPods], Field(max_length=64)] = []
    """Which pods run which configuration."""
    packages: Annotated[list[PackageStatus], Field(max_length=256)] = []
    """Packages in effect, with the reason."""
    listeners: ListenersStatus | None = None
    """Pods and users."""
    epoch: Annotated[int, Field(ge=0)] | None = None
    """Epoch of the shard map."""

"""How listeners reach mailboxes: part of a MailPushConfig."""

# ruff: noqa: RUF012 - pydantic copies a default that can change

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mailpush.api.meta import BLANKS, DnsLabel, Milliseconds, Model, Port, SecretKeyReference, list_map, rules
from mailpush.api.oauth import OAuth


class MasterUser(Model):
    """A Dovecot master user: logs in for any user (SASL PLAIN with an authorization identity)."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """Name of the master user. The IMAP server must offer AUTH=PLAIN."""


class UserSecrets(Model):
    """Passwords of users in Secrets, one a user."""

    enabled: bool = False
    """True: a PushUser's credentialsSecretRef gives the password."""


class Doveadm(Model):
    """Dovecot's doveadm HTTP API, by which users are registered at Dovecot without any password of theirs.
    doveadm.properties"""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.enabled || size(self.endpoints) > 0",
                "mailAccess.doveadm.enabled is true, so mailAccess.doveadm.endpoints needs at least one",
            ),
            (
                "!self.enabled || has(self.apiSecretRef)",
                "mailAccess.doveadm.enabled is true, so mailAccess.doveadm.apiSecretRef is needed",
            ),
        )
    )

    enabled: bool = False
    """com.openexchange.dovecot.doveadm.enabled. True: mechanism dovecot registers by doveadm those users for whom there
    is no password and no token, and all with mechanisms.dovecot.preferDoveadmForMetadata."""
    endpoints: Annotated[
        list[Annotated[str, Field(pattern=rf"^https?://[^@,{BLANKS}]+$", max_length=512)]], Field(max_length=32)
    ] = []
    """com.openexchange.dovecot.doveadm.endpoints. Such as http://dovecot:8080/doveadm/v1; asked in turn. Of proxies, or
    of the one backend: each must know every user."""
    api_secret_ref: SecretKeyReference | None = None
    """com.openexchange.dovecot.doveadm.apiSecret. Dovecot's doveadm_api_key, or its doveadm_password."""
    authentication: Literal["apiKey", "password"] = "apiKey"
    """Which of the two it is. apiKey: sent as X-Dovecot-API, as OX does. password: as the password of doveadm, by basic
    authentication."""
    ca_secret_ref: SecretKeyReference | None = None
    """PEM certificates that an https endpoint's must be signed by. Default: the image's own."""
    total_connections: Annotated[int, Field(ge=1, le=10000)] = 100
    """com.openexchange.dovecot.doveadm.endpoints.totalConnections. The most connections of a pod at a time; it
    takes 4 at most, as many users go in one request."""
    max_connections_per_route: Annotated[int, Field(ge=0, le=10000)] = 0
    """com.openexchange.dovecot.doveadm.endpoints.maxConnectionsPerRoute. The most connections to one endpoint. 0: an
    even share of totalConnections."""
    read_timeout: Milliseconds = 10000
    """com.openexchange.dovecot.doveadm.endpoints.readTimeout in milliseconds; 0 is a minute."""
    connect_timeout: Milliseconds = 3000
    """com.openexchange.dovecot.doveadm.endpoints.connectTimeout in milliseconds; 0 is a minute."""
    check_interval: Milliseconds = 60000
    """com.openexchange.dovecot.doveadm.endpoints.checkInterval in milliseconds: after that an endpoint that failed is
    tried again."""


class MailServer(Model):
    """One IMAP server."""

    name: DnsLabel = "default"
    """What a PushUser's server field names."""
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]+$", max_length=253)]
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

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.passwordSource != 'global' || has(self.masterPasswordSecretRef)",
                'mailAccess.passwordSource is "global", so mailAccess.masterPasswordSecretRef is needed',
            ),
            (
                "!has(self.masterUser) || self.passwordSource == 'global'",
                'mailAccess.masterUser is set, so mailAccess.passwordSource must be "global"',
            ),
        )
    )

    password_source: Literal["session", "global"] = "session"  # noqa: S105 - OX's word
    """com.openexchange.mail.passwordSource. global: the master password for everybody. session: each user's own, from
    the credential storage or userSecrets."""
    login_source: Literal["login", "mail", "name", "mailLocalPart"] = "login"
    """com.openexchange.mail.loginSource. What is used as the login name: login: the PushUser's login, which is what OX
    calls the mail account's login; mail: its mail address; name: its login as well, which is what OX calls the user's
    login info or system user name; mailLocalPart: the part of the mail address before the last @, which OX has no word
    for: com.openexchange.mail.loginSource is not rendered then."""
    sane_login: bool = True
    """com.openexchange.mail.saneLogin. Of a login name that is an address the domain goes to the mail server in ASCII,
    as in DNS: anna@xn--mller-kva.de. false: as it is written; OX converts what it takes from mail even so, and so does
    mail-push."""
    auth_proxy_delimiter: Annotated[str, Field(min_length=1, max_length=16)] | None = None
    """com.openexchange.mail.authProxyDelimiter. Where it is set OX starts nothing for a user without a login name
    (PUSH-0007). Here a login name is always needed. Default: unset."""
    mail_server_source: Literal["user", "global"] = "user"
    """com.openexchange.mail.mailServerSource. user: a PushUser's server field names the IMAP server. global: the first
    of servers is everybody's, which is rendered as com.openexchange.mail.mailServer, and mailStartTls beside it."""
    master_password_secret_ref: SecretKeyReference | None = None
    """com.openexchange.mail.masterPassword. For passwordSource global."""
    master_user: MasterUser | None = None
    """With passwordSource global: log in as this Dovecot master user on behalf of the user. Without it the master
    password is taken as each user's own, as OX does."""
    user_secrets: UserSecrets = UserSecrets()
    """Passwords of users in Secrets."""
    oauth: OAuth = OAuth()
    """OAuth access tokens."""
    doveadm: Doveadm = Doveadm()
    """Dovecot's doveadm HTTP API."""
    servers: Annotated[list[MailServer], Field(max_length=64, json_schema_extra=list_map("name"))] = []
    """The IMAP servers. The first is everybody's whose PushUser names none."""

"""Facts that a decision is made from, and where they come from. They hold no secret, only whether there is one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mailpush.api.pushuser import PushUserSpec
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.settings import Settings


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """What is known of the Secret that a PushUser's `credentialsSecretRef` names."""

    found: bool
    permitted: bool = True
    """Whether it is for a user's password, and names this PushUser."""
    has_password: bool = False
    """Whether its key `password` is there and not empty."""
    has_login: bool = False
    """Whether its key `login` is there and not empty."""


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What is known of a user's entry in the credential storage.

    `state`: `usable`, `missing`, `clearText`, `damaged`, `tooLong`, `undecryptable`, `mismatch` or `unavailable`.
    """

    state: str


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What is known of the access token with which listeners log in for users."""

    found: bool
    why: str = ""
    """Where there is none: what keeps it from being got."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the balancer has put a user."""

    slot: int
    owner: str | None
    """The pod that owns the slot; None where nobody does at the moment."""
    allowed: bool = True
    """Whether that pod may run permanent listeners (`listeners.podOverrides`)."""
    here: str | None = None
    """The pod that asks, where one does."""


@dataclass(frozen=True, slots=True)
class UserFacts:
    """What a decision needs to know of a push user."""

    context_id: int
    user_id: int
    clients: tuple[str, ...] = ()
    suspended: bool = False
    login: str | None = None
    mail: str | None = None
    server: str | None = None
    secret_name: str | None = None
    """Name of the Secret that the PushUser refers to."""
    secret: SecretFacts | None = None
    """None: there is no reference, or nobody has looked."""
    stored: StoredFacts | None = None
    """None: nobody has looked into the credential storage."""
    token: TokenFacts | None = None
    """None: nobody has looked for an access token."""
    elder: str | None = None
    """An older PushUser that registers the same mailbox."""
    placement: Placement | None = None
    """None: nobody has looked. The operator decides without it, since it is the decision that says who is placed."""


NOBODY: Final = UserFacts(0, 0)
"""For checks that do not ask about the user."""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What a decision needs to know of the installation."""

    allow_permanent_push: bool
    """In at least one pod."""
    allowed_clients: ClientPatterns
    packages: frozenset[str]
    """Packages in effect."""
    mechanisms_order: tuple[str, ...]
    mechanisms_enabled: Mapping[str, bool] = field(default_factory=dict)
    """By mechanism; one that is not named counts as enabled where its package is."""
    imapidle_permanent: bool = False
    mail_access: bool = False
    servers: tuple[str, ...] = ()
    """Names of the IMAP servers; the first is the default."""
    server_per_user: bool = True
    """False: the first server is everybody's (`mailServerSource` global)."""
    password_source: str = "session"  # noqa: S105 - OX's word
    login_source: str = "login"
    auth_proxy: bool = False
    """Whether mail is reached through a proxy that takes the login apart (`authProxyDelimiter`)."""
    has_master_password: bool = False
    user_secrets: bool = False
    credential_storage: bool = False
    oauth: bool = False
    """Whether users without a password are logged in by an access token."""
    doveadm: bool = False
    """Whether Dovecot's doveadm HTTP API may be used."""
    prefer_doveadm: bool = False
    """Whether it registers users at Dovecot also where their password is known."""
    pod_overrides: bool = False
    """Whether single pods have an `allowPermanentPush` of their own."""
    by_property: frozenset[str] = frozenset()
    """Properties whose value comes from `properties`: advice names them and not the field."""

    def place(self, field: str, key: str) -> str:
        """Where an administrator finds the value that counts: the field, or the property that wins over it."""
        return f"{key} in properties" if key in self.by_property else field


def site_facts(settings: Settings) -> SiteFacts:
    """The facts of an installation, from its property files."""
    mail = settings.mail
    return SiteFacts(
        allow_permanent_push=settings.allowed_somewhere,
        allowed_clients=settings.allowed_clients,
        packages=settings.packages,
        mechanisms_order=settings.mechanisms_order,
        mechanisms_enabled={"dovecot": bool(settings.dovecot.enabled), "imapidle": bool(settings.imapidle.enabled)},
        imapidle_permanent=settings.imapidle.supports_permanent_listeners,
        mail_access=mail is not None,
        servers=tuple(server.name for server in mail.servers) if mail else (),
        server_per_user=mail is None or mail.server_source == "user",
        password_source=mail.password_source if mail else "session",
        login_source=mail.login_source if mail else "login",
        auth_proxy=mail is not None and mail.auth_proxy_delimiter is not None,
        has_master_password=mail is not None and bool(mail.master_password),
        user_secrets=mail is not None and mail.user_secrets,
        credential_storage=settings.credential_storage.enabled,
        oauth=mail is not None and mail.oauth is not None,
        doveadm=settings.doveadm.enabled,
        prefer_doveadm=settings.dovecot.prefer_doveadm_for_metadata,
        pod_overrides=bool(settings.pod_overrides),
        by_property=settings.by_property,
    )


def user_facts(
    spec: PushUserSpec,
    secret: SecretFacts | None = None,
    placement: Placement | None = None,
    elder: str | None = None,
    *,
    stored: StoredFacts | None = None,
    token: TokenFacts | None = None,
) -> UserFacts:
    """The facts of a user.

    Args:
        secret: what was found behind `credentialsSecretRef`; None where nobody has looked.
        placement: where the shard map has the user; None where nobody has looked.
        elder: an older PushUser that registers the same mailbox.
        stored, token: what the credential storage has, and whether there is an access token; None where nobody has
            looked.
    """
    reference = spec.credentials_secret_ref
    return UserFacts(
        context_id=spec.context_id,
        user_id=spec.user_id,
        clients=tuple(spec.clients),
        suspended=spec.suspend,
        login=spec.login,
        mail=spec.mail,
        server=spec.server,
        secret_name=reference.name if reference else None,
        secret=secret if reference else None,
        stored=stored,
        token=token,
        elder=elder,
        placement=placement,
    )

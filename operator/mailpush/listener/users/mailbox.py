"""How this pod logs in for a user: the server, the login and the password."""

from typing import Protocol, cast

from mailpush.decision import places
from mailpush.decision.places import Place, server_of
from mailpush.doveadm.access import access_of
from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.imap.server import Security, TokenMechanism
from mailpush.listener.mechanisms.base import DoveadmUser, Mailbox
from mailpush.listener.users.user import User
from mailpush.properties.settings import MailSettings, ServerSettings, Settings


class Known(Protocol):
    """What is known of a user's credentials."""

    @property
    def login(self) -> str | None:
        """Where they have one of their own."""

    @property
    def password(self) -> str | None: ...


def secret_name(user: User, settings: Settings) -> str | None:
    """The Secret that is used for the user; None where none is."""
    reference = user.spec.credentials_secret_ref
    if settings.mail is None or not settings.mail.user_secrets or reference is None:
        return None
    return reference.name


def place_of(user: User, settings: Settings, known: Known | None) -> Place | None:
    """Which mailbox is the user's; None where the settings do not say it."""
    return places.place_of(user.spec, settings, known.login if known else None)


def mailbox_of(user: User, settings: Settings, known: Known | None, *, doveadm: bool = False) -> Mailbox | None:
    """How the user's mailbox is reached; None where something that this takes is missing (the decision says what).

    `doveadm`: mechanism `dovecot` registers it by that; then nothing has to be known to log in with.
    """
    place = place_of(user, settings, known)
    server = server_of(place, settings) if place is not None else None
    if place is None or server is None:
        return None
    route = doveadm_user(place.login, settings) if doveadm else None
    login = login_for(place.login, settings, known.password if known else None)
    if login is None and route is not None:
        login = ImapLogin.without(place.login)
    if login is None:
        return None
    ids = user.spec.context_id, user.spec.user_id
    return Mailbox(*ids, imap_server(server), login, server_name=server.name, doveadm=route)


def doveadm_user(login: str, settings: Settings) -> DoveadmUser | None:
    """Mailbox `login` as doveadm names it; None where the settings have no doveadm."""
    access = access_of(settings)
    return None if access is None else DoveadmUser(login, hash(access))


def login_for(name: str, settings: Settings, password: str | None) -> ImapLogin | None:
    """How one logs in for mailbox `name`; None where the password is not known.

    Args:
        password: the user's own, which counts where there is no master password. Without one an access token does.
    """
    mail = settings.mail
    if mail is None:
        return None
    if mail.password_source == "global":  # noqa: S105 - OX's word
        return _as_master(name, mail)
    if password:
        return ImapLogin(name, password)
    if mail.oauth is not None:  # the token is asked for at each login, since it ends
        return ImapLogin.with_token(name, "", cast("TokenMechanism", mail.oauth.mechanism), hash(mail.oauth))
    return None


def _as_master(name: str, mail: MailSettings) -> ImapLogin | None:
    if not mail.master_password:
        return None
    if mail.master_user:
        return ImapLogin(mail.master_user, mail.master_password, authzid=name)
    return ImapLogin(name, mail.master_password)


def imap_server(server: ServerSettings) -> ImapServer:
    return ImapServer(
        host=server.host,
        port=server.port,
        security=cast("Security", server.security),
        ca_pem=server.ca_pem,
        server_name=server.server_name,
        verify=server.verify,
    )

"""Which mailbox is meant: a server and a login, as the settings name them and as a PushUser's status remembers them."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from mailpush.api.pushuser import PushUserSpec
from mailpush.decision.logins import login_of, sane_login
from mailpush.properties.settings import ServerSettings, Settings


class Mailbox(Protocol):
    """A place, or a registration in a PushUser's status."""

    @property
    def server(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def login(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A mailbox: the server's name in the settings and its address, and the login there."""

    server: str
    address: str
    login: str

    @property
    def key(self) -> str:
        """Names it among the registrations of a PushUser, and marks its registration where it needs a mark."""
        return sha256(f"{self.server}\0{self.login}".encode()).hexdigest()[:16]

    @property
    def mailbox(self) -> tuple[str, str]:
        """The same for all MailPushConfigs that mean this mailbox by this login, in capitals or not."""
        return self.address.casefold(), self.login.casefold()


def place_of(spec: PushUserSpec, settings: Settings, secret_login: str | None = None) -> Place | None:
    """Which mailbox is the user's; None where the settings do not say it."""
    server = settings.mail.server(spec.server) if settings.mail is not None else None
    login = login_of(spec, settings, secret_login)
    return None if server is None or login is None else Place(server.name, address_of(server), login)


def address_of(server: ServerSettings) -> str:
    return f"{server.host}:{server.port}"


def server_of(mailbox: Mailbox, settings: Settings) -> ServerSettings | None:
    """The server of a mailbox by the settings that count now: by its name, else by its address. None: not known.

    Its own address is never taken from a status: who may write there must not learn a password.
    """
    servers = settings.mail.servers if settings.mail is not None else ()
    return next((one for one in servers if one.name == mailbox.server), None) or next(
        (one for one in servers if address_of(one) == mailbox.address), None
    )


def is_same(one: Mailbox, place: Place, settings: Settings) -> bool:
    """Whether both are the same mailbox for sure."""
    server = server_of(one, settings)
    name = one.server if server is None else server.name
    return (name, one.login) == (place.server, place.login)


def may_be_same(one: Mailbox, place: Place, settings: Settings) -> bool:
    """Whether both may well be the same mailbox, under two names.

    Dovecot reads a login as `auth_username_format` says: often in lower case, with or without the domain, and what
    stands behind `auth_master_user_separator` is the master's name. Nothing tells us how it does.
    """
    server = server_of(one, settings)
    return (server is None or server.name == place.server) and _may_be_same(one.login, place.login)


def _may_be_same(one: str, other: str) -> bool:
    local, at, domain = _plain(one).partition("@")
    other_local, other_at, other_domain = _plain(other).partition("@")
    return local == other_local and (domain == other_domain or not at or not other_at)


def _plain(login: str) -> str:
    return sane_login(login.partition("*")[0] or login).casefold()

"""How this pod logs in for a user: the user's Secret through the API, or the master password of the settings."""

import asyncio
import random
from dataclasses import dataclass
from typing import Final, cast

from mailpush.credentials.user_secret import MISSING, UserSecret, user_secret
from mailpush.decision import places
from mailpush.decision.places import Place, server_of
from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.imap.server import Security
from mailpush.kube.client import Kube
from mailpush.kube.resources import SECRET
from mailpush.listener.mechanisms.base import Mailbox
from mailpush.listener.users.user import User
from mailpush.properties.settings import ServerSettings, Settings
from mailpush.work.clock import Clock, boottime

KEPT_SECONDS: Final = 300.0
SWEEP_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Kept:
    name: str
    secret: UserSecret
    until: float


class UserSecretReader:
    """Reads users' Secrets by name (a listener may `get`, not list or watch them) and keeps them some minutes.

    Of each PushUser one is kept, until `forget` or its time drops it: a password does not stay in memory because
    nobody asks any more.
    """

    def __init__(self, kube: Kube, namespace: str, clock: Clock = boottime) -> None:
        self._kube = kube
        self._namespace = namespace
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def get(self, name: str, push_user: str) -> UserSecret:
        """What Secret `name` holds for `push_user`.

        Raises:
            KubeError, TimeoutError: the API does not give it now.
        """
        kept = self._kept.get(push_user)
        if kept is not None and kept.name == name and kept.until > self._clock():
            return kept.secret
        async with asyncio.timeout(ANSWER_SECONDS):
            secret = await self._kube.find(SECRET, self._namespace, name)
        found = MISSING if secret is None else user_secret(secret, push_user)
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - so that not all are read again at once
        self._kept[push_user] = _Kept(name, found, self._clock() + KEPT_SECONDS * spread)
        self._sweep_later()
        return found

    def forget(self, push_user: str) -> None:
        """Drops the Secret of a user who has left, or one that is wrong or old: the next `get` reads it again."""
        self._kept.pop(push_user, None)

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._clock()
        self._kept = {push_user: kept for push_user, kept in self._kept.items() if kept.until > now}
        if self._kept:
            self._sweep_later()


def secret_name(user: User, settings: Settings) -> str | None:
    """The Secret that is used for the user; None where none is."""
    reference = user.spec.credentials_secret_ref
    if settings.mail is None or not settings.mail.user_secrets or reference is None:
        return None
    return reference.name


def place_of(user: User, settings: Settings, secret: UserSecret | None) -> Place | None:
    """Which mailbox is the user's; None where the settings do not say it."""
    return places.place_of(user.spec, settings, secret.login if secret else None)


def mailbox_of(user: User, settings: Settings, secret: UserSecret | None) -> Mailbox | None:
    """How the user's mailbox is reached; None where something that this takes is missing (the decision says what)."""
    place = place_of(user, settings, secret)
    server = server_of(place, settings) if place is not None else None
    if place is None or server is None:
        return None
    login = login_for(place.login, settings, secret.password if secret else None)
    if login is None:
        return None
    return Mailbox(user.spec.context_id, user.spec.user_id, imap_server(server), login)


def login_for(name: str, settings: Settings, password: str | None) -> ImapLogin | None:
    """How one logs in for mailbox `name`; None where the password is not known.

    Args:
        password: the user's own, which counts where there is no master password.
    """
    mail = settings.mail
    if mail is None:
        return None
    if mail.password_source == "global":  # noqa: S105 - OX's word
        if not mail.master_password:
            return None
        if mail.master_user:
            return ImapLogin(mail.master_user, mail.master_password, authzid=name)
        return ImapLogin(name, mail.master_password)
    return ImapLogin(name, password) if password else None


def imap_server(server: ServerSettings) -> ImapServer:
    return ImapServer(
        host=server.host,
        port=server.port,
        security=cast("Security", server.security),
        ca_pem=server.ca_pem,
        server_name=server.server_name,
        verify=server.verify,
    )

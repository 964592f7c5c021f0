"""One user of this pod: decided, started by the first mechanism that starts, stopped, unregistered."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from mailpush.credentials.user_secret import UserSecret
from mailpush.decision import POD_EXCLUDED, Decision, Placement, SiteFacts, decide, user_facts
from mailpush.imap.errors import ImapAuthError, ImapError
from mailpush.kube.errors import KubeError
from mailpush.listener.mechanisms.base import Health, Listener, Mailbox, Mechanism, State
from mailpush.listener.mechanisms.budget import AuthFailuresHighError
from mailpush.listener.users.mailbox import UserSecretReader, mailbox_of, secret_name, server_name
from mailpush.listener.users.siblings import OtherPushUsers
from mailpush.listener.users.status import UserOutcome, next_attempt
from mailpush.listener.users.watch import User, UserKey
from mailpush.notifications.notification import NewMail
from mailpush.properties.settings import Settings
from mailpush.sharding.slots import slot_of
from mailpush.work.pace import Backoff

DOVECOT: Final = "dovecot"
RECHECK_SECONDS: Final = 300.0
RECHECK_BROKEN_SECONDS: Final = 30.0
UNREGISTER_SECONDS: Final = 20.0
FAREWELL_SECONDS: Final = 5.0
RETRY: Final = Backoff(1.0, 10.0)

# With these a mechanism says that it cannot work at this server at all, so the next in the order gets its turn.
CANNOT_START: Final = frozenset({"NoMetadata", "NoIdle", "RegistrationRefused"})
# A Secret that was made or put right meanwhile ends these.
SECRET_MAY_HELP: Final = frozenset({"PasswordMissing", "SecretNotPermitted", "LoginMissing"})
AUTHENTICATION_FAILED: Final = "AuthenticationFailed"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What all users of the pod share.

    `unregister`: the installation is being taken away. `pod`: this pod's name, and `pod_allowed` whether it may run
    permanent listeners.
    """

    settings: Settings
    facts: SiteFacts
    mechanisms: Mapping[str, Mechanism]
    unregister: bool = False
    pod: str | None = None
    pod_allowed: bool = True

    def placement(self, slot: int) -> Placement:
        """The placement of a user whose slot this pod owns."""
        return Placement(slot, owner=self.pod, allowed=self.pod_allowed, here=self.pod)


class ListenerOwner(Protocol):
    """The supervisor, as one user's listener sees it."""

    def reported(self, key: UserKey, outcome: UserOutcome, health: Health | None) -> None:
        """There is a new outcome."""

    def look_again(self, key: UserKey) -> None:
        """The mechanism has given up: `reconcile` is to be called."""

    def mail_seen(self, mail: NewMail) -> bool:
        """The mechanism has seen a new mail of the user; returns whether it is kept."""


@dataclass(slots=True)
class _Attached:
    mechanism: Mechanism
    mailbox: Mailbox
    listener: Listener


class UserListener:
    """`reconcile` is called, never twice at a time, whenever anything may have changed; `stop` ends it.

    Args:
        epoch: of the shard map under which the pod got the user's slot.
        siblings: whether the user's registration at the mail server has to stay, for another PushUser of the user.
    """

    def __init__(self, key: UserKey, epoch: int, owner: ListenerOwner, siblings: OtherPushUsers) -> None:
        self.key = key
        self.outcome: UserOutcome | None = None
        self.clients: tuple[str, ...] | None = None
        """The clients to notify of the user's mails; None while undecided, empty where denied."""
        self.server: str | None = None
        """Name of the mail server, where one is known."""
        self.stopped = False
        self.push_user: str | None = None
        """The name of the PushUser as last looked at."""
        self._epoch = epoch
        self._owner = owner
        self._siblings = siblings
        self._running: _Attached | None = None
        self._leaving: Listener | None = None
        self._passed_over: set[str] = set()
        self._unregistered = False
        self._refused = False
        """The login with which the registration was to be taken away."""
        self._failures = 0
        self._failure = ("", "", 0.0)
        """Reason, message and longest wait of the failure that goes on."""

    @property
    def listening(self) -> bool:
        return self.outcome is not None and self.outcome.permanent

    @property
    def denied(self) -> str | None:
        """The reason for which no client is notified."""
        return self.outcome.reason if self.outcome is not None and self.clients == () else None

    @property
    def failure(self) -> tuple[str, str] | None:
        """Reason and sentence of what has failed and is tried again."""
        health = self._running.listener.health if self._running is not None else None
        return (health.reason, health.message) if health is not None and health.state is State.FAILED else None

    async def reconcile(self, user: User, site: Site, secrets: UserSecretReader) -> float | None:
        """Brings what runs in line with what is wanted. Returns the seconds until the next look, None for never."""
        name, self.push_user = secret_name(user, site.settings), user.name
        try:
            secret = await self._secret(name, user.name, secrets)
        except (KubeError, TimeoutError) as error:
            # What runs goes on: an API that is down for an hour silences nobody.
            log.warning("secret_not_read", secret=name, error=str(error) or type(error).__name__)
            return RECHECK_BROKEN_SECONDS
        if user.deleting or site.unregister:
            return await self._unregister(user, site, secret)
        self._unregistered = False
        placement = site.placement(slot_of(*self.key)) if site.pod is not None else None
        decision = decide(user_facts(user.spec, secret.facts if secret else None, placement), site.facts)
        if decision.reason == POD_EXCLUDED and self._running is not None:
            return None  # it goes on until another pod has taken the user: nobody is silent meanwhile
        mailbox = mailbox_of(user, site.settings, secret) if decision.spawn else None
        if mailbox is None:
            await self._deny(decision, user)
            return RECHECK_BROKEN_SECONDS if name and decision.reason in SECRET_MAY_HELP else None
        self.clients = tuple(client for client in user.spec.clients if site.settings.allowed_clients.match(client))
        self.server = server_name(user, site.settings)
        await self._run(decision, mailbox, site)
        if name is None:
            return None
        return RECHECK_BROKEN_SECONDS if self._auth_failed() else RECHECK_SECONDS

    async def stop(self) -> None:
        """Stops the listener: nothing of this user has an effect after it has returned. The registration stays."""
        self.stopped = True
        await self._end()

    # -- steps

    async def _secret(self, name: str | None, push_user: str, secrets: UserSecretReader) -> UserSecret | None:
        if name is None:
            return None
        if (
            self._auth_failed()
            or self._refused
            or (self.outcome is not None and self.outcome.reason in SECRET_MAY_HELP)
        ):
            secrets.forget(push_user)
        return await secrets.get(name, push_user)

    def _auth_failed(self) -> bool:
        return self.outcome is not None and self.outcome.reason == AUTHENTICATION_FAILED

    async def _deny(self, decision: Decision, user: User) -> None:
        self.clients = ()
        message = decision.message if decision.code is None else f"{decision.message} ({decision.code})"
        self._say(UserOutcome("False", decision.reason, message, None, self._epoch))
        if self._running is None:
            return
        self._leaving, self._running = self._running.listener, None
        try:
            # OX takes the registration away as well, so that Dovecot does not call for nothing. Where that does not
            # work, its calls stay without effect.
            async with asyncio.timeout(FAREWELL_SECONDS):
                if not await self._siblings.need(user):
                    await self._leaving.unregister()
        except (ImapError, AuthFailuresHighError, KubeError, TimeoutError) as error:
            log.info("registration_left_behind", reason=decision.reason, error=type(error).__name__)
        await self._end()

    async def _run(self, decision: Decision, mailbox: Mailbox, site: Site) -> None:
        running = self._running
        if running is not None and running.mailbox != mailbox:
            self._passed_over.clear()
        mechanism = self._choose(decision, site)
        if running is not None and running.mechanism is mechanism and running.mailbox == mailbox:
            if self.outcome is not None:
                self._owner.reported(self.key, self.outcome, running.listener.health)
            return
        await self._end()
        await self._start(mechanism, mailbox, after=running.listener if running is not None else None).start()

    def _choose(self, decision: Decision, site: Site) -> Mechanism:
        running = self._running
        if running is not None and self.outcome is not None and self.outcome.reason in CANNOT_START:
            self._passed_over.add(running.mechanism.name)
            if self._passed_over.issuperset(decision.mechanisms):
                self._passed_over.clear()  # none of them starts: stay with this one, which tries again by itself
                if running.mechanism.name in decision.mechanisms:
                    return running.mechanism
        left = [name for name in decision.mechanisms if name not in self._passed_over]
        return site.mechanisms[(left or decision.mechanisms)[0]]

    def _start(self, mechanism: Mechanism, mailbox: Mailbox, after: Listener | None) -> Listener:
        running: _Attached | None = None

        def health_changed(_: UserKey, health: Health) -> None:
            if running is None or running is self._running:
                self._health(mechanism.name, health)

        running = _Attached(mechanism, mailbox, mechanism.listener(mailbox, health_changed, self._mail, after))
        self._running = running
        return running.listener

    def _mail(self, mail: NewMail) -> bool:
        return not self.stopped and self._owner.mail_seen(mail)

    def _health(self, mechanism: str, health: Health) -> None:
        if self.stopped:
            return
        if health.state is State.LISTENING:
            self._failure = ("", "", 0.0)
            self._say(UserOutcome("True", health.reason, health.message, mechanism, self._epoch), health)
        elif health.state is State.UNVERIFIED:
            self._say(UserOutcome("Unknown", health.reason, health.message, mechanism, self._epoch), health)
        elif health.state is State.FAILED:
            self._say(
                UserOutcome("False", health.reason, self._with_next_attempt(health), mechanism, self._epoch), health
            )
            if health.reason in CANNOT_START or health.reason == AUTHENTICATION_FAILED:
                self._owner.look_again(self.key)

    def _with_next_attempt(self, health: Health) -> str:
        """The message of a failure, with the time until the next attempt.

        While the same failure goes on the time never gets shorter again: a wait is random, and the status is not to
        be written at each attempt.
        """
        if health.retry_at is None:
            return health.message
        seconds = health.retry_at - time.monotonic()
        if self._failure[:2] == (health.reason, health.message):
            seconds = max(seconds, self._failure[2])
        self._failure = (health.reason, health.message, seconds)
        return f"{health.message}; the next attempt comes {next_attempt(seconds)}"

    async def _unregister(self, user: User, site: Site, secret: UserSecret | None) -> float | None:
        """Takes the registration at the server away and reports it; the operator then removes the finalizer."""
        self.clients = ()
        if self._unregistered:
            if self.outcome is not None:
                self._owner.reported(self.key, self.outcome, None)
            return None
        running = self._running
        if running is not None and running.mechanism.name == DOVECOT:
            self._leaving, self._running = running.listener, None
        elif self._leaving is None:
            await self._end()
            self._leaving = self._former_registration(user, site, secret)
        elif self._refused and (anew := self._way_in(user, site, secret)) is not None:
            await self._leaving.stop()
            self._leaving = anew  # the password may have been changed meanwhile
        message = "the mail server does not call for this user"
        try:
            async with asyncio.timeout(UNREGISTER_SECONDS):
                if self._leaving is not None:
                    if await self._siblings.need(user):
                        message = "the registration at the mail server stays, for another PushUser of this user"
                    else:
                        await self._leaving.unregister()
        except (ImapError, AuthFailuresHighError, KubeError, TimeoutError) as error:
            why = str(error) or f"no answer within {UNREGISTER_SECONDS:g} s"
            self._say(UserOutcome("Unknown", "UnregisterFailed", why, DOVECOT, self._epoch))
            self._failures += 1
            self._refused = isinstance(error, ImapAuthError)
            return RETRY.after(self._failures)
        await self._end()
        self._unregistered, self._refused, self._failures = True, False, 0
        self._say(UserOutcome("False", "Unregistered", message, None, self._epoch))
        return None

    def _former_registration(self, user: User, site: Site, secret: UserSecret | None) -> Listener | None:
        """For a registration that another process made."""
        if not user.finalizer and user.status.mechanism != DOVECOT:
            return None
        listener = self._way_in(user, site, secret)
        if listener is None:
            log.warning("registration_left_behind", reason="no way into the mailbox is known any more")
        return listener

    def _way_in(self, user: User, site: Site, secret: UserSecret | None) -> Listener | None:
        """A listener that never runs: it only takes a registration away, with the login that counts now."""
        mailbox = mailbox_of(user, site.settings, secret)
        mechanism = site.mechanisms.get(DOVECOT)
        if mailbox is None or mechanism is None:
            return None
        return mechanism.listener(mailbox, lambda _key, _health: None, lambda _mail: False)

    async def _end(self) -> None:
        """Keeps a listener until it has stopped, so that an interrupted stop can be retried."""
        if self._leaving is not None:
            await self._leaving.stop()
            self._leaving = None
        if self._running is not None:
            await self._running.listener.stop()
            self._running = None

    def _say(self, outcome: UserOutcome, health: Health | None = None) -> None:
        self.outcome = outcome
        self._owner.reported(self.key, outcome, health)

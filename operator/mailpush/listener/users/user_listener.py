"""One user of this pod: decided, started by the first mechanism that starts, stopped, unregistered."""

import random
import time
from dataclasses import replace
from typing import Final

import structlog

from mailpush.credentials.stored import PASSCRYPT_MISMATCH
from mailpush.decision import POD_EXCLUDED, Decision, decide, needs_no_password, user_facts
from mailpush.decision.places import Place
from mailpush.kube.errors import KubeError
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mechanisms.base import Health, Listener, Mailbox, Mechanism, State
from mailpush.listener.mechanisms.dovecot import DovecotListener
from mailpush.listener.users.choice import CANNOT_START, Attached, Choice
from mailpush.listener.users.credentials import (
    DOVEADM,
    OAUTH,
    STORAGE,
    STORED_KEPT_SECONDS,
    Credentials,
    UserCredentials,
)
from mailpush.listener.users.farewell import Attempt
from mailpush.listener.users.mailbox import mailbox_of, place_of, secret_name
from mailpush.listener.users.metrics import STRANGE
from mailpush.listener.users.registration_book import NoBook, RegistrationBook
from mailpush.listener.users.registrations import DOVECOT, Registrations
from mailpush.listener.users.siblings import OtherPushUsers
from mailpush.listener.users.site import ListenerOwner, Site
from mailpush.listener.users.status import FailureText, Said, UserOutcome, next_attempt
from mailpush.listener.users.user import User, UserKey
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from mailpush.work.pace import Backoff

RECHECK_SECONDS: Final = 300.0
RECHECK_BROKEN_SECONDS: Final = 30.0
UNREGISTER_SECONDS: Final = 20.0
FAREWELL_SECONDS: Final = 5.0
NOTE_SECONDS: Final = 5.0
RETRY: Final = Backoff(1.0, 10.0)

# A Secret that was made or put right meanwhile ends these.
SECRET_MAY_HELP: Final = frozenset({"PasswordMissing", "SecretNotPermitted", "LoginMissing"})
TOKEN_MISSING: Final = "TokenMissing"  # noqa: S105 - a reason
# What to log in with is not known now: what runs goes on, and what does not run begins later.
NOT_KNOWN_NOW: Final = frozenset({"CredentialStorageUnavailable", "PasscryptMismatch", TOKEN_MISSING})
AUTHENTICATION_FAILED: Final = "AuthenticationFailed"

log = structlog.get_logger(__name__)


class UserListener:
    """`reconcile` is called, never twice at a time, whenever anything may have changed; `stop` ends it.

    Args:
        epoch: of the shard map under which the pod got the user's slot.
        siblings: whether the user's registration at the mail server has to stay, for another PushUser of the user.
        book: where it is noted what is registered.
        credentials: of all users of the pod.
    """

    def __init__(
        self,
        key: UserKey,
        epoch: int,
        owner: ListenerOwner,
        siblings: OtherPushUsers,
        credentials: Credentials,
        *,
        book: RegistrationBook | None = None,
    ) -> None:
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
        self._credentials = credentials
        self._said = Said()
        self._running: Attached | None = None
        self._leaving: Listener | None = None
        self._registrations = Registrations(key, book or NoBook())
        self._choice = Choice()
        self._resynced: str | None = None
        self._unregistered = False
        self._had_clients = False
        self._refused = False
        """The login with which the registration was to be taken away."""
        self._failures = 0
        self._failure = FailureText()

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

    @property
    def sweepable(self) -> DovecotListener | None:
        """What looks into the mailbox for mails that no callback has told of."""
        listener = self._running.listener if self._running is not None else None
        return listener if isinstance(listener, DovecotListener) else None

    async def reconcile(self, user: User, site: Site, elder: str | None = None) -> float | None:
        """Brings what runs in line with what is wanted. Returns the seconds until the next look, None for never.

        `elder`: an older PushUser that registers the same mailbox.
        """
        self.push_user = user.name
        try:
            known = await self._known(user, site)
        except (KubeError, TimeoutError) as error:
            # What runs goes on: an API that is down for an hour silences nobody.
            log.warning(
                "secret_not_read", secret=secret_name(user, site.settings), error=str(error) or type(error).__name__
            )
            return RECHECK_BROKEN_SECONDS
        place = place_of(user, site.settings, known)
        self._had_clients = self._had_clients or bool(user.spec.clients)
        if user.deleting and site.leaves_registrations and not site.unregister:
            await self._leave()
            return None
        if user.deleting or site.unregister:
            self._said.see(user, known.source)
            return await self._unregister(user, site, known, place)
        self._unregistered = False
        placement = site.placement(slot_of(*self.key)) if site.pod is not None else None
        decision = decide(
            user_facts(user.spec, known.secret, placement, elder, stored=known.stored, token=known.token), site.facts
        )
        if decision.doveadm:
            known = replace(known, source=DOVEADM)
        self._said.see(user, known.source)
        if decision.reason == POD_EXCLUDED and self._running is not None:
            return None  # it goes on until another pod has taken the user: nobody is silent meanwhile
        if decision.reason in NOT_KNOWN_NOW:
            return await self._hold(decision, user, site, place)
        return await self._follow(decision, user, site, known, place)

    async def _follow(
        self, decision: Decision, user: User, site: Site, known: UserCredentials, place: Place | None
    ) -> float | None:
        name = secret_name(user, site.settings)
        mailbox = mailbox_of(user, site.settings, known, doveadm=decision.doveadm) if decision.spawn else None
        wanted = mailbox is not None and DOVECOT in decision.mechanisms
        self._registrations.see(user, site.settings, place, wanted=wanted)
        attempt = self._attempt(user, site, known)
        if mailbox is None or place is None:
            again = await self._deny(decision, attempt, place)
            return _sooner(again, RECHECK_BROKEN_SECONDS if name and decision.reason in SECRET_MAY_HELP else None)
        self.clients = allowed_clients(user, site)
        self.server = place.server
        again = await self._run(decision, mailbox, place, site, attempt)
        if known.source == STORAGE:
            return _sooner(again, STORED_KEPT_SECONDS)
        if name is None:
            return again
        return _sooner(again, RECHECK_BROKEN_SECONDS if self._auth_failed() else RECHECK_SECONDS)

    def refuses(self, mail: NewMail) -> TakeResult | None:
        """Why a mail that a server announces is not taken now; None where it is. Asked once `clients` are decided."""
        if not self.clients:
            # The users of an excluded pod are about to have another one, which notifies them.
            return TakeResult.NOT_MINE if self.denied == POD_EXCLUDED else TakeResult.DENIED
        own = self._registrations.are_own(mail.mark)
        if own is None:  # of a registration that this pod may be about to read of
            return TakeResult.NOT_MINE
        if not own:
            STRANGE.inc()
            log.warning("mail_of_another_mailbox", context=mail.context_id, user=mail.user_id)
        return None if own else TakeResult.DENIED

    async def stop(self) -> None:
        """Stops the listener: nothing of this user has an effect after it has returned. The registration stays."""
        self.stopped = True
        await self._end()

    # -- steps

    async def _known(self, user: User, site: Site) -> UserCredentials:
        """The user's credentials, read anew where those that are kept are of no use."""
        reason = self.outcome.reason if self.outcome is not None else None
        if self._auth_failed() or self._refused or reason in SECRET_MAY_HELP:
            self._credentials.doubt(user)
        return await self._credentials.of(user, site.settings, needed=not needs_no_password(site.facts))

    def _auth_failed(self) -> bool:
        return self.outcome is not None and self.outcome.reason == AUTHENTICATION_FAILED

    def _attempt(self, user: User, site: Site, known: UserCredentials) -> Attempt:
        return Attempt(user, site.settings, known, site.mechanisms.get(DOVECOT), self._siblings)

    async def _deny(self, decision: Decision, attempt: Attempt, place: Place | None) -> float | None:
        self.clients = ()
        message = decision.message if decision.code is None else f"{decision.message} ({decision.code})"
        self._say(UserOutcome("False", decision.reason, message, None, self._epoch))
        if self._running is None and attempt.user.status.mechanism == DOVECOT:
            self._registrations.assume(attempt.user, place)
        if decision.reason == POD_EXCLUDED:
            return None  # the pod that may take the user needs it
        # OX takes the registration away as well, so that Dovecot does not call for nothing. Until that has worked its
        # calls stay without effect.
        again = await self._clear(attempt, stop=True, similar=True)
        if again is None and self._had_clients and not attempt.user.spec.clients:
            self._had_clients = False
            self._owner.user_gone(self.key)  # unregistered first: that takes the password
        return again

    async def _hold(self, decision: Decision, user: User, site: Site, place: Place | None) -> float:
        """The password or token is not known at the moment. Nothing is begun, and nothing taken away at the server.

        What runs goes on, under another passcrypt and without a token only where it has logged in. The server may call
        for a user who is registered: that is told, whether a listener runs or not.
        """
        again = RECHECK_BROKEN_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - users apart from each other
        self.clients = allowed_clients(user, site)
        self._registrations.see(user, site.settings, place, wanted=True)
        running = self._running
        if running is not None and (running.proven or decision.reason not in (PASSCRYPT_MISMATCH, TOKEN_MISSING)):
            return again
        await self._end()
        message = f"{decision.message}; the next attempt comes {next_attempt(again)}"
        self._say(UserOutcome("False", decision.reason, message, None, self._epoch))
        return again

    async def _clear(self, attempt: Attempt, *, stop: bool, similar: bool) -> float | None:
        """Takes away what is registered and is not to be; `stop` ends what runs."""
        if stop and self._running is not None:
            self._leaving, self._running = self._running.listener, None
        before = self._registrations.trouble
        again = await self._registrations.clear(attempt, similar=similar, seconds=FAREWELL_SECONDS)
        if stop:
            await self._end()
        if self.outcome is not None and self._registrations.trouble != before:
            self._say(self.outcome, None if self._running is None else self._running.listener.health)
        return again

    async def _run(
        self, decision: Decision, mailbox: Mailbox, place: Place, site: Site, attempt: Attempt
    ) -> float | None:
        running = self._running
        if (running is not None and not running.is_at(mailbox)) or self._resynced != attempt.user.resync:
            self._choice.anew()
        reason = self.outcome.reason if self.outcome is not None else None
        mechanism = self._choice.choose(decision, site.mechanisms, running, reason)
        again: float | None = None
        if moved := running is not None and running.place != place:
            again = await self._clear(attempt, stop=True, similar=False)
        try:
            mailbox = await self._noted(mechanism, mailbox, place, attempt)
        except KubeError as error:
            log.warning("registration_not_noted", push_user=attempt.user.name, error=str(error))
            if self._running is None:
                why = f"not registered, since that cannot be noted in the PushUser's status: {error}"
                self._say(UserOutcome("False", "RegistrationNotNoted", why, DOVECOT, self._epoch))
            return NOTE_SECONDS
        former, running = running, self._running
        asked, self._resynced = self._resynced != attempt.user.resync, attempt.user.resync
        if asked or running is None or running.mechanism is not mechanism or running.mailbox != mailbox:
            await self._end()
            after = former.listener if former is not None else None
            await self._start(mechanism, mailbox, place, attempt.known, after).start()
        elif self.outcome is not None:
            running.entry = attempt.known.entry  # perhaps encrypted anew
            self._look_at_login(running)
            self._say(self.outcome, running.listener.health)
        if not moved:
            again = await self._clear(attempt, stop=False, similar=self.listening)
        alone = not self._registrations.left(site.settings)
        return 0.0 if alone and mailbox.mark else again  # it needs no mark any more

    async def _noted(self, mechanism: Mechanism, mailbox: Mailbox, place: Place, attempt: Attempt) -> Mailbox:
        """The mailbox as it is to be registered, which is noted first. Raises KubeError."""
        running = self._running
        cannot = running is not None and self.outcome is not None and self.outcome.reason in CANNOT_START
        if cannot and running is not None and running.mechanism.name == DOVECOT:
            await self._registrations.never_made(attempt.user, place)
            return replace(mailbox, mark=running.mailbox.mark if mechanism is running.mechanism else "")
        if mechanism.name != DOVECOT:
            return mailbox
        return replace(mailbox, mark=await self._registrations.note(attempt.user, attempt.settings, place))

    def _start(
        self, mechanism: Mechanism, mailbox: Mailbox, place: Place, known: UserCredentials, after: Listener | None
    ) -> Listener:
        running: Attached | None = None

        def health_changed(_: UserKey, health: Health) -> None:
            if running is None or running is self._running:
                self._health(mechanism.name, health)

        refused_for = time.time() - known.refused_since if known.refused_since else 0.0
        mailbox = replace(mailbox, proven=known.proven, refused_for=max(0.0, refused_for))
        listener = mechanism.listener(mailbox, health_changed, self._mail, after)
        running = Attached(mechanism, mailbox, place, listener, known.source, known.entry)
        self._running = running
        if mechanism.name == DOVECOT:
            self._registrations.by(place, running.listener)
        return running.listener

    def _mail(self, mail: NewMail) -> bool:
        own = self._registrations.own_mark
        return not self.stopped and self._owner.mail_seen(replace(mail, mark=own) if own else mail)

    def _health(self, mechanism: str, health: Health) -> None:
        if self.stopped:
            return
        running = self._running
        if health.state is State.LISTENING:
            self._failure = FailureText()
            if running is not None:
                running.proven = True
                self._look_at_login(running)
            if mechanism == DOVECOT and self._registrations.made():
                self._owner.look_again(self.key)
            self._say(UserOutcome("True", health.reason, health.message, mechanism, self._epoch), health)
        elif health.state is State.UNVERIFIED:
            self._say(UserOutcome("Unknown", health.reason, health.message, mechanism, self._epoch), health)
        elif health.state is State.FAILED:
            self._say(UserOutcome("False", health.reason, self._failure.text(health), mechanism, self._epoch), health)
            if health.reason == AUTHENTICATION_FAILED and running is not None:
                running.proven = False
                self._credentials.refused(running.entry)
            no_token = running is not None and running.source == OAUTH and self._credentials.lacks_token
            if health.reason in CANNOT_START or health.reason == AUTHENTICATION_FAILED or no_token:
                self._owner.look_again(self.key)

    def _look_at_login(self, running: Attached) -> None:
        """Notes that the credentials have worked, where they have lately."""
        if at := running.listener.logged_in_at:
            self._said.worked(at)
            self._credentials.worked(running.entry, at)

    async def _unregister(self, user: User, site: Site, known: UserCredentials, place: Place | None) -> float | None:
        """Takes all registrations at mail servers away and reports it; the operator then removes the finalizer."""
        self.clients = ()
        if self._unregistered:
            if self.outcome is not None:
                self._owner.reported(self.key, self.outcome, None)
            return None
        self._registrations.see(user, site.settings, place, wanted=False)
        if user.finalizer or user.status.mechanism == DOVECOT:
            self._registrations.assume(user, place)
        attempt = self._attempt(user, site, known)
        if self._running is not None:
            self._leaving, self._running = self._running.listener, None
        trouble = await self._registrations.withdraw(attempt, similar=True, seconds=UNREGISTER_SECONDS)
        if trouble is not None:
            self._say(UserOutcome("Unknown", "UnregisterFailed", trouble.message, DOVECOT, self._epoch))
            self._failures += 1
            self._refused = trouble.refused
            return RETRY.after(self._failures)
        await self._end()
        self._unregistered, self._refused, self._failures = True, False, 0
        message = "the mail server does not call for this user"
        if self._registrations.shared:
            message = "the registration at the mail server stays, for another PushUser of this user"
        self._say(UserOutcome("False", "Unregistered", message, None, self._epoch))
        return None

    async def _leave(self) -> None:
        """The user is deleted, and the registration is to stay: whoever is called for it drops what it is told."""
        self.clients = ()
        await self._end()
        message = "the PushUser is deleted; its registration at the mail server stays (deletionPolicy: Leave)"
        self._say(UserOutcome("False", "RegistrationKept", message, None, self._epoch))

    async def _end(self) -> None:
        """Keeps a listener until it has stopped, so that an interrupted stop can be retried."""
        if self._leaving is not None:
            await self._leaving.stop()
            self._leaving = None
        if self._running is not None:
            await self._running.listener.stop()
            self._running = None

    def _say(self, outcome: UserOutcome, health: Health | None = None) -> None:
        trouble = self._registrations.trouble
        left = None if trouble is None else (trouble.reason, trouble.message)
        self.outcome = replace(outcome, left=left, credentials=self._said.now)
        self._owner.reported(self.key, self.outcome, health)


def allowed_clients(user: User, site: Site) -> tuple[str, ...]:
    """Those of the user's clients that are notified."""
    return tuple(client for client in user.spec.clients if site.settings.allowed_clients.match(client))


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((seconds for seconds in (one, other) if seconds is not None), default=None)

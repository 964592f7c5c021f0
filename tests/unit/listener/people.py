"""Push users, settings and mechanisms for the unit tests of the listener."""

from dataclasses import replace
from typing import Any

from mailpush.decision import site_facts
from mailpush.kube.client import Object
from mailpush.listener.mechanisms.base import Health, HealthChanged, Listener, MailArrived, Mailbox, State
from mailpush.listener.users.site import Site
from mailpush.listener.users.status import UserOutcome
from mailpush.listener.users.user import User, UserKey
from mailpush.notifications.notification import NewMail
from mailpush.properties.read import read
from mailpush.properties.settings import Settings

CLIENT = "open-xchange-mobile-api-facade"
FILES = {
    "mail-push-listener.properties": """
mailpush.packages=open-xchange-push-dovecot, open-xchange-push-imapidle
mailpush.mail.servers=default
mailpush.mail.server.default.host=imap.example
""",
    "push_imapidle.properties": "com.openexchange.push.imapidle.supportsPermanentListeners=true\n",
    "mail.properties": "com.openexchange.mail.passwordSource=global\n",
    "mail-push-secrets.properties": "com.openexchange.mail.masterPassword=master-secret\n",
}
BY_SECRET = {
    **FILES,
    "mail.properties": "com.openexchange.mail.passwordSource=session\n",
    "mail-push-more.properties": "mailpush.mail.userSecrets=true\n",
}


def settings(files: dict[str, str] = FILES) -> Settings:
    return read(files)


def push_user(number: int = 3, *, config: str = "main", **changes: Any) -> Object:
    """A PushUser object; `metadata` and `status` in `changes` are added, the rest goes into the spec."""
    metadata = {"name": f"{config}-1-{number}", "uid": f"uid-{number}", "generation": 1, "resourceVersion": "1"}
    metadata |= changes.pop("metadata", {})
    status = changes.pop("status", {})
    spec = {"configRef": {"name": config}, "contextId": 1, "userId": number, "clients": [CLIENT], "login": f"u{number}"}
    return {"metadata": metadata, "spec": spec | changes, "status": status}


def user(number: int = 3, **changes: Any) -> User:
    return User.of(push_user(number, **changes))


class Permitted:
    """The pod's right, as the test says."""

    def __init__(self) -> None:
        self.may = True

    def may_write(self) -> bool:
        return self.may


class FakeOwner:
    """Notes what one user's listener reports to the supervisor."""

    def __init__(self) -> None:
        self.outcomes: list[UserOutcome] = []
        self.again: list[UserKey] = []
        self.mails: list[NewMail] = []
        self.gone: list[UserKey] = []
        self.has_room = True

    def reported(self, key: UserKey, outcome: UserOutcome, health: Health | None) -> None:
        self.outcomes.append(outcome)

    def look_again(self, key: UserKey) -> None:
        self.again.append(key)

    def user_gone(self, key: UserKey) -> None:
        self.gone.append(key)

    def mail_seen(self, mail: NewMail) -> bool:
        self.mails.append(mail)
        return self.has_room


class FakeListener:
    """Does as the test says, and notes what is asked of it."""

    def __init__(self, mechanism: "FakeMechanism", mailbox: Mailbox, on_health: HealthChanged, on_mail: MailArrived):
        self.mechanism = mechanism
        self.mailbox = mailbox
        self.on_mail = on_mail
        self._on_health = on_health
        self.health = Health(State.STOPPED, "Stopped", "")
        self.runs = False
        self.unregistered = 0
        self.logged_in_at = 0.0
        self.after: Listener | None = None

    async def start(self) -> None:
        self.runs = True
        if self.mechanism.at_start is not None:
            self.say(self.mechanism.at_start)

    async def stop(self) -> None:
        self.runs = False

    async def unregister(self) -> None:
        self.runs = False
        if self.mechanism.unregister_error is not None:
            raise self.mechanism.unregister_error
        self.unregistered += 1

    def say(self, health: Health) -> None:
        self.health = health
        self._on_health(self.mailbox.key, health)


LISTENING = Health(State.LISTENING, "Registered", "it calls")


class FakeMechanism:
    def __init__(self, name: str, at_start: Health | None = LISTENING) -> None:
        self.name = name
        self.at_start = at_start
        self.unregister_error: Exception | None = None
        self.listeners: list[FakeListener] = []

    def listener(
        self, mailbox: Mailbox, on_health: HealthChanged, on_mail: MailArrived, after: Listener | None = None
    ) -> FakeListener:
        self.listeners.append(FakeListener(self, mailbox, on_health, on_mail))
        self.listeners[-1].after = after
        return self.listeners[-1]

    @property
    def running(self) -> list[FakeListener]:
        return [listener for listener in self.listeners if listener.runs]


class FakeSite:
    """The two mechanisms, and the Site made with them."""

    def __init__(self, files: dict[str, str] = FILES) -> None:
        self.dovecot = FakeMechanism("dovecot")
        self.imapidle = FakeMechanism("imapidle", Health(State.LISTENING, "Idling", "it waits"))
        self.files = files

    def site(self, *, unregister: bool = False, **changes: Any) -> Site:
        """`changes` are of Settings."""
        changed = replace(settings(self.files), **changes)
        mechanisms = {"dovecot": self.dovecot, "imapidle": self.imapidle}
        return Site(changed, site_facts(changed), mechanisms, unregister, changed.leaves_registrations)

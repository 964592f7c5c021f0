"""One user: what is started, what is left alone, what is said."""

import base64
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from mailpush.api.mailpushconfig import Notification
from mailpush.imap.errors import ImapAuthError, ImapConnectionError
from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.kube.resources import SECRET
from mailpush.listener.mechanisms.base import Health, State
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.siblings import NoSiblings
from mailpush.listener.users.site import Site
from mailpush.listener.users.status import UserOutcome
from mailpush.listener.users.user import User
from mailpush.listener.users.user_listener import UserListener
from mailpush.notifications.notification import NewMail
from mailpush.properties.patterns import ClientPatterns
from tests.sites.fakekube import FakeKube
from tests.unit.listener.people import BY_SECRET, CLIENT, LISTENING, FakeOwner, FakeSite, user

MAIL = NewMail(1, 3, "INBOX", 1, 1)


OF_THREE = {"mailpush.dev/push-users": "main-1-3"}


class Scene:
    """One UserListener with everything around it."""

    def __init__(self, fake: FakeSite | None = None) -> None:
        self.fake = fake or FakeSite()
        self.kube = FakeKube()
        self.now = 0.0
        self.secrets = UserSecretReader(cast("Kube", self.kube), "ns", lambda: self.now)
        self.owner = FakeOwner()
        self.outcomes, self.again, self.mails = self.owner.outcomes, self.owner.again, self.owner.mails
        self.one = UserListener((1, 3), 7, self.owner, NoSiblings(), Credentials(self.secrets))

    async def reconcile(self, who: User | None = None, site: Site | None = None) -> float | None:
        return await self.one.reconcile(who or user(), site or self.fake.site())

    def secret(self, kind: str = "mailpush.dev/credentials", **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.kube.put(
            SECRET, {"metadata": {"name": "of-three", "annotations": OF_THREE}, "type": kind, "data": encoded}
        )

    def said(self) -> tuple[str, str, str | None]:
        last = self.outcomes[-1]
        return last.listening, last.reason, last.mechanism


async def test_the_first_mechanism_of_the_order_is_started_and_what_it_says_is_reported() -> None:
    scene = Scene()
    await scene.reconcile()
    assert scene.outcomes == [UserOutcome("True", "Registered", "it calls", "dovecot", 7, credentials=("master", 0))]
    assert scene.one.clients == (CLIENT,)
    login = scene.fake.dovecot.running[0].mailbox.login
    assert (login.user, login.password) == ("u3", "master-secret")


async def test_what_does_not_concern_the_user_restarts_nothing() -> None:
    scene = Scene()
    await scene.reconcile()
    await scene.reconcile(user(clients=[CLIENT, "another"], aliases=["a@example.org"]))
    await scene.reconcile(site=scene.fake.site(notification=Notification(content="full")))
    assert len(scene.fake.dovecot.listeners) == 1


@pytest.mark.parametrize("change", [{"login": "someone"}, {"login": "u3", "mail": "u3@example.org", "server": None}])
async def test_another_way_into_the_mailbox_starts_the_listener_anew(change: dict[str, Any]) -> None:
    scene = Scene()
    await scene.reconcile()
    await scene.reconcile(user(**change))
    changed = change["login"] != "u3"
    assert len(scene.fake.dovecot.listeners) == (2 if changed else 1)
    assert len(scene.fake.dovecot.running) == 1


async def test_a_listener_that_takes_anothers_place_knows_it_once_that_has_stopped() -> None:
    scene = Scene()
    await scene.reconcile()
    await scene.reconcile(user(login="someone"))
    first, second = scene.fake.dovecot.listeners
    assert first.after is None
    assert second.after is first
    assert not first.runs


async def test_a_denied_user_says_why_and_is_unregistered() -> None:
    scene = Scene()
    await scene.reconcile()
    await scene.reconcile(user(suspend=True))
    assert scene.said() == ("False", "Suspended", None)
    assert scene.one.clients == ()
    assert scene.one.denied == "Suspended"
    assert (scene.fake.dovecot.listeners[0].unregistered, scene.fake.dovecot.running) == (1, [])


async def test_a_mechanism_that_cannot_check_its_source_is_never_said_to_listen() -> None:
    scene = Scene()
    scene.fake.dovecot.at_start = Health(State.UNVERIFIED, "SourceUnverified", "nothing answers datagrams")
    await scene.reconcile()
    await scene.reconcile()
    assert scene.said() == ("Unknown", "SourceUnverified", "dovecot")
    assert (scene.one.listening, scene.one.denied) == (False, None)
    assert scene.one.clients == (CLIENT,), "a mail that does come is told"
    assert len(scene.fake.dovecot.listeners) == 1, "it has started, so no other gets its turn"


async def test_a_pod_that_may_take_no_listeners_starts_nobody() -> None:
    scene = Scene()
    await scene.reconcile(site=replace(scene.fake.site(), pod="mail-push-main-1", pod_allowed=False))
    assert scene.said() == ("False", "PodExcluded", None)
    assert scene.fake.dovecot.listeners == []


async def test_who_runs_in_a_pod_that_may_no_longer_goes_on_until_another_has_taken_over() -> None:
    scene = Scene()
    await scene.reconcile()
    await scene.reconcile(site=replace(scene.fake.site(), pod="mail-push-main-1", pod_allowed=False))
    assert scene.said() == ("True", "Registered", "dovecot")
    assert [one.unregistered for one in scene.fake.dovecot.running] == [0]


async def test_only_allowed_clients_are_told() -> None:
    scene = Scene()
    patterns = ClientPatterns.parse("open-*")
    await scene.reconcile(user(clients=[CLIENT, "another"]), scene.fake.site(allowed_clients=patterns))
    assert scene.one.clients == (CLIENT,)


async def test_a_mechanism_that_cannot_work_there_gives_its_turn_to_the_next() -> None:
    scene = Scene()
    scene.fake.dovecot.at_start = Health(State.FAILED, "NoMetadata", "no METADATA")
    await scene.reconcile()
    assert scene.again == [(1, 3)]
    await scene.reconcile()
    assert scene.said() == ("True", "Idling", "imapidle")
    assert scene.fake.dovecot.running == []
    await scene.reconcile()
    assert len(scene.fake.imapidle.listeners) == 1


async def test_where_no_mechanism_starts_the_last_one_goes_on_trying() -> None:
    scene = Scene()
    scene.fake.dovecot.at_start = Health(State.FAILED, "NoMetadata", "no METADATA")
    scene.fake.imapidle.at_start = Health(State.FAILED, "NoIdle", "no IDLE")
    await scene.reconcile()
    await scene.reconcile()
    await scene.reconcile()
    assert scene.said() == ("False", "NoIdle", "imapidle")
    assert len(scene.fake.imapidle.running) == 1


async def test_a_failure_that_passes_stays_with_its_mechanism() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.dovecot.running[0].say(Health(State.FAILED, "ServerUnreachable", "refused"))
    assert scene.said() == ("False", "ServerUnreachable", "dovecot")
    await scene.reconcile()
    assert len(scene.fake.dovecot.running) == 1
    assert scene.one.clients == (CLIENT,), "Dovecot may call although we do not reach it"


async def test_a_deleted_user_is_unregistered_once() -> None:
    scene = Scene()
    await scene.reconcile()
    leaving = user(metadata={"deletionTimestamp": "2026-11-24T00:00:00Z"})
    await scene.reconcile(leaving)
    await scene.reconcile(leaving)
    assert scene.said() == ("False", "Unregistered", None)
    assert scene.fake.dovecot.listeners[0].unregistered == 1


async def test_with_the_policy_leave_a_deleted_user_is_stopped_and_stays_registered() -> None:
    scene = Scene()
    await scene.reconcile()
    leaving = user(metadata={"deletionTimestamp": "2026-11-24T00:00:00Z"})
    stays = scene.fake.site(leaves_registrations=True)
    await scene.reconcile(leaving, stays)
    assert scene.said() == ("False", "RegistrationKept", None)
    assert (scene.fake.dovecot.running, scene.fake.dovecot.listeners[0].unregistered) == ([], 0)
    assert scene.one.clients == (), "Dovecot goes on calling, and nobody is told"
    # Who asks for all to be unregistered means these, too.
    await scene.reconcile(leaving, scene.fake.site(leaves_registrations=True, unregister=True))
    assert scene.said() == ("False", "Unregistered", None)


async def test_a_registration_of_another_pod_is_taken_away_too() -> None:
    scene = Scene()
    leaving = user(
        metadata={"deletionTimestamp": "2026-11-24T00:00:00Z", "finalizers": ["mailpush.dev/registration"]},
    )
    await scene.reconcile(leaving)
    assert scene.said() == ("False", "Unregistered", None)
    assert scene.fake.dovecot.listeners[0].unregistered == 1


async def test_a_user_who_was_never_registered_needs_no_mail_server_to_go() -> None:
    scene = Scene()
    await scene.reconcile(user(metadata={"deletionTimestamp": "2026-11-24T00:00:00Z"}))
    assert scene.said() == ("False", "Unregistered", None)
    assert scene.fake.dovecot.listeners == []


async def test_unregistering_is_tried_again_until_it_works() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.dovecot.unregister_error = ImapConnectionError("refused")
    leaving = user(metadata={"deletionTimestamp": "2026-11-24T00:00:00Z"})
    assert await scene.reconcile(leaving) is not None
    assert scene.said() == ("Unknown", "UnregisterFailed", "dovecot")
    scene.fake.dovecot.unregister_error = None
    assert await scene.reconcile(leaving) is None
    assert scene.said() == ("False", "Unregistered", None)


async def test_unregistering_takes_a_password_that_was_put_right_meanwhile() -> None:
    scene = Scene(FakeSite(BY_SECRET))
    scene.secret(password="old")
    of_three: dict[str, Any] = {"credentialsSecretRef": {"name": "of-three"}}
    await scene.reconcile(user(**of_three))
    scene.fake.dovecot.unregister_error = ImapAuthError("refused", "AUTHENTICATIONFAILED")
    leaving = user(**of_three, metadata={"deletionTimestamp": "2026-11-24T00:00:00Z"})
    assert await scene.reconcile(leaving) is not None
    scene.secret(password="new")
    scene.fake.dovecot.unregister_error = None
    assert await scene.reconcile(leaving) is None
    assert scene.said() == ("False", "Unregistered", None)
    by_password = {one.mailbox.login.password: one.unregistered for one in scene.fake.dovecot.listeners}
    assert by_password == {"old": 0, "new": 1}


async def test_an_installation_that_goes_unregisters_all_and_one_that_stays_after_all_registers_again() -> None:
    scene = Scene()
    await scene.reconcile()
    await scene.reconcile(site=scene.fake.site(unregister=True))
    assert scene.said() == ("False", "Unregistered", None)
    await scene.reconcile()
    assert scene.said() == ("True", "Registered", "dovecot")
    assert len(scene.fake.dovecot.running) == 1


async def test_nothing_is_said_or_told_after_the_stop() -> None:
    scene = Scene(FakeSite())
    await scene.reconcile()
    listener = scene.fake.dovecot.running[0]
    listener.on_mail(MAIL)
    assert scene.mails == [MAIL]
    said = len(scene.outcomes)
    await scene.one.stop()
    listener.on_mail(MAIL)
    listener.say(Health(State.FAILED, "ServerUnreachable", ""))
    assert (scene.mails, len(scene.outcomes), listener.runs, listener.unregistered) == ([MAIL], said, False, 0)


async def test_the_users_own_secret_gives_login_and_password() -> None:
    scene = Scene(FakeSite(BY_SECRET))
    scene.secret(login="three", password="one\n")
    again = await scene.reconcile(user(credentialsSecretRef={"name": "of-three"}))
    login = scene.fake.dovecot.running[0].mailbox.login
    assert (login.user, login.password) == ("three", "one")
    assert again is not None
    scene.now += 1000
    scene.secret(login="three", password="two")
    await scene.reconcile(user(credentialsSecretRef={"name": "of-three"}))
    assert [one.mailbox.login.password for one in scene.fake.dovecot.running] == ["two"]


async def test_a_refused_password_is_read_again_at_once() -> None:
    scene = Scene(FakeSite(BY_SECRET))
    scene.fake.dovecot.at_start = Health(State.FAILED, "AuthenticationFailed", "refused")
    scene.secret(password="wrong")
    who = user(credentialsSecretRef={"name": "of-three"})
    await scene.reconcile(who)
    assert scene.again == [(1, 3)]
    scene.fake.dovecot.at_start = Health(State.LISTENING, "Registered", "")
    scene.secret(password="right")
    await scene.reconcile(who)
    assert scene.said() == ("True", "Registered", "dovecot")


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("Opaque", {"password": "x"}, "SecretNotPermitted"),
        ("mailpush.dev/credentials", {}, "PasswordMissing"),
        (None, {}, "PasswordMissing"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_looked_at_again(
    kind: str | None, data: dict[str, str], reason: str
) -> None:
    scene = Scene(FakeSite(BY_SECRET))
    if kind is not None:
        scene.secret(kind, **data)
    who = user(credentialsSecretRef={"name": "of-three"})
    assert await scene.reconcile(who) is not None
    assert scene.said() == ("False", reason, None)
    scene.secret(password="there now")
    await scene.reconcile(who)
    assert scene.said() == ("True", "Registered", "dovecot")


async def test_a_secret_that_cannot_be_read_now_stops_nothing() -> None:
    scene = Scene(FakeSite(BY_SECRET))
    scene.secret(password="one")
    who = user(credentialsSecretRef={"name": "of-three"})
    await scene.reconcile(who)
    scene.now += 1000
    scene.kube.fail = UnreachableError("down")
    assert await scene.reconcile(who) is not None
    assert len(scene.fake.dovecot.running) == 1
    assert scene.said() == ("True", "Registered", "dovecot")


def failed(seconds: float) -> Health:
    return Health(State.FAILED, "ServerUnreachable", "refused", time.monotonic() + seconds)


async def test_a_failure_says_when_the_next_attempt_comes_in_steps_that_never_get_shorter() -> None:
    scene = Scene()
    await scene.reconcile()
    listener = scene.fake.dovecot.running[0]
    for seconds in (5.0, 40.0, 100.0, 50.0, 110.0, 590.0, 3000.0, 301.0):
        listener.say(failed(seconds))
    messages = [outcome.message for outcome in scene.outcomes[1:]]
    assert list(dict.fromkeys(messages)) == [
        "refused; the next attempt comes within a minute",
        "refused; the next attempt comes within 10 minutes",
        "refused; the next attempt comes within an hour",
    ]
    assert messages == sorted(messages, key=list(dict.fromkeys(messages)).index), "no way back"
    listener.say(LISTENING)
    listener.say(failed(5.0))
    assert scene.outcomes[-1].message == "refused; the next attempt comes within a minute"

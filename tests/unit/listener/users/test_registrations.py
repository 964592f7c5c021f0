"""A user's registrations: noted before they are made, taken away when they are not the user's any more, told apart."""

import itertools
import json
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailpush.api.pushuser import Registration
from mailpush.decision.places import Place, may_be_same
from mailpush.imap.errors import ImapAuthError, ImapConnectionError
from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.listener.mechanisms.base import Health, State
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.registration_book import Changes, NoBook
from mailpush.listener.users.registrations import Registrations
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.siblings import NoSiblings
from mailpush.listener.users.user import User
from mailpush.listener.users.user_listener import UserListener
from mailpush.notifications.callback import BY_LOGIN, parse_callback
from mailpush.notifications.notification import NewMail
from tests.sites.fakekube import FakeKube
from tests.unit.listener.people import FILES, FakeOwner, FakeSite, settings, user

TWO_SERVERS = {
    **FILES,
    "mail-push-listener.properties": """
mailpush.packages=open-xchange-push-dovecot, open-xchange-push-imapidle
mailpush.mail.servers=default, old
mailpush.mail.server.default.host=imap.example
mailpush.mail.server.old.host=old.example
""",
}


class Book(NoBook):
    """As the API server keeps it; `log` is shared with who does something at the mail server."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.kept: dict[str, Registration] = {}
        self.fail: UnreachableError | None = None
        self._log = log

    async def write(self, _user: User, changes: Changes) -> None:
        if self.fail is not None:
            raise self.fail
        for key, one in changes.items():
            self._log.append(f"noted {one.login}" if one else f"forgot {self.kept[key].login}")
            if one is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = one

    @property
    def logins(self) -> set[str]:
        return {one.login for one in self.kept.values()}


class Scene:
    """One user in one pod; `restart` gives the user to another one."""

    def __init__(self, files: dict[str, str] = TWO_SERVERS) -> None:
        self.log: list[str] = []
        self.book = Book(self.log)
        self.fake = FakeSite(files)
        self.owner = FakeOwner()
        self.secrets = UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: 0.0)
        self._another()

    async def restart(self) -> None:
        await self.one.stop()
        self._another()

    def _another(self) -> None:
        self.one = UserListener((1, 3), 7, self.owner, NoSiblings(), Credentials(self.secrets), book=self.book)

    def user(self, login: str = "u3", **changes: Any) -> User:
        kept = {key: one.manifest() for key, one in self.book.kept.items()}
        generation = changes.pop("generation", 1)
        return user(login=login, status={"registrations": kept}, metadata={"generation": generation}, **changes)

    async def reconcile(self, login: str = "u3", **changes: Any) -> float | None:
        return await self.one.reconcile(self.user(login, **changes), self.fake.site())

    def unregistered(self) -> list[tuple[str, str]]:
        """Server and login of each mailbox that was let go."""
        mailboxes = [one.mailbox for one in self.fake.dovecot.listeners for _ in range(one.unregistered)]
        return [(mailbox.server.host, mailbox.login.user) for mailbox in mailboxes]

    def runs_at(self) -> tuple[str, str, bool]:
        """Server, login, and whether it is registered with a mark."""
        (one,) = self.fake.dovecot.running
        return one.mailbox.server.host, one.mailbox.login.user, bool(one.mailbox.mark)

    def owns(self, mark: str = "") -> bool:
        return self.one.refuses(NewMail(1, 3, "INBOX", 1, 1, mark=mark)) is None


@pytest.mark.parametrize("change", [{"login": "other"}, {"login": "other", "server": "old"}, {"server": "old"}])
async def test_a_mailbox_that_changes_is_let_go_before_the_new_one_is_registered(change: dict[str, Any]) -> None:
    scene = Scene()
    await scene.reconcile()
    await scene.reconcile(**change, generation=2)
    assert scene.unregistered() == [("imap.example", "u3")]
    server = {"old": "old.example"}.get(change.get("server", ""), "imap.example")
    assert scene.runs_at() == (server, change.get("login", "u3"), False)
    assert scene.log[:2] == ["noted u3", "forgot u3"]
    assert scene.book.logins == {change.get("login", "u3")}


async def test_nothing_is_registered_that_is_not_noted() -> None:
    scene = Scene()
    scene.book.fail = UnreachableError("no API")
    assert await scene.reconcile() is not None
    assert (scene.fake.dovecot.listeners, scene.owner.outcomes[-1].reason) == ([], "RegistrationNotNoted")
    scene.book.fail = None
    await scene.reconcile()
    assert (scene.runs_at(), scene.book.logins) == (("imap.example", "u3", False), {"u3"})


async def test_who_is_noted_already_needs_no_api_server() -> None:
    scene = Scene()
    await scene.reconcile()
    await scene.restart()
    scene.book.fail = UnreachableError("no API")
    await scene.reconcile()
    assert scene.owner.outcomes[-1].reason == "Registered"


async def test_what_cannot_be_let_go_is_told_apart_remembered_and_let_go_by_a_later_owner() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.dovecot.unregister_error = ImapConnectionError("refused")
    again = await scene.reconcile("other", generation=2)
    assert again is not None
    assert scene.book.logins == {"u3", "other"}
    assert scene.runs_at() == ("imap.example", "other", True)
    mark = scene.fake.dovecot.running[0].mailbox.mark
    assert (scene.owns(), scene.owns(mark), scene.owns(BY_LOGIN)) == (False, True, True)
    left = scene.owner.outcomes[-1].left
    assert left is not None
    assert left[0] == "ServerUnreachable"
    await scene.restart()
    await scene.reconcile("other", generation=2)
    assert (scene.owns(), scene.owns(mark), scene.runs_at()[2]) == (False, True, True)
    await scene.restart()
    scene.fake.dovecot.unregister_error = None
    assert await scene.reconcile("other", generation=2) == 0.0
    assert scene.unregistered() == [("imap.example", "u3")]
    await scene.reconcile("other", generation=2)
    assert (scene.book.logins, scene.runs_at()) == ({"other"}, ("imap.example", "other", False))
    assert (scene.owns(), scene.owns(mark), scene.owner.outcomes[-1].left) == (True, True, None)


async def test_what_is_left_is_tried_at_most_some_times_an_hour_however_often_the_user_is_looked_at() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.dovecot.unregister_error = ImapConnectionError("refused")
    await scene.reconcile("other", generation=2)
    made = len(scene.fake.dovecot.listeners)
    for _ in range(50):
        assert await scene.reconcile("other", generation=2) is not None
    assert len(scene.fake.dovecot.listeners) - made == 0


async def test_a_server_that_is_not_configured_any_more_is_not_asked_and_its_name_is_said() -> None:
    scene = Scene()
    await scene.reconcile(server="old")
    scene.fake.files = FILES
    await scene.restart()
    await scene.reconcile("other", generation=2)
    assert scene.unregistered() == []
    left = scene.owner.outcomes[-1].left
    assert left is not None
    assert left[0] == "ServerUnknown"
    assert '"old"' in left[1]


async def test_a_server_that_only_has_another_name_is_no_other_mailbox() -> None:
    scene = Scene()
    await scene.reconcile(server="old")
    scene.fake.files = {
        name: text.replace("servers=default, old", "servers=default, new").replace(".old.", ".new.")
        for name, text in TWO_SERVERS.items()
    }
    await scene.reconcile(server="new", generation=2)
    assert (scene.unregistered(), scene.runs_at()) == ([], ("old.example", "u3", False))
    assert [(one.server, one.login) for one in scene.book.kept.values()] == [("new", "u3")]


async def test_the_password_of_a_status_is_never_sent_where_the_settings_do_not_say() -> None:
    scene = Scene()
    scene.book.kept["x"] = Registration(server="elsewhere", address="evil.example:993", login="u3", value="3@1")
    await scene.reconcile()
    assert {one.mailbox.server.host for one in scene.fake.dovecot.listeners} == {"imap.example"}


async def test_a_mailbox_under_another_spelling_is_registered_before_the_former_one_is_looked_at() -> None:
    scene = Scene()
    await scene.reconcile("Alice")
    await scene.reconcile("alice", generation=2)
    assert (scene.unregistered(), scene.runs_at()) == ([], ("imap.example", "alice", True))
    assert scene.owner.again, "it is looked at again now that the new one is registered"
    assert (scene.owns(), scene.owns(scene.fake.dovecot.running[0].mailbox.mark)) == (True, True)
    await scene.reconcile("alice", generation=2)
    assert scene.unregistered() == [("imap.example", "Alice")]
    await scene.reconcile("alice", generation=2)
    assert (scene.book.logins, scene.runs_at()[2]) == ({"alice"}, False)


async def test_a_login_that_goes_back_to_one_that_is_still_left_needs_nothing_new() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.dovecot.unregister_error = ImapConnectionError("refused")
    await scene.reconcile("other", generation=2)
    await scene.reconcile("u3", generation=3)
    assert scene.runs_at() == ("imap.example", "u3", False)
    marks = {one.value.partition("#")[2] for one in scene.book.kept.values()}
    assert [scene.owns(mark) for mark in sorted(marks)] == [True, False]


async def test_a_refused_user_is_unregistered_by_whoever_has_the_user_next() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.dovecot.unregister_error = ImapAuthError("refused", "AUTHENTICATIONFAILED")
    assert await scene.reconcile(suspend=True, generation=2) is not None
    scene.fake.dovecot.unregister_error = None
    await scene.restart()
    assert await scene.reconcile(suspend=True, generation=2) is None
    assert (scene.unregistered(), scene.book.kept) == ([("imap.example", "u3")], {})


async def test_a_deleted_user_is_let_go_everywhere() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.dovecot.unregister_error = ImapConnectionError("refused")
    await scene.reconcile("other", generation=2)
    await scene.restart()
    scene.fake.dovecot.unregister_error = None
    gone = {"deletionTimestamp": "2026-11-24T00:00:00Z"}
    kept = {key: one.manifest() for key, one in scene.book.kept.items()}
    leaving = user(login="other", status={"registrations": kept}, metadata=gone)
    await scene.one.reconcile(leaving, scene.fake.site())
    assert sorted(login for _, login in scene.unregistered()) == ["other", "u3"]
    assert (scene.book.kept, scene.owner.outcomes[-1].reason) == ({}, "Unregistered")


async def test_a_server_that_can_have_no_registration_leaves_none_behind() -> None:
    scene = Scene()
    scene.fake.dovecot.at_start = Health(State.FAILED, "NoMetadata", "no METADATA")
    await scene.reconcile()
    await scene.reconcile()
    assert (scene.owner.outcomes[-1].mechanism, scene.book.kept) == ("imapidle", {})


async def test_a_mechanism_that_needs_no_registration_lets_the_one_that_stands_there_go() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.files = {
        **TWO_SERVERS,
        "mail-push-listener.properties": TWO_SERVERS["mail-push-listener.properties"].replace(
            "open-xchange-push-dovecot, ", ""
        ),
    }
    await scene.reconcile()
    assert scene.owner.outcomes[-1].mechanism == "imapidle"
    await scene.reconcile()
    assert (scene.unregistered(), scene.book.kept) == ([("imap.example", "u3")], {})


async def test_a_registration_that_nobody_knows_is_asked_after_for_a_while_and_then_told_to_nobody() -> None:
    now = itertools.count(0, 20)
    registrations = Registrations((1, 3), NoBook(), clock=lambda: float(next(now)))
    assert [registrations.are_own("abc") for _ in range(3)] == [None, False, False]
    assert registrations.are_own("") is True


@pytest.mark.parametrize(
    ("user", "mark"),
    [("3@1", ""), ("3@1#0123456789abcdef", "0123456789abcdef"), ("anton", BY_LOGIN), ("3@1#", None), ("3@1#X", None)],
)
def test_a_callback_says_by_which_registration_it_comes(user: str, mark: str | None) -> None:
    body = {"user": user, "event": "messageNew", "folder": "INBOX", "imap-uidvalidity": 1, "imap-uid": 1}
    mail = parse_callback(json.dumps(body).encode(), 0.0, lambda login: (1, 3) if login == "anton" else None)
    assert (mail.mark if isinstance(mail, NewMail) else None) == mark


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("alice", "Alice", True),
        ("alice", "alice@example.org", True),
        ("alice*master", "alice", True),
        ("ALICE@EXAMPLE.ORG", "alice@example.org", True),
        ("alice@example.org", "alice@example.com", False),
        ("alice", "bob", False),
        ("alice", "alice2", False),
    ],
)
def test_which_logins_may_be_one_mailbox(one: str, other: str, same: bool) -> None:
    site = settings(TWO_SERVERS)
    first, second = (Place("default", "imap.example:993", login) for login in (one, other))
    assert may_be_same(first, second, site) is may_be_same(second, first, site) is same
    assert not may_be_same(replace(first, server="old", address="old.example:993"), second, site)


@hypothesis_settings(max_examples=30)
@given(st.lists(st.sampled_from(["u3", "other", "third", "U3", "u3@example.org"]), min_size=1, max_size=6), st.data())
async def test_however_the_login_changes_nothing_is_registered_that_is_not_noted_and_no_two_by_one_value(
    logins: list[str], data: st.DataObject
) -> None:
    scene = Scene()
    for generation, login in enumerate(logins, 1):
        works = data.draw(st.booleans())
        scene.fake.dovecot.unregister_error = None if works else ImapConnectionError("refused")
        for _ in range(data.draw(st.integers(1, 3))):
            await scene.reconcile(login, generation=generation)
        if data.draw(st.booleans()):
            await scene.restart()
            await scene.reconcile(login, generation=generation)
        (running,) = scene.fake.dovecot.running[-1:]
        assert login in scene.book.logins
        assert running.mailbox.login.user == login
        values = [one.value for one in scene.book.kept.values()]
        assert len(values) == len(set(values)), "mails of two mailboxes can be told apart"
        assert scene.owns(running.mailbox.mark), "no mail of the user's own is lost"
    await scene.restart()
    scene.fake.dovecot.unregister_error = None
    for _ in range(4):
        await scene.reconcile(logins[-1], generation=len(logins))
    assert scene.book.logins == {logins[-1]}
    assert not scene.fake.dovecot.running[-1].mailbox.mark

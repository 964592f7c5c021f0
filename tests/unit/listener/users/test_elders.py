"""Two PushUsers of one mailbox in one pod, and the wish to look at the mail server again."""

from dataclasses import replace
from typing import Any

import pytest

from mailpush.listener.users.elders import elder_of
from mailpush.listener.users.user import User
from mailpush.listener.users.watch import Users
from mailpush.sharding.slots import slot_of
from tests.unit.listener.people import BY_SECRET, CLIENT, FILES, push_user, settings, user
from tests.unit.listener.users.test_registrations import Scene as OneUser
from tests.unit.listener.users.test_supervisor import Scene


def made(number: int, created: str, *, login: str = "anton", **changes: Any) -> dict[str, Any]:
    return push_user(number, login=login, metadata={"creationTimestamp": created}, **changes)


OLD, YOUNG = made(3, "2026-01-01T00:00:00Z"), made(4, "2026-01-02T00:00:00Z")


async def test_of_two_with_one_login_the_older_is_registered_and_the_other_when_it_goes() -> None:
    scene = Scene()
    scene.supervisor.start_slots([slot_of(1, 3), slot_of(1, 4)], 1)
    scene.users.observe("ADDED", YOUNG)
    scene.users.observe("ADDED", OLD)
    await scene.supervisor.idle()
    assert scene.statuses.last[1, 4].reason == "DuplicateLogin"
    assert "main-1-3" in scene.statuses.last[1, 4].message
    assert [one.mailbox.user_id for one in scene.fake.dovecot.running] == [3]
    scene.users.observe("DELETED", OLD)
    await scene.supervisor.idle()
    assert [one.mailbox.user_id for one in scene.fake.dovecot.running] == [4]


@pytest.mark.parametrize(
    ("other", "elder"),
    [
        (made(3, "2026-01-01T00:00:00Z"), "main-1-3"),
        (made(3, "2026-01-01T00:00:00Z", login="ANTON"), "main-1-3"),
        (made(3, "2026-01-02T00:00:00Z"), "main-1-3"),
        (made(3, "2026-01-03T00:00:00Z"), None),
        (made(3, "2026-01-01T00:00:00Z", login="berta"), None),
        (made(3, "2026-01-01T00:00:00Z", suspend=True), None),
        (made(3, "2026-01-01T00:00:00Z", clients=[]), None),
        (
            made(
                3,
                "2026-01-01T00:00:00Z",
                suspend=True,
                status={"registrations": {"x": {"server": "default", "login": "anton", "value": "3@1"}}},
            ),
            "main-1-3",
        ),
    ],
)
def test_who_is_in_the_way(other: dict[str, Any], elder: str | None) -> None:
    assert elder_of(User.of(YOUNG), [User.of(other)], settings()) == elder
    users = Users("main")
    for body in (YOUNG, other):
        users.observe("ADDED", body)
    assert users.elder_of(User.of(YOUNG), settings()) == elder


@pytest.mark.parametrize(
    ("properties", "mine", "other"),
    [
        ("mailpush.mail.loginSource=mailLocalPart", {"mail": "anna@one.example"}, {"mail": "Anna@two.example"}),
        ("com.openexchange.mail.loginSource=name", {"login": "anna"}, {"login": "anna", "mail": "b@two.example"}),
        ("", {"login": "a@Müller.de"}, {"login": "a@xn--mller-kva.de"}),
        ("com.openexchange.mail.loginSource=mail", {"mail": "a@xn--mller-kva.de"}, {"mail": "a@müller.de"}),
    ],
)
def test_one_mailbox_is_known_by_any_login_source(properties: str, mine: dict[str, str], other: dict[str, str]) -> None:
    users = Users("main")
    users.observe("ADDED", made(3, "2026-01-01T00:00:00Z", **{"login": "other", **other}))
    users.observe("ADDED", young := made(4, "2026-01-02T00:00:00Z", **{"login": "mine", **mine}))
    running = settings({**FILES, "z.properties": properties})
    assert users.elder_of(User.of(young), running) == "main-1-3"


def test_a_login_that_may_stand_in_a_secret_is_the_operators_to_compare() -> None:
    reference: dict[str, Any] = {"credentialsSecretRef": {"name": "of-three"}}
    young, old = (made(number, f"2026-01-0{5 - number}T00:00:00Z", **reference) for number in (3, 4))
    assert elder_of(User.of(young), [User.of(old)], settings(BY_SECRET)) is None


async def test_what_the_operator_says_of_other_installations_counts() -> None:
    scene = Scene()
    scene.supervisor.start_slots([slot_of(1, 3)], 1)
    scene.there(3, status={"duplicateOf": "elsewhere/other-1-9"})
    await scene.supervisor.idle()
    assert scene.statuses.last[1, 3].reason == "DuplicateLogin"
    assert "elsewhere/other-1-9" in scene.statuses.last[1, 3].message
    scene.there(3)
    await scene.supervisor.idle()
    assert scene.statuses.last[1, 3].reason == "Registered"


async def test_who_turns_out_to_be_the_younger_takes_the_own_entry_away() -> None:
    scene = OneUser()
    await scene.reconcile()
    await scene.one.reconcile(scene.user(), scene.fake.site(), "ns/main-1-1")
    assert (scene.unregistered(), scene.book.kept) == ([("imap.example", "u3")], {})
    assert scene.owner.outcomes[-1].reason == "DuplicateLogin"


async def test_another_word_in_the_annotation_has_the_mail_server_looked_at_once() -> None:
    scene = OneUser()
    for resync, times in ((None, 1), (None, 1), ("a", 2), ("a", 2), ("b", 3)):
        who = replace(user(clients=[CLIENT]), resync=resync)
        await scene.one.reconcile(who, scene.fake.site())
        assert len(scene.fake.dovecot.listeners) == times
        assert len(scene.fake.dovecot.running) == 1


def test_a_login_of_two_is_the_one_who_is_registered() -> None:
    users = Users("main")
    users.observe("ADDED", OLD)
    users.observe("ADDED", YOUNG)
    assert users.by_login("anton", "login") is None
    users.observe("MODIFIED", {**YOUNG, "status": {"duplicateOf": "ns/main-1-3"}})
    assert users.by_login("Anton", "login") == (1, 3)

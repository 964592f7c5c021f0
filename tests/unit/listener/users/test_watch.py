"""What a pod knows of the push users."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.listener.users.user import User, UserKey
from mailpush.listener.users.watch import Users
from mailpush.sharding.slots import slot_of
from tests.unit.listener.people import push_user


class Scene:
    def __init__(self) -> None:
        self.changed: list[UserKey] = []
        self.users = Users("main")
        self.users.notify(self)

    def user_changed(self, key: UserKey) -> None:
        self.changed.append(key)


def test_users_are_found_by_key_and_by_the_slot_that_is_computed_from_it() -> None:
    scene = Scene()
    wrong_label = {"labels": {"mailpush.dev/slot": "1"}}
    scene.users.observe("ADDED", push_user(3, metadata=wrong_label))
    found = scene.users.get((1, 3))
    assert found is not None
    assert found.slot == 13507 == slot_of(1, 3)
    assert list(scene.users.in_slot(13507)) == [(1, 3)]
    assert scene.changed == [(1, 3)]


@pytest.mark.parametrize("change", ["DELETED", "ABSENT"])
def test_a_user_who_is_gone_is_forgotten(change: Any) -> None:
    scene = Scene()
    scene.users.observe("ADDED", push_user(3))
    scene.users.observe(change, push_user(3))
    assert scene.users.get((1, 3)) is None
    assert not scene.users.in_slot(slot_of(1, 3))
    assert len(scene.changed) == 2


def test_the_end_of_a_former_object_does_not_take_the_new_one_away() -> None:
    scene = Scene()
    scene.users.observe("ADDED", push_user(3, metadata={"uid": "new"}))
    scene.users.observe("DELETED", push_user(3, metadata={"uid": "old"}))
    assert scene.users.get((1, 3)) is not None


@pytest.mark.parametrize("name", ["main-1-3", "other-1-3", "main-1-x", "main", ""])
def test_who_is_absent_is_known_by_the_name_alone(name: str) -> None:
    scene = Scene()
    scene.users.observe("ADDED", push_user(3))
    scene.users.observe("ABSENT", {"metadata": {"name": name, "namespace": "mail"}})
    assert (scene.users.get((1, 3)) is None) is (name == "main-1-3")


def test_users_of_another_config_are_passed_over() -> None:
    scene = Scene()
    scene.users.observe("ADDED", push_user(3, config="other"))
    assert (len(scene.users), scene.changed) == (0, [])


def test_an_object_that_cannot_be_read_is_passed_over() -> None:
    scene = Scene()
    scene.users.observe("ADDED", push_user(3, userId="three"))
    assert (len(scene.users), scene.changed) == (0, [])


def test_what_a_later_version_adds_to_the_status_is_no_reason_to_lose_the_user() -> None:
    one = User.of(push_user(3, status={"pod": "mail-push-main-0", "somethingNew": {"a": 1}}))
    assert one.status.pod == "mail-push-main-0"


def test_a_user_to_be_unregistered_is_seen_by_its_deletion_timestamp() -> None:
    leaving = User.of(push_user(3, metadata={"deletionTimestamp": "x", "finalizers": ["mailpush.dev/registration"]}))
    assert (leaving.deleting, leaving.finalizer) == (True, True)


LOGINS = st.sampled_from(["anna", "Anna", "ANNA@example.org", "anna@Example.org", "Straße", "STRASSE", None])
STEPS = st.lists(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED", "ABSENT"]), st.integers(1, 4), LOGINS, LOGINS),
    max_size=30,
)


@given(steps=STEPS, asked_before=st.integers(0, 30), source=st.sampled_from(["login", "mail"]))
def test_the_one_user_with_a_login_is_found_by_it_whatever_came_before(
    steps: list[tuple[Any, int, str | None, str | None]], asked_before: int, source: str
) -> None:
    users = Users("main")
    there: dict[UserKey, str | None] = {}
    for number, (change, user_id, login, mail) in enumerate(steps):
        if number == asked_before:
            users.by_login("anna", source)
        names: dict[str, Any] = {"login": login, "mail": mail}
        users.observe(change, push_user(user_id, **names))
        if change in {"ADDED", "MODIFIED"}:
            there[1, user_id] = login if source == "login" else mail
        else:
            there.pop((1, user_id), None)
    for wanted in ("anna", "anna@example.org", "strasse", "nobody"):
        having = [key for key, login in there.items() if login is not None and login.casefold() == wanted]
        assert users.by_login(wanted.upper(), source) == (having[0] if len(having) == 1 else None)


def test_another_login_source_gives_other_logins() -> None:
    users = Users("main")
    users.observe("ADDED", push_user(3, login="anna", mail="berta@example.org"))
    assert [users.by_login("anna", source) for source in ("login", "mail", "login")] == [(1, 3), None, (1, 3)]
    assert [users.by_login("Berta", source) for source in ("name", "mailLocalPart")] == [None, (1, 3)]


def test_a_login_is_found_by_either_form_of_its_domain() -> None:
    users = Users("main")
    users.observe("ADDED", push_user(3, login="anna@Müller.de"))
    assert users.by_login("ANNA@xn--mller-kva.de", "login") == users.by_login("anna@MÜLLER.de", "login") == (1, 3)

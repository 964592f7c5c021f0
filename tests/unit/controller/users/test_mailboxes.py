"""Which of several PushUsers has a mailbox."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.controller.users.mailboxes import Claim, Mailbox, Mailboxes
from mailpush.controller.users.record import UserName

HERE: Mailbox = ("imap.example:993", "anton")
THERE: Mailbox = ("imap.example:993", "berta")


def name(number: int, namespace: str = "mail") -> UserName:
    return UserName(namespace, f"main-1-{number}")


def claim(number: int, created: str, namespace: str = "mail", user: int | None = None) -> Claim:
    return Claim(created, name(number, namespace), (1, user or number))


def known(*claims: tuple[Claim, Mailbox | None]) -> Mailboxes:
    mailboxes = Mailboxes()
    for one, mailbox in claims:
        mailboxes.claim(one, mailbox)
    return mailboxes


@pytest.mark.parametrize(
    ("older", "younger"),
    [
        (claim(9, "2026-01-01"), claim(3, "2026-01-02")),
        (claim(3, "2026-01-01"), claim(9, "2026-01-01")),
        (claim(3, "2026-01-01", "a"), claim(3, "2026-01-01", "b", user=4)),
    ],
)
def test_the_older_has_it_then_the_first_by_name_whoever_is_looked_at_first(older: Claim, younger: Claim) -> None:
    for order in ((older, younger), (younger, older)):
        mailboxes = known(*((one, HERE) for one in order))
        assert (mailboxes.elder(older.name), mailboxes.elder(younger.name)) == (None, older.name)


def test_two_push_users_of_one_user_are_not_in_each_others_way() -> None:
    mailboxes = known((claim(3, "2026-01-01", "a"), HERE), (claim(3, "2026-01-02", "b"), HERE))
    assert mailboxes.elder(name(3, "b")) is None


def test_who_goes_or_changes_has_the_others_looked_at() -> None:
    mailboxes = known((claim(3, "1"), HERE), (claim(4, "2"), HERE), (claim(5, "3"), THERE))
    assert mailboxes.claim(claim(3, "1"), HERE) == set()
    assert mailboxes.claim(claim(3, "1"), THERE) == {name(4), name(5)}
    assert (mailboxes.elder(name(4)), mailboxes.elder(name(5))) == (None, name(3))
    assert mailboxes.gone(name(3)) == {name(5)}
    assert mailboxes.claim(claim(5, "3"), None) == set()
    assert mailboxes.knows(name(5))
    assert not mailboxes.knows(name(3))


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([HERE, THERE, None]), st.booleans()), max_size=30))
def test_each_mailbox_has_one_user_without_an_elder_and_who_is_told_is_enough(
    steps: Iterable[tuple[int, Mailbox | None, bool]],
) -> None:
    mailboxes = Mailboxes()
    of: dict[int, Mailbox] = {}
    elders: dict[int, UserName | None] = {}
    for number, mailbox, gone in steps:
        touched = mailboxes.gone(name(number)) if gone else mailboxes.claim(claim(number, str(9 - number)), mailbox)
        if gone or mailbox is None:
            of.pop(number, None)
        else:
            of[number] = mailbox
        elders = {
            one: mailboxes.elder(name(one)) if one == number or name(one) in touched else elders.get(one) for one in of
        }
        assert elders == {one: mailboxes.elder(name(one)) for one in of}
        for place in set(of.values()):
            members = [one for one in of if of[one] == place]
            assert [one for one in members if elders[one] is None] == [max(members)]

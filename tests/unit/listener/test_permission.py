"""When a process may send and write."""

import pytest

from mailpush.listener.permission import Permission
from mailpush.sharding.rights import Right


@pytest.mark.parametrize(
    ("now", "by_claims", "may"),
    [(5.0, False, (True, True)), (5.0, True, (True, True)), (11.0, False, (False, False)), (11.0, True, (True, False))],
)
def test_without_the_right_only_a_claim_that_all_pods_see_lets_a_notification_out(
    now: float, by_claims: bool, may: tuple[bool, bool]
) -> None:
    right = Right(lasts=10.0)
    right.renewed(0.0)
    permission = Permission(right, claim_only=by_claims, clock=lambda: now)
    assert (permission.may_send(), permission.may_write()) == may


def test_who_has_given_up_may_nothing_whatever_the_right_and_the_claims() -> None:
    right = Right(lasts=10.0)
    right.renewed(0.0)
    permission = Permission(right, claim_only=True, clock=lambda: 5.0)
    permission.end()
    assert not permission.may_send()
    assert not permission.may_write()
    assert permission.remaining() == 5.0

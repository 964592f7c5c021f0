"""How a pod does with each mail server."""

from hypothesis import given
from hypothesis import strategies as st

from mailpush.listener.users.servers import LONGEST_TEXT, ServerUser, server_reports
from mailpush.sharding.leases import ServerReport

AWAY = ("ServerUnreachable", "no connection to mail:994: Connection refused")
WRONG = ("AuthenticationFailed", "no")


def test_the_commonest_reason_of_each_server_is_told_with_its_share() -> None:
    users = [ServerUser("a", AWAY)] * 3 + [ServerUser("a", WRONG), ServerUser("a", None), ServerUser("b", None)]
    assert server_reports(users) == {"a": ServerReport(5, 4, *AWAY[:1], 3, AWAY[1]), "b": ServerReport(1)}


def test_a_text_that_is_about_one_of_many_is_left_out() -> None:
    users = [ServerUser("a", ("AuthenticationFailed", f"user {number} is unknown")) for number in range(5)]
    assert server_reports(users) == {"a": ServerReport(5, 5, "AuthenticationFailed", 5, "")}


FAILURES = st.none() | st.tuples(st.sampled_from("AB"), st.text(max_size=2 * LONGEST_TEXT))


@given(st.lists(st.builds(ServerUser, st.sampled_from("ab"), FAILURES)))
def test_no_user_is_counted_twice_or_left_out(users: list[ServerUser]) -> None:
    reports = server_reports(users)
    assert sum(one.users for one in reports.values()) == len(users)
    assert sum(one.failed for one in reports.values()) == sum(user.failure is not None for user in users)
    for one in reports.values():
        assert one.alike <= one.failed <= one.users
        assert bool(one.reason) == bool(one.failed)
        assert len(one.text) <= LONGEST_TEXT

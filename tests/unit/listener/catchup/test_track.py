"""What is known of a folder from callbacks that come in any order, and what a look has still to find."""

from hypothesis import given
from hypothesis import strategies as st

from mailpush.listener.catchup.store import Checkpoint
from mailpush.listener.catchup.track import MOST_AHEAD, Track


def looked(next: int) -> Track:
    track = Track(0, 1)
    track.seen(next, ())
    return track


def test_a_gap_is_closed_by_the_mail_that_comes_late() -> None:
    track = looked(5)
    track.came(6, 1.0)
    assert track.incomplete
    track.came(5, 2.0)
    assert (track.next, track.incomplete, track.came_at) == (7, False, 2.0)


def test_callbacks_alone_do_not_say_what_came_before() -> None:
    track = Track(0, 1)
    track.came(7, 1.0)
    assert track.incomplete
    assert not track.due(1e9, 1.0), "nothing is written, or the next owner would begin behind what is missing"
    assert track.missing(Checkpoint(1, 5), 9) == [5, 6, 8]
    track.seen(9, ())
    assert track.checkpoint == Checkpoint(1, 9)


def test_without_a_checkpoint_or_with_another_uidvalidity_nothing_is_missing() -> None:
    assert Track(0, 2).missing(None, 9) is None
    assert Track(0, 2).missing(Checkpoint(1, 5), 9) is None


def test_what_the_server_has_not_given_is_looked_for_again() -> None:
    track = looked(5)
    track.seen(9, [6])
    assert track.checkpoint == Checkpoint(1, 6)
    assert track.missing(None, 9) == [6, 7, 8]


def test_a_user_whose_mailbox_nobody_can_look_into_costs_a_bounded_memory() -> None:
    track = Track(0, 1)
    for uid in range(1, MOST_AHEAD + 50):
        track.came(uid, 0.0)
    assert len(track.ahead) == MOST_AHEAD


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8)), st.integers(0, 8))
def test_each_mail_is_told_or_found(order: list[int], lost: set[int], when: int) -> None:
    """However the callbacks come, and whichever are lost: a look finds just those that nobody has told of, and the
    checkpoint never lies above a mail that is not over.
    """
    track, told, over = looked(1), set[int](), set[int]()
    for number, uid in enumerate([uid for uid in order if uid not in lost]):
        track.begins(uid)
        track.came(uid, 0.0)
        told.add(uid)
        if number < when:
            track.ends(uid)
            over.add(uid)
        assert track.checkpoint.low <= min(set(range(1, 10)) - over)
    found = track.missing(None, 9)
    assert found is not None
    assert set(found) == set(range(1, 9)) - told
    for uid in found:
        track.begins(uid)
    track.seen(9, ())
    assert track.checkpoint.low == min((told | lost) - over, default=9)

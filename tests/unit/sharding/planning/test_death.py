"""What the operator may conclude from a Lease (P8)."""

import pytest

from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.planning.death import LeaseObserver, PodLife
from mailpush.sharding.shardmap import PodRef

POD, NEXT = PodRef("l-0", "u1"), PodRef("l-0", "u2")
HELD = LeaseState(holder=Holder("l-0", "u1", "n"))
HELD_BY_NEXT = LeaseState(holder=Holder("l-0", "u2", "n"))
EMPTY = LeaseState()


@pytest.fixture
def observer() -> LeaseObserver:
    """Has seen the pod take its Lease at 100 s."""
    observer = LeaseObserver("l-0")
    observer.see(97.0, "1", EMPTY)
    observer.see(100.0, "2", HELD)
    return observer


def test_nothing_is_known_before_the_lease_was_looked_at() -> None:
    assert LeaseObserver("l-0").state(100.0, POD, exists=True) is PodLife.UNSEEN


@pytest.mark.parametrize(
    ("now", "life"),
    [
        (100.0, PodLife.ALIVE),
        (105.9, PodLife.ALIVE),
        (106.0, PodLife.UNCERTAIN),
        (114.9, PodLife.UNCERTAIN),
        (115.0, PodLife.EXPIRED),
    ],
)
def test_a_lease_that_does_not_change_expires_after_fifteen_seconds(
    observer: LeaseObserver, now: float, life: PodLife
) -> None:
    assert observer.state(now, POD, exists=True) is life


def test_a_change_counts_a_second_look_does_not(observer: LeaseObserver) -> None:
    observer.see(110.0, "2", HELD)
    assert observer.state(115.0, POD, exists=True) is PodLife.EXPIRED
    observer.see(115.0, "3", HELD)
    assert observer.state(129.0, POD, exists=True) is PodLife.UNCERTAIN


@pytest.mark.parametrize(
    ("silent", "renewed_for", "life"),
    [
        (9.9, 0.0, PodLife.ALIVE),
        (10.0, 0.0, PodLife.RETURNED),
        (60.0, 5.9, PodLife.RETURNED),
        (60.0, 6.0, PodLife.ALIVE),
    ],
)
def test_a_pod_that_was_away_has_returned_only_and_lives_after_six_seconds_of_renewals(
    observer: LeaseObserver, silent: float, renewed_for: float, life: PodLife
) -> None:
    back = 100.0 + silent
    observer.see(back, "3", HELD)
    if renewed_for:
        observer.see(back + 3.0, "4", HELD)
    assert observer.state(back + renewed_for, POD, exists=True) is life


def test_who_takes_a_lease_that_nobody_held_has_not_been_away() -> None:
    observer = LeaseObserver("l-0")
    observer.see(100.0, "1", EMPTY)
    observer.see(200.0, "2", HELD)
    assert observer.state(200.0, POD, exists=True) is PodLife.ALIVE


def test_nobody_is_away_while_the_api_cannot_be_read(observer: LeaseObserver) -> None:
    observer.unreadable(101.0)
    observer.see(400.0, "3", HELD)
    assert observer.state(400.0, POD, exists=True) is PodLife.ALIVE


def test_a_new_leader_counts_anew_and_trusts_nobody_before_a_change() -> None:
    observer = LeaseObserver("l-0")
    observer.see(200.0, "2", HELD)
    assert observer.state(200.0, POD, exists=True) is PodLife.UNCERTAIN
    assert observer.state(214.0, POD, exists=True) is PodLife.UNCERTAIN
    assert observer.state(215.0, POD, exists=True) is PodLife.EXPIRED
    observer.see(215.5, "3", HELD)
    assert observer.state(216.0, POD, exists=True) is PodLife.RETURNED


def test_an_empty_holder_is_a_clean_release(observer: LeaseObserver) -> None:
    observer.see(101.0, "3", EMPTY)
    assert observer.state(101.0, POD, exists=False) is PodLife.RELEASED


def test_an_empty_holder_that_another_uid_left_proves_nothing_of_the_first(observer: LeaseObserver) -> None:
    observer.see(101.0, "3", HELD_BY_NEXT)
    observer.see(102.0, "4", EMPTY)
    assert observer.state(103.0, NEXT, exists=True) is PodLife.RELEASED
    assert observer.state(103.0, POD, exists=False) is PodLife.UNCERTAIN
    assert observer.state(116.0, POD, exists=False) is PodLife.EXPIRED


def test_an_empty_holder_at_first_sight_is_a_release_only_while_the_pod_object_stands() -> None:
    observer = LeaseObserver("l-0")
    observer.see(100.0, "9", EMPTY)
    assert observer.state(100.0, POD, exists=True) is PodLife.RELEASED
    assert observer.state(100.0, POD, exists=False) is PodLife.UNCERTAIN
    assert observer.state(115.0, POD, exists=False) is PodLife.EXPIRED


def test_another_uid_on_the_lease_starts_fifteen_seconds_from_when_it_was_seen(observer: LeaseObserver) -> None:
    observer.see(112.0, "3", HELD_BY_NEXT)
    observer.see(126.0, "4", HELD_BY_NEXT)
    assert observer.state(126.9, POD, exists=False) is PodLife.UNCERTAIN
    assert observer.state(127.0, POD, exists=False) is PodLife.EXPIRED
    assert observer.state(127.0, NEXT, exists=True).lives


def test_a_missing_lease_starts_fifteen_seconds_from_when_it_was_missed(observer: LeaseObserver) -> None:
    observer.see(105.0, None, None)
    assert observer.state(119.0, POD, exists=True) is PodLife.UNCERTAIN
    assert observer.state(120.0, POD, exists=True) is PodLife.EXPIRED


def test_a_lease_made_again_by_hand_with_no_holder_is_no_release(observer: LeaseObserver) -> None:
    observer.see(101.0, None, None)
    observer.see(102.0, "9", EMPTY)
    assert observer.state(103.0, POD, exists=True) is PodLife.UNCERTAIN


@pytest.mark.parametrize("exists", [True, False])
def test_a_pod_object_or_none_proves_nothing(observer: LeaseObserver, exists: bool) -> None:
    """Nor does its phase, which is not asked for: pod garbage collection writes Failed while the processes run on."""
    assert observer.state(101.0, POD, exists=exists) is PodLife.ALIVE


def test_time_in_which_the_api_could_not_be_read_does_not_count(observer: LeaseObserver) -> None:
    observer.unreadable(104.0)
    assert observer.state(1000.0, POD, exists=True) is PodLife.ALIVE
    observer.readable(1104.0)
    assert observer.state(1114.9, POD, exists=True) is PodLife.UNCERTAIN
    assert observer.state(1115.0, POD, exists=True) is PodLife.EXPIRED


def test_an_outage_may_be_noticed_late(observer: LeaseObserver) -> None:
    assert observer.state(116.0, POD, exists=True) is PodLife.EXPIRED
    observer.unreadable(101.0)
    observer.unreadable(116.0)
    assert observer.state(116.0, POD, exists=True) is PodLife.ALIVE


def test_an_outage_cannot_begin_before_the_last_look(observer: LeaseObserver) -> None:
    observer.unreadable(50.0)
    observer.readable(105.0)
    assert observer.state(114.0, POD, exists=True) is PodLife.UNCERTAIN
    assert observer.state(120.0, POD, exists=True) is PodLife.EXPIRED


def test_looking_proves_that_the_api_can_be_read(observer: LeaseObserver) -> None:
    observer.unreadable(101.0)
    observer.see(201.0, "2", HELD)
    assert observer.state(215.0, POD, exists=True) is PodLife.EXPIRED


def test_callbacks_go_elsewhere_after_six_quiet_seconds_and_come_back(observer: LeaseObserver) -> None:
    assert not LeaseObserver("l-9").callback_stale(1000.0)
    assert not observer.callback_stale(105.9)
    assert observer.callback_stale(106.0)
    observer.see(107.0, "3", HELD)
    assert not observer.callback_stale(107.0)

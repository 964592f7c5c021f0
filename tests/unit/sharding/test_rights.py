"""How long a process may act (P5)."""

from mailpush.sharding.rights import Right


def test_a_process_that_never_renewed_has_no_right() -> None:
    assert not Right().holds(0.0)


def test_the_right_counts_from_the_sending_not_from_the_answer() -> None:
    right = Right()
    right.renewed(sent_at=100.0)
    assert right.holds(109.9)
    assert not right.holds(110.0)


def test_an_older_answer_that_comes_late_does_not_shorten_the_right() -> None:
    right = Right()
    right.renewed(sent_at=103.0)
    right.renewed(sent_at=100.0)
    assert right.holds(112.0)


def test_a_renewal_needs_a_main_loop_that_ticked_within_three_seconds() -> None:
    right = Right()
    assert not right.may_renew(100.0)
    right.ticked(100.0)
    assert right.may_renew(103.0)
    assert not right.may_renew(103.1)


def test_the_next_renewal_is_due_three_seconds_after_the_last_was_sent() -> None:
    right = Right()
    assert right.renewal_due_in(100.0) == 0.0
    right.renewed(100.0)
    assert right.renewal_due_in(101.0) == 2.0
    assert right.renewal_due_in(200.0) == 0.0
    assert right.remaining(104.0) == 6.0


def test_a_right_that_has_ended_does_not_come_back_by_a_late_answer() -> None:
    right = Right()
    right.renewed(100.0)
    right.ended()
    right.renewed(101.0)
    assert not right.holds(101.0)

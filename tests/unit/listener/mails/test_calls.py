"""Whether Dovecot calls, and whether something is wrong with its calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.listener.mails.calls import CALM_SECONDS, RECENT, TROUBLES, WELL, CallRecord


class Record(CallRecord):
    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(lambda: self.now)

    def notes(self, *outcomes: str) -> str:
        for outcome in outcomes:
            self.note(outcome)
        return self.trouble


def test_a_port_that_nobody_calls_is_in_no_trouble_and_not_called() -> None:
    record = Record()
    assert (record.trouble, record.called) == ("", False)


def test_two_refused_logins_may_be_anybodys_and_three_are_told() -> None:
    record = Record()
    assert record.notes("unauthorized", "unauthorized") == ""
    assert record.notes("unauthorized") == "unauthorized"
    assert not record.called


def test_one_of_several_servers_with_a_wrong_login_is_told_although_the_others_call() -> None:
    record = Record()
    assert record.notes(*["unauthorized", *["accepted"] * 4] * 20) == "unauthorized"
    assert record.called


def test_it_is_over_a_minute_after_the_last_one_with_five_that_are_right() -> None:
    record = Record()
    record.notes(*["unauthorized"] * RECENT)
    assert record.notes(*["accepted"] * 5) == "unauthorized"
    record.now = CALM_SECONDS
    assert record.notes("accepted") == ""


@pytest.mark.parametrize("outcome", ["full", "too_large", "too_slow", "broken_off", "unreadable"])
def test_what_is_nobodys_mistake_at_dovecot_is_no_trouble(outcome: str) -> None:
    record = Record()
    assert record.notes(*[outcome] * RECENT) == ""
    assert not record.called


@given(st.lists(st.sampled_from(sorted(TROUBLES | WELL)), max_size=60))
def test_a_trouble_is_one_of_the_last_twenty_and_at_least_three_of_them(outcomes: list[str]) -> None:
    trouble = Record().notes(*outcomes)
    recent = [outcome for outcome in outcomes[-RECENT:] if outcome in TROUBLES]
    assert bool(trouble) == (len(recent) >= 3)
    assert not trouble or recent.count(trouble) == max(map(recent.count, recent))


def test_mails_of_unanswered_callbacks_are_to_be_looked_for_once_it_is_calm() -> None:
    now = [1000.0]
    calls = CallRecord(lambda: now[0])
    assert not calls.missed()
    calls.unanswered()
    now[0] += 5
    calls.unanswered()
    now[0] += 9
    assert not calls.missed()
    now[0] += 2
    assert calls.missed()
    assert not calls.missed(), "said once"


def test_mails_of_refused_callbacks_are_looked_for_when_the_trouble_is_over_and_seldom() -> None:
    now = [1000.0]
    calls = CallRecord(lambda: now[0])
    calls.note("unauthorized")
    now[0] += 20
    assert not calls.missed(), "one may be anybody's"
    for _ in range(3):
        calls.note("unauthorized")
    now[0] += 100
    assert not calls.missed(), "the trouble is not over"
    for _ in range(5):
        calls.note("accepted")
    assert calls.missed()
    for _ in range(3):
        calls.note("unauthorized")
    now[0] += 100
    for _ in range(5):
        calls.note("accepted")
    assert not calls.missed(), "whoever finds the port could make every mailbox be looked into again and again"

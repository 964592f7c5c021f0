"""What a run of `make chaos` counts."""

import pytest

from dev.chaos.faults import FAULTS
from dev.chaos.tally import MECHANISMS, Moves, Sent, Tally, subjects
from dev.demo.users import LISTENING


def mail(*ids: str, waited: float | None = 0.1, refusal: str | None = None) -> Sent:
    return Sent("kill", LISTENING[0], "chaos 1", 0.0, waited, refusal, list(ids))


@pytest.mark.parametrize(
    ("one", "lost", "doubled", "repeated"),
    [
        (mail("a"), 0, 0, 0),
        (mail(), 1, 0, 0),
        (mail("a", "a", "a"), 0, 0, 2),
        (mail("a", "b"), 0, 1, 0),
        (mail("a", "b", "a"), 0, 1, 1),
        (mail(refusal="451 try again"), 0, 0, 0),
        (mail(waited=None), 0, 0, 0),
    ],
    ids=["once", "never", "one id", "two ids", "both", "refused", "under way"],
)
def test_a_mail_is_lost_doubled_or_repeated(one: Sent, lost: int, doubled: int, repeated: int) -> None:
    tally = Tally.of([one])
    assert (tally.lost, tally.doubled, tally.repeated) == (lost, doubled, repeated)
    assert tally.sent + tally.refused == (one.waited is not None)


def test_the_longest_session_counts_even_if_it_ended_in_a_refusal() -> None:
    assert Tally.of([mail("a", waited=0.2), mail(waited=2.5, refusal="timed out")]).longest_lmtp_ms == 2500
    assert Tally.of([]).longest_lmtp_ms == 0


def test_a_user_who_has_no_pod_for_a_while_moves_once() -> None:
    moves = Moves()
    for pod in ("one", None, "two", "two", None, "two", "one"):
        moves.observe({"main-1-3": ("dovecot", pod)})
    assert moves.counts == {"dovecot": 2, "imapidle": 0}


def test_every_listening_user_of_the_demo_has_a_mechanism() -> None:
    assert {user.config for user in LISTENING} == set(MECHANISMS)


def test_the_notifications_of_a_mail_are_found_by_its_subject() -> None:
    assert subjects({"chaos 1": [{"id": "a"}, {"id": "a"}], "?": [{"id": "b"}]}) == {"chaos 1": ["a", "a"], "?": ["b"]}


def test_a_fault_is_named_once() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)

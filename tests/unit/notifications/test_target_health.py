"""When losses are a target's trouble, and how often they are logged."""

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailpush.notifications.target_health import Endings

FIVE = 5


def test_one_mail_that_is_refused_is_that_mails_trouble_and_five_of_five_are_the_targets() -> None:
    endings = Endings("t")
    for _ in range(FIVE - 1):
        endings.lost("http_422", 0.0)
        assert endings.losing is None
    endings.lost("http_400", 0.0)
    assert endings.losing == "http_422"


@given(st.lists(st.booleans(), max_size=200))
def test_losing_ends_with_five_in_a_row_that_are_told_and_needs_five_lost(told: list[bool]) -> None:
    endings = Endings("t")
    for each in told:
        if each:
            endings.told()
        else:
            endings.lost("http_400", 0.0)
    if told[-FIVE:] == [True] * FIVE or told.count(False) < FIVE:
        assert endings.losing is None
    if told[-FIVE:] == [False] * FIVE and told[-10:].count(True) <= FIVE and len(told) <= 10:
        assert endings.losing == "http_400"


def test_a_flood_of_losses_is_one_line_a_minute_and_each_loss_is_in_one() -> None:
    endings = Endings("t")
    with capture_logs() as logs:
        for number in range(1000):
            endings.lost("http_400", number / 10)
        endings.log(1000.0)
    assert len(logs) == 3
    assert sum(line["reasons"]["http_400"] for line in logs) == 1000

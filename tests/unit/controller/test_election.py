"""Who leads: judged by what a standby has seen itself."""

from typing import Any

from mailpush.controller.election import LASTS, LeaseJudge, Look
from mailpush.controller.owner import ConfigKey

MAIN = ConfigKey("mail", "main")


def lease(version: str, holder: str | None = "other") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": holder} if holder else {}}


def test_a_standby_counts_from_the_last_change_that_it_saw_itself() -> None:
    watchman = LeaseJudge()
    assert watchman.look(None, 0) is Look.MISSING
    assert watchman.look(lease("1"), 100) is Look.HELD
    assert watchman.look(lease("1"), 100 + LASTS - 0.1) is Look.HELD
    assert watchman.look(lease("2"), 100 + LASTS) is Look.HELD
    assert watchman.look(lease("2"), 100 + 2 * LASTS) is Look.EXPIRED
    assert watchman.look(lease("3", holder=None), 200) is Look.FREE


def test_time_in_which_the_api_could_not_be_read_proves_nothing() -> None:
    watchman = LeaseJudge()
    watchman.look(lease("1"), 0)
    watchman.unreadable(14)
    assert watchman.look(lease("1"), 16) is Look.HELD

"""Who leads: judged by what a standby has seen itself."""

from typing import Any

import pytest

from mailpush.controller.election import LASTS, Election, LeaseJudge, Look
from mailpush.controller.owner import ConfigKey
from mailpush.kube.client import Object
from mailpush.kube.errors import NotFoundError, UnreachableError

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


class LosesAnAnswer:
    """An API server whose answer to the first write is lost, although the write has taken effect."""

    def __init__(self, found: Object | None) -> None:
        self.lease = found
        self.deadlines: list[float] = []
        self.writes = 0

    async def get(self, *_: Any, answer_seconds: float = 30.0) -> Object:
        self.deadlines.append(answer_seconds)
        assert len(self.deadlines) < 20, "it waits for the end of its own Lease"
        if self.lease is None:
            raise NotFoundError(404, "NotFound", "no Lease")
        return self.lease

    async def create(self, _resource: Any, _namespace: str, body: Object, *, answer_seconds: float = 30.0) -> Object:
        self.deadlines.append(answer_seconds)
        self.writes += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(100 + self.writes)}}
        if self.writes == 1:
            raise UnreachableError("no answer")
        return self.lease

    replace = create


@pytest.mark.parametrize("found", [None, lease("1", holder=None)])
async def test_a_standby_has_a_deadline_for_each_call_and_takes_again_what_it_has_taken_without_an_answer(
    found: Object | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailpush.controller.election.STANDBY_EVERY", 0.0)
    api = LosesAnAnswer(found)
    await Election(api, "mail", "operator", "me", clock=lambda: 100.0).lead()  # type: ignore[arg-type]
    assert api.writes == 2
    assert max(api.deadlines) <= 2.5

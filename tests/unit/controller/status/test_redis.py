"""The condition RedisDegraded."""

import pytest

from mailpush.controller.status.redis import REASONS, redis
from tests.unit.controller.builders import evaluation, state, view

IT = state(evaluation(redis={"url": "redis://redis:6379/0"}))


@pytest.mark.parametrize("trouble", [*REASONS, "a word of a later version"])
def test_what_keeps_pods_from_redis_is_named_with_how_many_have_it(trouble: str) -> None:
    verdict = redis(IT, (view(0, redis=trouble), view(1)))
    assert verdict is not None
    assert (verdict.status, verdict.reason) == ("True", REASONS.get(trouble, REASONS["refuses"])[0])
    assert "1 of 2 pods" in verdict.message


def test_where_all_is_well_it_says_so_and_where_there_is_no_redis_it_is_left_out() -> None:
    verdict = redis(IT, (view(0), view(1)))
    assert verdict is not None
    assert (verdict.status, verdict.reason) == ("False", "Answering")
    assert redis(state(evaluation()), (view(0, redis="away"),)) is None
    assert redis(IT, ()) is None

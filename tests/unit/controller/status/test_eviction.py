"""The condition RedisMayEvict."""

import pytest

from mailpush.controller.status.eviction import redis_may_evict
from tests.unit.controller.builders import evaluation, state, view

IT = state(evaluation(redis={"url": "redis://redis:6379/0"}))


@pytest.mark.parametrize(
    ("policies", "status", "reason"),
    [
        (("noeviction", "noeviction"), "False", "NoEviction"),
        (("noeviction", ""), "False", "NoEviction"),
        (("", ""), "Unknown", "NotKnown"),
        (("noeviction", "allkeys-lru"), "True", "EvictionPolicy"),
        (("volatile-ttl", ""), "True", "EvictionPolicy"),
    ],
)
def test_it_is_true_where_a_pods_redis_may_evict(policies: tuple[str, str], status: str, reason: str) -> None:
    verdict = redis_may_evict(IT, tuple(view(n, eviction=policy) for n, policy in enumerate(policies)))
    assert verdict is not None
    assert (verdict.status, verdict.reason) == (status, reason)
    if status == "True":
        assert max(policies) in verdict.message or min(policies) in verdict.message
        assert "set noeviction" in verdict.message


def test_it_is_not_there_without_redis_or_without_a_pod_that_says_something() -> None:
    evicting = view(0, eviction="allkeys-lru")
    assert redis_may_evict(state(evaluation()), (evicting,)) is None
    assert redis_may_evict(IT, (view(0, eviction="allkeys-lru", holder=None),)) is None
    assert redis_may_evict(IT, ()) is None

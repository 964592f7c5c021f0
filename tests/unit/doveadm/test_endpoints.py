"""Which endpoint is asked next."""

import pytest

from mailpush.doveadm.endpoints import PROBE_SECONDS, Endpoints
from mailpush.doveadm.errors import DoveadmUnreachableError


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_they_are_asked_in_turn() -> None:
    endpoints = Endpoints(["a", "b", "c"], 60.0, Clock())
    asked = [endpoints.next() for _ in range(6)]
    assert sorted(asked[:3]) == sorted(asked[3:]) == ["a", "b", "c"]


def test_one_that_failed_rests_and_comes_back() -> None:
    clock = Clock()
    endpoints = Endpoints(["a", "b"], 60.0, clock)
    endpoints.failed("a", "a is away")
    assert {endpoints.next() for _ in range(4)} == {"b"}
    clock.now += 60
    assert {endpoints.next() for _ in range(4)} == {"a", "b"}


def test_where_all_of_them_rest_one_is_asked_now_and_then_and_nobody_else_waits() -> None:
    clock = Clock()
    endpoints = Endpoints(["a"], 60.0, clock)
    endpoints.failed("a", "a is away")
    with pytest.raises(DoveadmUnreachableError, match="a is away"):
        endpoints.next()
    clock.now += PROBE_SECONDS
    assert endpoints.next() == "a"
    with pytest.raises(DoveadmUnreachableError):
        endpoints.next()
    endpoints.worked("a")
    assert endpoints.next() == "a"
    assert endpoints.next() == "a"


def test_the_one_that_failed_first_is_asked_first() -> None:
    clock = Clock()
    endpoints = Endpoints(["a", "b"], 60.0, clock)
    endpoints.failed("b", "b is away")
    clock.now += 1
    endpoints.failed("a", "a is away")
    clock.now += PROBE_SECONDS
    assert endpoints.next() == "b"

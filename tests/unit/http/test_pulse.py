"""A loop that has stopped is found."""

from mailpush.controller.owner import ConfigKey
from mailpush.http.health import Pulse

MAIN = ConfigKey("mail", "main")


def test_a_loop_that_stops_beating_is_found_and_one_that_ended_is_not_missed() -> None:
    now = [0.0]
    pulse = Pulse(lambda: now[0])
    pulse.beat("reconcile", within=10)
    pulse.beat("shards of mail/main", within=10)
    now[0] = 9
    assert pulse.problems() == []
    pulse.end("shards of mail/main")
    now[0] = 11
    assert pulse.problems() == ["reconcile has been silent for 11 s"]
    pulse.beat("reconcile", within=10)
    pulse.fault("kopf's watches", "nothing new")
    assert pulse.problems() == ["kopf's watches: nothing new"]
    pulse.fault("kopf's watches", None)
    assert pulse.problems() == []

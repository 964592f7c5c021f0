"""The condition TransportDegraded."""

import socket
import ssl

import pytest

from mailpush.api.conditions import find
from mailpush.controller.status.config import config_status
from mailpush.controller.status.delivery import ADVICE, transports
from mailpush.controller.status.shard_map import MapView
from mailpush.notifications.transports.base import Refused, TryLater
from mailpush.notifications.transports.webhook import failure, judge
from tests.unit.controller.builders import evaluation, state, view

WEBHOOKS = {"webhooks": [{"name": "devices", "url": "https://example.org/hook"}]}
IT = state(evaluation(transports=WEBHOOKS))


def test_it_names_the_target_the_reason_and_how_many_pods_say_so() -> None:
    pods = (view(0, degraded={"devices": "timeout"}), view(1, degraded={"devices": "timeout", "former": "x"}), view(2))
    status = config_status(IT, pods, MapView(), {}, "2026-01-01T00:00:00Z")
    said = find(status["conditions"], "TransportDegraded")
    assert said is not None
    assert (said["status"], said["reason"]) == ("True", "TargetsFailing")
    assert "devices (timeout, 2 of 3 pods: it does not answer within timeoutMilliseconds)" in said["message"]
    assert "former" not in said["message"]


def test_where_all_is_well_it_says_so_and_where_nobody_can_know_it_is_left_out() -> None:
    verdict = transports(IT, (view(0), view(1)))
    assert verdict is not None
    assert (verdict.status, verdict.reason) == ("False", "Delivering")
    assert transports(IT, ()) is None
    assert transports(state(evaluation()), (view(0),)) is None
    assert transports(IT, (view(0, holder=None),)) is None


def test_each_trouble_that_a_pod_can_name_has_advice() -> None:
    words = {
        failure(error)
        for error in (OSError(), ssl.SSLError(), ssl.SSLCertVerificationError(), socket.gaierror(), TimeoutError())
    }
    for status in (*range(300, 600), 999):
        outcome = judge(status, None, 0)
        words.add(outcome.reason if isinstance(outcome, TryLater | Refused) else "")
    assert {word for word in words if word and word not in ADVICE} == {"http_4xx", "http_9xx"}


@pytest.mark.parametrize(("why", "waits"), [("http_401", True), ("http_400", False)])
def test_what_is_dropped_is_not_said_to_be_tried_again(why: str, waits: bool) -> None:
    verdict = transports(IT, (view(0, degraded={"devices": why}),))
    assert verdict is not None
    assert ("tried for 15 minutes" in verdict.message) == waits
    assert ("dropped" in verdict.message) != waits

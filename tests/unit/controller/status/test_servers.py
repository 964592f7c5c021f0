"""The condition MailServerDegraded, and Ready where nobody is listened for."""

import pytest

from mailpush.api.conditions import find
from mailpush.controller.status.config import config_status
from mailpush.controller.status.pod import PodView
from mailpush.controller.status.servers import mail_servers
from mailpush.controller.status.shard_map import MapView
from mailpush.sharding.leases import ServerReport
from tests.unit.controller.builders import ACCESS, evaluation, state, view

SERVERS = [{"host": "one", "name": "one"}, {"host": "two", "name": "two"}]
IT = state(evaluation(mailAccess={**ACCESS, "servers": SERVERS}))
AWAY = ("ServerUnreachable", 4, "no connection to one:994: Connection refused")


def pod(ordinal: int, listening: int = 0, **servers: ServerReport) -> PodView:
    return view(ordinal, servers=servers, counts={"listening": listening})


def said(type_: str, *pods: PodView, users: int = 8) -> tuple[str, str, str]:
    status = config_status(IT, pods, MapView(epoch=1, pods=2, users=users), {}, "2026-01-01T00:00:00Z")
    found = find(status["conditions"], type_)
    assert found is not None
    return found["status"], found["reason"], found["message"]


def test_a_server_is_named_with_the_share_and_the_commonest_reason_of_all_pods() -> None:
    wrong = ServerReport(4, 3, "AuthenticationFailed", 3, "it refused")
    status, reason, message = said(
        "MailServerDegraded", pod(0, one=ServerReport(4, 4, *AWAY)), pod(1, one=wrong, two=ServerReport(9))
    )
    assert (status, reason) == ("True", "ServerUnreachable")
    assert message == (
        "one: 7 of 8 users are not listened for (ServerUnreachable: no connection to one:994: Connection refused)"
    )


@pytest.mark.parametrize(("failed", "status"), [(0, "False"), (1, "False"), (24, "False"), (25, "True"), (100, "True")])
def test_a_quarter_of_its_users_makes_it_the_servers_trouble(failed: int, status: str) -> None:
    report = ServerReport(100, failed, "AuthenticationFailed", failed, "")
    assert said("MailServerDegraded", pod(0, one=report))[0] == status


def test_a_server_that_is_configured_no_more_and_a_pod_that_lost_its_lease_say_nothing() -> None:
    gone, away = ServerReport(4, 4, *AWAY), ServerReport(4, 4, *AWAY)
    assert said("MailServerDegraded", pod(0, three=gone), view(1, holder=None, servers={"one": away}))[0] == "False"
    assert mail_servers(IT, ()) is None


READY: tuple[tuple[tuple[PodView, ...], int, str, str], ...] = (
    ((pod(0),), 0, "True", "Listening"),
    ((pod(0, 1, one=ServerReport(8, 7, *AWAY)), pod(1)), 8, "True", "Listening"),
    ((pod(0), pod(1)), 8, "False", "Starting"),
    ((pod(0, one=ServerReport(8)), pod(1)), 8, "False", "Starting"),
    ((pod(0, one=ServerReport(4, 4, *AWAY)), pod(1)), 8, "False", "NobodyListening"),
)


@pytest.mark.parametrize(("pods", "users", "status", "reason"), READY)
def test_it_is_ready_only_where_somebody_is_listened_for_who_should_be(
    pods: tuple[PodView, ...], users: int, status: str, reason: str
) -> None:
    found = said("Ready", *pods, users=users)
    assert found[:2] == (status, reason)
    assert ("one:994" in found[2]) == (reason == "NobodyListening")

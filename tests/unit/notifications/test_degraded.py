"""Which targets a pod calls degraded."""

import pytest

from mailpush.notifications.backoff import Circuit
from mailpush.notifications.degraded import degraded
from mailpush.notifications.target_health import TargetHealth

ROWS: tuple[tuple[str, TargetHealth | None, str | None], ...] = (
    ("nothing to do", TargetHealth(0, 0.0, Circuit.CLOSED, None), None),
    ("one try failed", TargetHealth(1, 2.0, Circuit.CLOSED, "timeout"), None),
    ("many failed", TargetHealth(5, 9.0, Circuit.OPEN, "timeout"), "timeout"),
    ("a probe is on its way", TargetHealth(5, 9.0, Circuit.PROBING, "http_5xx"), "http_5xx"),
    ("Redis has been away for long", TargetHealth(1, 31.0, Circuit.CLOSED, "claims_unavailable"), "claims_unavailable"),
    ("busy, and nothing fails", TargetHealth(900, 31.0, Circuit.CLOSED, None), None),
    ("it refuses what it gets", TargetHealth(0, 0.0, Circuit.CLOSED, "http_400", losing="http_400"), "http_400"),
    ("it refused one mail", TargetHealth(0, 0.0, Circuit.CLOSED, "http_400"), None),
    ("its secret is no base64", None, "unusable"),
)


@pytest.mark.parametrize(("name", "health", "why"), ROWS)
def test_a_target_is_degraded_when_what_it_is_to_be_told_does_not_get_through(
    name: str, health: TargetHealth | None, why: str | None
) -> None:
    found = degraded(["devices"], {} if health is None else {"devices": health})
    assert found == ({} if why is None else {"devices": why}), name

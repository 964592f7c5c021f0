"""Which targets of notifications this pod does not get through to: its Lease reports them to the operator."""

from collections.abc import Iterable, Mapping
from typing import Final

from mailpush.notifications.backoff import Circuit
from mailpush.notifications.target_queue import TargetHealth

LATE_SECONDS: Final = 30.0
"""How old a notification may get before its target counts as degraded, whatever a single try has said."""
UNUSABLE: Final = "unusable"


def degraded(configured: Iterable[str], health: Mapping[str, TargetHealth]) -> dict[str, str]:
    """By target, the reason of the last try that failed; `configured` are the names that the settings have."""
    found = {}
    for name in configured:
        target = health.get(name)
        if target is None:
            found[name] = UNUSABLE  # its secret or its URL cannot be used; the log says why
        elif target.circuit is not Circuit.CLOSED or (target.trouble and target.oldest_seconds >= LATE_SECONDS):
            found[name] = target.trouble or "failing"
    return found

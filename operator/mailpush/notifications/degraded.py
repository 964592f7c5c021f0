"""The targets that this pod cannot notify. The pod's Lease reports them to the operator."""

from collections.abc import Iterable, Mapping
from typing import Final

from mailpush.notifications.backoff import Circuit
from mailpush.notifications.target_health import TargetHealth

LATE_SECONDS: Final = 30.0
"""Age of the oldest open notification from which on a target with a failed try counts as degraded."""
UNUSABLE: Final = "unusable"


def degraded(configured: Iterable[str], health: Mapping[str, TargetHealth]) -> dict[str, str]:
    """By target, why it is not notified: the reason of the last failed try, or of the refusals that go on.

    `configured` are the names that the settings have.
    """
    found = {}
    for name in configured:
        target = health.get(name)
        if target is None:
            found[name] = UNUSABLE  # its secret or its URL cannot be used; the log says why
        elif target.circuit is not Circuit.CLOSED or (target.trouble and target.oldest_seconds >= LATE_SECONDS):
            found[name] = target.trouble or "failing"
        elif target.losing is not None:
            found[name] = target.losing
    return found

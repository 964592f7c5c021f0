"""Metrics of notifications. No label names a user, a mail or an address."""

from __future__ import annotations

from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class NotificationMetrics:
    """One set per process (`registry` is for tests).

    `notifications` by outcome: `accepted`; `told` (another pod or an earlier try has sent it); `repeated` (the same
    mail came again while the first was open, or after). `drops` by reason: `expired`, `refused`.
    `tries` by result: `accepted`, or the reason why a try failed.
    `claims` by event: `late` (accepted after the claim had run out), `unrecorded` (accepted, but the store took no
    record: another pod may send it again).
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.notifications = Counter(
            "mailpush_notifications", "Notifications that came to an end.", ["target", "outcome"], registry=registry
        )
        self.drops = Counter(
            "mailpush_notification_drops", "Notifications given up.", ["target", "reason"], registry=registry
        )
        self.full = Counter(
            "mailpush_notification_queue_full",
            "Offers of a mail that found no room in a target's queue: it stays in the journal and is offered again.",
            ["target"],
            registry=registry,
        )
        self.tries = Counter(
            "mailpush_notification_tries", "Tries to notify a target.", ["target", "result"], registry=registry
        )
        self.claims = Counter(
            "mailpush_notification_claims", "Claims that did not go as planned.", ["target", "event"], registry=registry
        )
        self.missed = Counter(
            "mailpush_mails_missed",
            "Notifications of mails that no callback had told of, and that a look into the mailbox has found.",
            ["target", "server"],
            registry=registry,
        )
        self.latency = Histogram(
            "mailpush_notification_seconds",
            "From the arrival of the event to the target's acceptance.",
            ["target"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.open = Gauge(
            "mailpush_notifications_open", "Notifications waiting or on their way.", ["target"], registry=registry
        )
        self.circuit_open = Gauge(
            "mailpush_target_circuit_open", "1 while a target is left alone.", ["target"], registry=registry
        )

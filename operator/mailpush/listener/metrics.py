"""What a listener pod counts for Prometheus. Never by user: a label per user would be as many series as users."""

from typing import Final

from prometheus_client import Counter, Gauge

from mailpush.listener.mechanisms.base import Health

CALLBACKS: Final = Counter(
    "mailpush_callbacks_total",
    "Callbacks of Dovecot by outcome: accepted, other_event, unknown_user_form, malformed, too_large, too_slow, "
    "unauthorized, full.",
    ["outcome"],
)
HANDOVERS: Final = Counter(
    "mailpush_handover_total",
    "New mails by what became of them on this pod: taken, denied, unknown_user, handed_over, expired; and tries to "
    "hand over that failed: refused, unreachable.",
    ["outcome"],
)
RECEIVED: Final = Counter(
    "mailpush_handover_received_total",
    "New mails that other pods handed over, by answer: taken, denied, not_mine, unknown_user, bad_signature, "
    "malformed, full.",
    ["outcome"],
)
PENDING: Final = Gauge("mailpush_handover_pending", "New mails that are on this pod and not yet where they belong.")
JOURNAL_BYTES: Final = Gauge("mailpush_journal_bytes", "Size of the journal in the pod's own folder.")
JOURNAL_ERRORS: Final = Counter(
    "mailpush_journal_errors_total", "Events that the journal could not take: they live in memory only."
)
LISTENERS: Final = Gauge("mailpush_listeners", "Users of this pod by mechanism and state.", ["mechanism", "state"])


class ListenerCount:
    """Keeps `mailpush_listeners` by what each user's listener said last."""

    def __init__(self) -> None:
        self._states: dict[tuple[int, int], tuple[str, str]] = {}

    def observe(self, user: tuple[int, int], mechanism: str, health: Health) -> None:
        """`user` is context and user id."""
        self.forget(user)
        self._states[user] = (mechanism, health.state.value)
        LISTENERS.labels(mechanism, health.state.value).inc()

    def forget(self, user: tuple[int, int]) -> None:
        """The user has no listener here any more."""
        if state := self._states.pop(user, None):
            LISTENERS.labels(*state).dec()

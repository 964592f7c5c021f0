"""What a pod counts of the way of a mail. Never by user: a label per user makes as many series as users."""

from typing import Final

from prometheus_client import Counter, Gauge

CALLBACKS: Final = Counter(
    "mailpush_callbacks_total",
    "Callbacks of Dovecot by outcome: accepted, other_event, unknown_user_form, unknown_login, malformed, too_large, "
    "unauthorized; and those whose connection ended without an answer, which Dovecot sends again: unreadable, "
    "broken_off, too_slow, full.",
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
    "malformed, full, busy.",
    ["outcome"],
)
PENDING: Final = Gauge("mailpush_handover_pending", "New mails that are on this pod and not yet where they belong.")
JOURNAL_BYTES: Final = Gauge("mailpush_journal_bytes", "Size of the journal in the pod's own folder.")
JOURNAL_ERRORS: Final = Counter(
    "mailpush_journal_errors_total", "Times that the disk failed the journal: it is full, or cannot be written or read."
)
JOURNAL_SHED: Final = Counter(
    "mailpush_journal_shed_total",
    "New mails that a full journal gave up before their notifications were sent: they live in memory only.",
)
JOURNAL_UNWRITTEN: Final = Gauge(
    "mailpush_journal_unwritten", "New mails that the disk has not taken: they are lost if this process is killed."
)

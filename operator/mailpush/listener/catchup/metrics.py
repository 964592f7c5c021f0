"""What catching up counts. Never by user."""

from typing import Final

from prometheus_client import Counter, Gauge

BASELINES: Final = Counter(
    "mailpush_checkpoint_baselines_total",
    "Folders that were looked into without a checkpoint (none) or with one of another UIDVALIDITY (uidvalidity): what "
    "was in them is told to nobody.",
    ["why"],
)
LOOKS: Final = Counter(
    "mailpush_sweep_looks_total",
    "Looks into mailboxes for mails that no callback has told of: looked, failed (tried again), refused (by the mail "
    "server), passed_over (UIDs that were too many at once).",
    ["outcome"],
)
SWEEPS: Final = Counter(
    "mailpush_sweeps_total",
    "How often all mailboxes were to be looked into: pod_lost, paused, callbacks_refused, asked (by another pod).",
    ["why"],
)
SWEEPING: Final = Gauge("mailpush_sweep_left", "Users whose mailbox a sweep has still to look into.")

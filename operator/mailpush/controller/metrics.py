"""What the operator counts; nothing is labelled by user."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

LEADER: Final = Gauge("mailpush_operator_leader", "1 while this process leads.")
RECONCILES: Final = Counter(
    "mailpush_operator_reconciles_total", "Reconciles of a MailPushConfig by outcome.", ["outcome"]
)
RECONCILE_SECONDS: Final = Histogram("mailpush_operator_reconcile_seconds", "How long a reconcile takes.")
QUEUE: Final = Gauge("mailpush_operator_queue_length", "Keys that wait.", ["queue"])
MAP_WRITES: Final = Counter("mailpush_operator_shard_map_writes_total", "Writes of a ShardMap by outcome.", ["outcome"])
FENCES: Final = Counter("mailpush_operator_fences_total", "Fences of a pod's Lease by outcome.", ["outcome"])
EPOCH: Final = Gauge("mailpush_operator_shard_map_epoch", "Epoch of the ShardMap.", ["namespace", "config"])
MOVING: Final = Gauge("mailpush_operator_slots_moving", "Slots on their way.", ["namespace", "config"])
USERS: Final = Gauge("mailpush_operator_push_users", "Push users.", ["namespace", "config"])
USER_WRITES: Final = Counter("mailpush_operator_push_user_writes_total", "Writes to PushUsers by kind.", ["kind"])
REGISTRATIONS_LEFT: Final = Gauge(
    "mailpush_operator_registrations_left",
    "Mailboxes that still call for PushUsers that are gone.",
    ["namespace"],
)
EVENTS: Final = Counter("mailpush_operator_events_total", "Kubernetes Events by outcome.", ["outcome"])

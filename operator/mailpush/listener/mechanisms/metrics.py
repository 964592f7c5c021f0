"""What the mechanisms count. Never by user."""

from typing import Final

from prometheus_client import Counter

NOT_READ: Final = Counter(
    "mailpush_imapidle_not_read_total",
    "New mails that imapidle could not read as it should: without_header (notified without sender and subject), "
    "skipped (not notified, as the server gave nothing of it), burst (not notified, as too many came at once).",
    ["outcome"],
)

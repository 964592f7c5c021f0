"""What is counted of doveadm. Never by user."""

from typing import Final

from prometheus_client import Counter

COMMANDS: Final = Counter(
    "mailpush_doveadm_commands_total",
    "Commands to Dovecot's doveadm HTTP API by what became of them: done, or the reason of the failure.",
    ["outcome"],
)

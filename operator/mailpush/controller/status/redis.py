"""The condition RedisDegraded: whether the pods can claim mails in Redis before they notify. Pure."""

from collections import Counter
from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView

TYPE: Final = "RedisDegraded"
REASONS: Final = {
    "away": (
        "Unreachable",
        "does not answer: see redis.url, whether it runs, and whether a NetworkPolicy is in between",
    ),
    "login": ("LoginRefused", "refuses the login or the keys: see redis.passwordSecretRef, and the rights of the user"),
    "read_only": ("ReadOnly", "is a read-only replica: set redis.url to the name that leads to the master"),
    "full": ("OutOfMemory", "takes no writes, as its memory is full: raise its maxmemory"),
    "refuses": ("Refused", "refuses to write: see its log"),
}
"""By a pod's word: the reason, and what is the case."""


def redis(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """None where no Redis is configured, or no pod could say how it does."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    saying = [view.lease for view in pods if view.lease is not None and view.lease.held_by(view.pod.ref.uid)]
    if settings is None or settings.redis is None or not saying:
        return None
    troubles = Counter(lease.redis for lease in saying if lease.redis)
    if not troubles:
        return Verdict(TYPE, "False", "Answering", "no pod is kept from Redis")
    worst = max(troubles, key=lambda trouble: (troubles[trouble], trouble))
    reason, text = REASONS.get(worst, REASONS["refuses"])
    count = f"{troubles[worst]} of {len(saying)} pods"
    return Verdict(TYPE, "True", reason, f"Redis {text} ({count}); notifications wait for it for 15 minutes")

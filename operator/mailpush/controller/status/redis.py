"""The conditions RedisDegraded, whether the pods can claim mails in Redis before they notify, and CheckpointsVolatile,
whether what they have told is kept where the next owner of a user finds it (protocol P15). Pure.
"""

from collections import Counter
from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView

TYPE: Final = "RedisDegraded"
VOLATILE: Final = "CheckpointsVolatile"
REASONS: Final = {
    "away": (
        "Unreachable",
        "does not answer: see redis.url, whether it runs, and whether a NetworkPolicy is in between",
    ),
    "login": ("LoginRefused", "refuses the login or the keys: see redis.passwordSecretRef, and the rights of the user"),
    "read_only": ("ReadOnly", "is a read-only replica: set redis.url to the name that leads to the master"),
    "full": ("OutOfMemory", "takes no writes, as its memory is full: raise its maxmemory"),
    "invalid": ("Invalid", "cannot be used: see redis.url, and the certificates that redis.caSecretRef names"),
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
    text = (
        f"Redis {text} ({count}); pods notify their own users without it, and write it down later; those of users whom "
        "they have got from a lost pod wait, for 15 minutes"
    )
    return Verdict(TYPE, "True", reason, text)


def checkpoints_volatile(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """None before anybody has said how many pods are wanted."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    if settings is None or not state.wanted_replicas:
        return None
    if settings.redis is None:
        if state.wanted_replicas > 1:
            text = (
                "each pod remembers by itself which mails it has told and up to where: after a move or a restart some "
                "are told twice or not at all; set redis.url"
            )
            return Verdict(VOLATILE, "True", "SeveralReplicas", text)
        text = "the one pod remembers what it has told; a restart begins with what comes then"
        return Verdict(VOLATILE, "False", "OneReplica", text)
    if (degraded := redis(state, pods)) is not None and degraded.status == "True":
        text = "pods remember by themselves what they tell until Redis answers, and give no users away meanwhile"
        return Verdict(VOLATILE, "True", "RedisAway", text)
    return Verdict(VOLATILE, "False", "InRedis", "the next owner of a user finds there what was told")

"""The condition RedisMayEvict: whether Redis may forget what has been told. Pure."""

from collections import Counter
from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView

TYPE: Final = "RedisMayEvict"
NO_EVICTION: Final = "noeviction"


def redis_may_evict(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """None where no Redis is configured, or no pod could say how it does."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    saying = [view.lease for view in pods if view.lease is not None and view.lease.held_by(view.pod.ref.uid)]
    if settings is None or settings.redis is None or not saying:
        return None
    policies = Counter(lease.eviction for lease in saying if lease.eviction)
    if evicting := sorted(set(policies) - {NO_EVICTION}):
        text = (
            f"Redis has maxmemory-policy {', '.join(evicting)}: when its memory is full it forgets which mails have "
            f"notified, and they may notify twice; set {NO_EVICTION}"
        )
        return Verdict(TYPE, "True", "EvictionPolicy", text)
    if policies:
        return Verdict(TYPE, "False", "NoEviction", "Redis forgets nothing before its time")
    text = f"Redis has not said its maxmemory-policy, by INFO or CONFIG GET; it has to be {NO_EVICTION}"
    return Verdict(TYPE, "Unknown", "NotKnown", text)

"""The condition TransportDegraded: which targets of notifications the pods do not get through to. Pure."""

from collections import Counter
from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView

TYPE: Final = "TransportDegraded"
NAMED: Final = 8


def transports(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """None where there is no target, or no pod that could say how it does."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    saying = [view.lease for view in pods if view.lease is not None and view.lease.held_by(view.pod.ref.uid)]
    if settings is None or not settings.webhooks or not saying:
        return None
    wanted = {webhook.name for webhook in settings.webhooks}
    troubles = Counter((name, why) for lease in saying for name, why in lease.degraded.items() if name in wanted)
    if not troubles:
        return Verdict(TYPE, "False", "Delivering", "no target of notifications is in trouble")
    listed = [f"{name} ({why}, {count} of {len(saying)} pods)" for (name, why), count in sorted(troubles.items())]
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    text = f"notifications do not get through to {', '.join(listed[:NAMED])}{more}; they are tried for 15 minutes"
    return Verdict(TYPE, "True", "TargetsFailing", text)

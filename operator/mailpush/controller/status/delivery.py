"""The condition TransportDegraded: which targets of notifications the pods do not get through to. Pure."""

from collections import Counter
from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView

TYPE: Final = "TransportDegraded"
NAMED: Final = 8

_LOGIN: Final = "it does not take our signature or login: compare secretRef with the receiver's secret"
_ADDRESS: Final = "it has nothing at this address: set url"
_MESSAGE: Final = "it refuses the messages themselves, which are dropped: see its log"
ADVICE: Final = {
    "http_401": _LOGIN,
    "http_403": _LOGIN,
    "http_404": _ADDRESS,
    "http_405": _ADDRESS,
    "gone": _ADDRESS,
    "redirect": "it redirects, which is not followed: set url to where it redirects",
    "http_407": "a proxy before it asks for a login",
    "http_400": _MESSAGE,
    "http_409": _MESSAGE,
    "http_413": _MESSAGE,
    "http_415": _MESSAGE,
    "http_422": _MESSAGE,
    "http_5xx": "it has a fault of its own: see its log",
    "throttled": "it asks for fewer requests",
    "timeout": "it does not answer within timeoutMilliseconds",
    "connection": "nothing listens there, or a NetworkPolicy is in between",
    "dns": "the host in url is not known",
    "certificate": "its certificate is not trusted, or is for another name",
    "tls": "it does not speak TLS as we do: see whether url is to begin with http://",
    "claims_unavailable": "Redis does not answer, and nothing is sent without it",
    "unusable": "its url or secret cannot be used: see ConfigurationValid and the pods' logs",
}
"""What a pod's word for a trouble means, and what to do."""


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
    listed = [
        f"{name} ({why}, {count} of {len(saying)} pods{_advice(why)})"
        for (name, why), count in sorted(troubles.items())
    ]
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    text = f"notifications do not get through to {', '.join(listed[:NAMED])}{more}"
    if any(ADVICE.get(why) is not _MESSAGE for _, why in troubles):
        text += "; they are tried for 15 minutes"
    return Verdict(TYPE, "True", "TargetsFailing", text)


def _advice(why: str) -> str:
    return f": {ADVICE[why]}" if why in ADVICE else ""

"""The condition DoveadmDegraded: whether pods can ask Dovecot's doveadm, by which users are registered. Pure."""

from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView, saying
from mailpush.controller.status.troubles import common_trouble
from mailpush.decision.facts import site_facts
from mailpush.decision.mechanisms import may_use_doveadm

TYPE: Final = "DoveadmDegraded"
_ADVICE: Final = {
    "DoveadmUnreachable": (
        "no endpoint answers: see mailAccess.doveadm.endpoints and caSecretRef, Dovecot's inet_listener of service "
        "doveadm, and what lies between"
    ),
    "DoveadmUnauthorized": (
        "Dovecot does not take the key: put its doveadm_api_key into the Secret that mailAccess.doveadm.apiSecretRef "
        "names, or its doveadm_password with authentication: password"
    ),
    "DoveadmRefused": (
        "what answers is no doveadm HTTP API: see mailAccess.doveadm.endpoints, such as http://dovecot:8080/doveadm/v1"
    ),
}
_WAITS: Final = (
    "who is registered is so still, and Dovecot goes on calling for him; who is to be registered waits; the log of a "
    "listener pod says more, event doveadm_degraded"
)


def doveadm(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """None where doveadm registers nobody, or no pod has taken its Lease yet."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    leases = saying(pods)
    if settings is None or not leases or not may_use_doveadm(site_facts(settings)):
        return None
    return common_trouble(
        TYPE,
        [lease.doveadm for lease in leases.values()],
        fine="no pod is kept from doveadm",
        cannot="cannot ask doveadm",
        advice=_ADVICE,
        hint="see mailAccess.doveadm",
        waits=_WAITS,
    )

"""The condition CallbackDegraded: whether Dovecot calls for the users who are registered there. Pure."""

from collections import Counter
from typing import Final

from mailpush import names
from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView
from mailpush.packages import DOVECOT
from mailpush.sharding.leases import CallbackReport

TYPE: Final = "CallbackDegraded"
REASONS: Final = {
    "unauthorized": "WrongLogin",
    "unknown_user_form": "UnknownUserForm",
    "malformed": "MalformedCallbacks",
}
"""By what a pod calls the trouble."""
_DRIVER_LINE: Final = "push_notification_driver line, docs/dovecot.md"


def callbacks(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """None where Dovecot is not to call, or no pod could say whether it does."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    reports = [view.lease.callbacks for view in pods if view.lease is not None and view.lease.held_by(view.pod.ref.uid)]
    if settings is None or DOVECOT not in settings.packages or not reports:
        return None
    troubles = Counter(report.trouble for report in reports if report.trouble in REASONS)
    if troubles:
        worst = max(troubles, key=lambda trouble: (troubles[trouble], trouble))
        count = f"{troubles[worst]} of {len(reports)} pods"
        return Verdict(TYPE, "True", REASONS[worst], _sentence(state, worst, count))
    return _whether_it_calls(reports)


def _sentence(state: ConfigState, trouble: str, count: str) -> str:
    if trouble == "unauthorized":
        reference = state.evaluation.spec.callback.auth_secret_ref if state.evaluation is not None else None
        secret = reference.name if reference is not None else names.callback_secret_name(state.owner.name)
        return (
            f"callbacks come with a wrong login and are refused, so that nobody is notified of their mails ({count}): "
            f"put login and password of Secret {secret} into the URL of Dovecot's {_DRIVER_LINE}"
        )
    if trouble == "unknown_user_form":
        return (
            f"callbacks name no user that we could know, so that nobody is notified of their mails ({count}): "
            f"Dovecot needs user_from_metadata in its {_DRIVER_LINE}; where another program writes logins into the "
            "METADATA entry, set mechanisms.dovecot.userForm to login"
        )
    return f"callbacks come that cannot be read ({count}): see the pods' logs for callback_malformed"


def _whether_it_calls(reports: list[CallbackReport]) -> Verdict:
    if any(report.called for report in reports):
        return Verdict(TYPE, "False", "Called", "Dovecot calls, with the right login")
    if any(report.registered for report in reports):
        text = (
            "users are registered, but Dovecot has not called since the listener pods run; where mail has come for "
            f"them meanwhile, see that Dovecot has the {_DRIVER_LINE}, and reaches the Service in it"
        )
        return Verdict(TYPE, "Unknown", "NotCalledYet", text)
    return Verdict(TYPE, "False", "NothingRegistered", "nobody is registered at Dovecot, so it has no reason to call")

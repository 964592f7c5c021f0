"""The condition CallbackDegraded."""

import pytest

from mailpush.controller.status.callbacks import callbacks
from mailpush.controller.status.pod import PodView
from mailpush.listener.mails.calls import TROUBLES
from mailpush.sharding.leases import CallbackReport
from tests.unit.controller.builders import evaluation, state, view

QUIET, CALLED = CallbackReport(5), CallbackReport(5, called=True)


def pods(*reports: CallbackReport) -> tuple[PodView, ...]:
    return tuple(view(ordinal, callbacks=report) for ordinal, report in enumerate(reports))


@pytest.mark.parametrize(
    ("reports", "status", "reason"),
    [
        ((CallbackReport(), CallbackReport()), "False", "NothingRegistered"),
        ((QUIET, QUIET), "Unknown", "NotCalledYet"),
        ((QUIET, CALLED), "False", "Called"),
        ((QUIET, CallbackReport(5, trouble="unauthorized")), "True", "WrongLogin"),
        ((CALLED, CallbackReport(0, True, "unauthorized")), "True", "WrongLogin"),
        ((CallbackReport(5, trouble="unknown_user_form"),), "True", "UnknownUserForm"),
        ((CallbackReport(5, trouble="a word of a later version"),), "Unknown", "NotCalledYet"),
    ],
)
def test_a_quiet_installation_is_not_degraded_and_not_said_to_be_called(
    reports: tuple[CallbackReport, ...], status: str, reason: str
) -> None:
    verdict = callbacks(state(), pods(*reports))
    assert verdict is not None
    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize("trouble", sorted(TROUBLES))
def test_each_trouble_has_a_reason_and_says_how_many_pods_have_it(trouble: str) -> None:
    verdict = callbacks(state(), pods(CallbackReport(1, True, trouble), CALLED))
    assert verdict is not None
    assert verdict.status == "True"
    assert "1 of 2 pods" in verdict.message


@pytest.mark.parametrize(("callback", "name"), [({}, "mail-push-main-callback"), ({"name": "mine"}, "mine")])
def test_a_wrong_login_names_the_secret_that_has_the_right_one(callback: dict[str, str], name: str) -> None:
    found = state(evaluation(callback={"authSecretRef": callback} if callback else {}))
    verdict = callbacks(found, pods(CallbackReport(5, trouble="unauthorized")))
    assert verdict is not None
    assert f"Secret {name} " in verdict.message


def test_where_dovecot_is_not_to_call_or_nobody_can_know_it_is_left_out() -> None:
    idle = {"status": {"open-xchange-push-imapidle": "enabled"}}
    assert callbacks(state(evaluation(packages=idle)), pods(QUIET)) is None
    assert callbacks(state(), ()) is None
    assert callbacks(state(), (view(0, holder=None, callbacks=CALLED),)) is None

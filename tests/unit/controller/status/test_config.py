"""What the status of a MailPushConfig says, row by row."""

from typing import Any

import pytest

from mailpush.api.conditions import find
from mailpush.api.mailpushconfig_status import MOST_PACKAGES, MailPushConfigStatus
from mailpush.controller.state import ConfigState
from mailpush.controller.status.config import config_status, same_status
from mailpush.controller.status.pod import PodView
from mailpush.controller.status.shard_map import MapView
from mailpush.packages import DOVECOT, IMAPIDLE
from mailpush.properties.keys import ALLOW_PERMANENT_PUSH, DOVECOT_ENABLED
from mailpush.properties.secrets import MASTER_PASSWORD, ResolvedSecrets
from mailpush.sharding.planning.death import PodLife
from tests.unit.controller.builders import evaluation, pod, state, view

NOW = "2026-01-01T00:00:00Z"
SETTLED = MapView(epoch=7, pods=2)


def condition(found: ConfigState, type_: str, *pods: PodView, shard_map: MapView = SETTLED) -> tuple[str, str, str]:
    status = config_status(found, pods, shard_map, {}, NOW)
    said = find(status["conditions"], type_)
    assert said is not None
    return said["status"], said["reason"], said["message"]


READY: tuple[tuple[dict[str, Any], tuple[PodView, ...], MapView, str, str], ...] = (
    ({}, (view(0), view(1)), SETTLED, "True", "Listening"),
    ({}, (view(0), view(1, life=PodLife.EXPIRED)), SETTLED, "True", "Listening"),
    ({}, (), SETTLED, "False", "NoneCapable"),
    ({}, (view(0, capable=False, reason="ConfigurationInvalid"),), SETTLED, "False", "NoneCapable"),
    ({}, (view(0), view(1)), MapView(unowned=4), "False", "Assigning"),
    ({}, (view(0), view(1)), MapView(restoring=True), "False", "Restoring"),
    ({"mailAccess": None}, (), SETTLED, "False", "MailAccessMissing"),
    ({"allowPermanentPush": False}, (view(0), view(1)), SETTLED, "False", "PermanentPushDisabled"),
    ({"listeners": {"replicas": 0}}, (), SETTLED, "False", "ListenersScaledToZero"),
    ({"packages": {"status": {}}}, (view(0), view(1)), SETTLED, "False", "NoPushPackage"),
    ({"packages": {"status": {IMAPIDLE: "enabled"}}}, (view(0), view(1)), SETTLED, "False", "PermanentNotSupported"),
    ({"mechanisms": {"dovecot": {"enabled": False}}}, (view(0), view(1)), SETTLED, "False", "MechanismDisabled"),
    ({"properties": {DOVECOT_ENABLED: "false"}}, (view(0), view(1)), SETTLED, "False", "MechanismDisabled"),
    ({"allowPermanentPush": False, "properties": {ALLOW_PERMANENT_PUSH: "true"}}, (view(0), view(1)), SETTLED, "True",
     "Listening"),
    ({"mechanisms": {"imapidle": {"accountId": 1}}}, (), SETTLED, "False", "NotYetSupported"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "pods", "shard_map", "status", "reason"), READY)
def test_ready_says_why_nobody_is_listened_for(
    changes: dict[str, Any], pods: tuple[PodView, ...], shard_map: MapView, status: str, reason: str
) -> None:
    said = condition(state(evaluation(**changes)), "Ready", *pods, shard_map=shard_map)
    assert said[:2] == (status, reason), said
    assert said[2]


def test_a_pod_that_is_to_take_no_users_is_not_missed() -> None:
    override = {"replicas": 2, "podOverrides": [{"ordinal": 1, "allowPermanentPush": False}]}
    excluded = view(1, capable=False, reason="PodExcluded")
    evaluated = evaluation(listeners=override)
    assert condition(state(evaluated), "ListenersAvailable", view(0), excluded)[:2] == ("True", "AllCapable")
    status, reason, message = condition(state(evaluated), "ListenersAvailable", excluded)
    assert (status, reason) == ("False", "NoneCapable")
    assert "mail-push-main-1" not in message


def test_packages_of_any_number_and_name_make_a_status_that_the_api_server_takes() -> None:
    names = [f"{number}{'n' * 250}" for number in range(254)] + ["", " ", "n" * 300, "a,b"]
    evaluated = evaluation(
        features={"status": dict.fromkeys(names[2:], "enabled")},
        packages={"status": dict.fromkeys([f"p{name}"[:253] for name in names[:254]], "disabled")},
    )
    status = config_status(state(evaluated), (), SETTLED, {}, NOW)
    found = MailPushConfigStatus.model_validate(status)
    assert len(found.packages) == MOST_PACKAGES
    assert found.packages[0].name == DOVECOT


VALID: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({}, "True", "Valid"),
    ({"listeners": {"replicas": 0}}, "True", "Valid"),
    ({"allowPermanentPush": False}, "True", "Valid"),
    ({"mailAccess": None}, "False", "MailAccessMissing"),
    ({"packages": {"status": {}}}, "False", "NoPushPackage"),
)


@pytest.mark.parametrize(("changes", "status", "reason"), VALID)
def test_what_is_switched_off_on_purpose_is_valid(changes: dict[str, Any], status: str, reason: str) -> None:
    assert condition(state(evaluation(**changes)), "ConfigurationValid")[:2] == (status, reason)


def test_missing_mail_access_names_the_values_to_add() -> None:
    said = condition(state(evaluation(mailAccess=None)), "Ready")
    assert "mailAccess.servers" in said[2]
    assert "mailPushConfig.spec.mailAccess.passwordSource" in said[2]


def test_a_missing_secret_is_named_by_its_field() -> None:
    resolved = ResolvedSecrets(hash_key=b"k", missing=(MASTER_PASSWORD,))
    said = condition(state(evaluation(resolved)), "ConfigurationValid")
    assert said[1] == "SecretNotFound"
    assert MASTER_PASSWORD in said[2]


def test_a_refused_child_is_told_in_the_servers_words() -> None:
    said = condition(state(fault='Service "x" is invalid: spec.ports: Required value'), "Ready", view(0))
    assert said == ("False", "ReconcileFailed", 'Service "x" is invalid: spec.ports: Required value')


EXCUSES: tuple[tuple[PodView, str], ...] = (
    (view(0, life=PodLife.UNCERTAIN), "has not renewed its Lease lately"),
    (view(0, holder=None), "has not taken its Lease yet"),
    (view(0, draining=True), "is draining"),
    (view(0, deleting=True), "is ending"),
    (view(0, capable=False, reason="ConfigurationInvalid"), "is not capable (ConfigurationInvalid)"),
    (PodView(pod(0), None, PodLife.UNSEEN), "has not taken its Lease yet"),
    (
        PodView(pod(0, trouble="ErrImageNeverPull: it is not there"), None, PodLife.UNSEEN),
        "has not taken its Lease yet (ErrImageNeverPull: it is not there)",
    ),
)


@pytest.mark.parametrize(("one", "excuse"), EXCUSES)
def test_each_pod_that_takes_no_users_is_named_with_the_reason(one: PodView, excuse: str) -> None:
    status, reason, message = condition(state(), "ListenersAvailable", one, view(1))
    assert (status, reason) == ("False", "SomeMissing")
    assert f"mail-push-main-0 {excuse}" in message


def test_pods_that_do_not_exist_are_counted_as_missing() -> None:
    found = state(evaluation(listeners={"replicas": 20}))
    message = condition(found, "ListenersAvailable", view(0))[2]
    assert message.startswith("1 of 20 pods take users: 19 pods do not exist yet (kubectl describe statefulset ")


def test_a_warning_does_not_make_it_unready() -> None:
    found = state(evaluation(properties={"com.openexchange.push.allowedClient": "phone*"}))
    status, _, message = condition(found, "Warning", view(0), view(1))
    assert status == "True"
    assert "allowedClient" in message
    assert condition(found, "Ready", view(0), view(1))[0] == "True"


def test_ready_says_that_nobody_is_told_of_those_who_are_listened_for() -> None:
    _, _, message = condition(state(), "Ready", view(0), view(1))
    assert "but transports.webhooks is empty" in message
    assert "but listeners.replicas is 2 without redis" in message
    told = {"webhooks": [{"name": "devices", "url": "https://example.org/hook"}]}
    found = state(evaluation(transports=told, redis={"url": "redis://r"}))
    assert "but" not in condition(found, "Ready", view(0), view(1))[2]
    message = condition(found, "Ready", view(0, degraded={"devices": "http_401"}), view(1))[2]
    assert message.endswith("; but see TransportDegraded")


def test_the_annotation_before_an_uninstall_is_told() -> None:
    said = condition(state(evaluation(unregister=True)), "Ready", view(0), view(1))
    assert said[:2] == ("False", "Unregistering")
    assert "mailpush.dev/unregister" in said[2]


def test_counts_are_those_of_the_pods_that_hold_their_leases() -> None:
    counts = {"assigned": 3, "listening": 2, "failed": 1}
    stranger = view(1, counts=counts)
    former = PodView(pod(2), stranger.lease, PodLife.ALIVE)  # another pod's UID holds it
    pods = (view(0, counts=counts), stranger, former)
    denied = {"Suspended": 2, "ClientNotAllowed": 2}
    listeners = config_status(state(), pods, SETTLED, denied, NOW)["listeners"]
    assert (listeners["assigned"], listeners["running"], listeners["failed"]) == (6, 4, 2)
    assert listeners["denied"] == [{"reason": "ClientNotAllowed", "count": 2}, {"reason": "Suspended", "count": 2}]
    assert listeners["pods"] == 3


def test_the_time_of_a_condition_changes_only_with_its_status() -> None:
    found = state()
    before = config_status(found, (view(0), view(1)), SETTLED, {}, NOW)
    found.body_status = before
    found.generation = 4
    after = config_status(found, (view(0), view(1, life=PodLife.EXPIRED)), SETTLED, {}, "2026-01-02T00:00:00Z")
    times = {item["type"]: (item["lastTransitionTime"], item["observedGeneration"]) for item in after["conditions"]}
    assert times["Ready"] == (NOW, 4)
    assert times["ListenersAvailable"] == ("2026-01-02T00:00:00Z", 4)


def test_a_status_is_written_once_and_is_what_the_crd_takes() -> None:
    found = state()
    status = config_status(found, (view(0),), SETTLED, {}, NOW)
    assert not same_status({}, status)
    assert same_status({**status, "of another version": 1}, status)
    MailPushConfigStatus.model_validate(status)

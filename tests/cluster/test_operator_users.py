"""The operator on a real API server: what it writes to PushUsers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from mailpush import names
from mailpush.sharding.slots import slot_of
from tests.sites.namespace import wait_for
from tests.sites.operator import OperatorSite, running


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[OperatorSite]:
    """One operator for all tests of this file; each leaves the MailPushConfig `main` as it found it."""
    with running(control_plane, "operator-users") as site:
        yield site


def test_users_are_labelled_and_labels_are_put_right(site: OperatorSite) -> None:
    site.register(30)

    def labels() -> dict[str, str]:
        found: dict[str, str] = (site.namespace.get("pu", "main-1-30") or {})["metadata"].get("labels", {})
        return found

    right = {names.CONFIG_LABEL: "main", names.SLOT_LABEL: str(slot_of(1, 30))}
    wait_for("labels", lambda: labels() == right)
    site.namespace.kubectl("label", "--overwrite", "pu", "main-1-30", f"{names.SLOT_LABEL}=5")
    wait_for("labels put right", lambda: labels() == right)
    site.namespace.kubectl("delete", "pu", "main-1-30")


USERS: tuple[tuple[int, dict[str, Any], str, str], ...] = (
    (31, {}, "True", "Accepted"),
    (32, {"clients": ["some-other-client"]}, "False", "ClientNotAllowed"),
    (33, {"clients": []}, "False", "NotRegistered"),
    (34, {"suspend": True}, "False", "Suspended"),
    (35, {"server": "unheard-of"}, "False", "ServerUnknown"),
)


@pytest.mark.parametrize(("number", "spec", "status", "reason"), USERS)
def test_each_user_is_told_whether_it_may_have_a_listener(
    site: OperatorSite, number: int, spec: dict[str, Any], status: str, reason: str
) -> None:
    site.register(number, **spec)
    site.wait_condition("pu", f"main-1-{number}", "Accepted", status=status, reason=reason)
    site.namespace.kubectl("delete", "pu", f"main-1-{number}")


def test_a_change_of_the_settings_changes_the_users_conditions(site: OperatorSite) -> None:
    site.register(36)
    site.wait_condition("pu", "main-1-36", "Accepted", status="True")
    site.config(allowedClients=["USM-EAS*"])
    site.wait_condition("pu", "main-1-36", "Accepted", status="False", reason="ClientNotAllowed")
    site.config()
    site.wait_condition("pu", "main-1-36", "Accepted", status="True")
    site.namespace.kubectl("delete", "pu", "main-1-36")


def test_a_user_of_no_mail_push_config_is_told_so(site: OperatorSite) -> None:
    site.register(37, config="nobody")
    site.wait_condition("pu", "nobody-1-37", "Accepted", status="False", reason="ConfigNotFound")
    site.wait_condition("pu", "nobody-1-37", "Ready", status="False", reason="ConfigNotFound")
    site.namespace.kubectl("delete", "pu", "nobody-1-37")


def test_a_users_secret_decides_where_each_has_its_own_password(site: OperatorSite) -> None:
    access = {"passwordSource": "session", "userSecrets": {"enabled": True}, "servers": [{"host": "dovecot"}]}
    site.config("own", mailAccess=access)
    site.secret("u38", permitted=False, password="mine")
    site.register(38, config="own", credentialsSecretRef={"name": "u38"})
    site.wait_condition("pu", "own-1-38", "Accepted", status="False", reason="SecretNotPermitted")
    site.namespace.kubectl("label", "secret", "u38", f"{names.USE_LABEL}=user-password", "--overwrite")
    site.namespace.kubectl("annotate", "secret", "u38", f"{names.PUSH_USERS_ANNOTATION}=own-1-37,own-1-38")
    site.wait_condition("pu", "own-1-38", "Accepted", status="True")
    before = secret_version(site)
    site.secret("u38", password="changed")
    wait_for("the operator to announce the change", lambda: secret_version(site) != before)
    secret = site.namespace.get("secret", "u38") or {}
    assert secret_version(site) == secret["metadata"]["resourceVersion"]
    site.namespace.kubectl("delete", "secret", "u38")
    site.wait_condition("pu", "own-1-38", "Accepted", status="False", reason="PasswordMissing")
    assert secret_version(site) == "0"
    site.namespace.kubectl("delete", "pu", "own-1-38")
    site.namespace.kubectl("delete", "mpc", "own")


def secret_version(site: OperatorSite) -> str | None:
    found = site.namespace.get("pu", "own-1-38") or {}
    version: str | None = found["status"].get("secretVersion")
    return version


def finalizers(site: OperatorSite, number: int) -> list[str] | None:
    found = site.namespace.get("pu", f"main-1-{number}")
    return None if found is None else found["metadata"].get("finalizers", [])


def test_the_finalizer_is_there_while_a_registration_is_and_goes_when_the_pod_says_so(site: OperatorSite) -> None:
    site.register(39)
    site.wait_condition("pu", "main-1-39", "Accepted", status="True")
    assert finalizers(site, 39) == []
    site.listener_says(39, "True", "Registered")
    wait_for("the finalizer", lambda: finalizers(site, 39) == [names.FINALIZER])
    site.namespace.kubectl("delete", "pu", "main-1-39", "--wait=false")
    site.register(41)
    site.wait_condition("pu", "main-1-41", "Accepted", status="True")  # which came after it: it was looked at by now
    assert finalizers(site, 39) == [names.FINALIZER]
    site.namespace.kubectl("delete", "pu", "main-1-41")
    site.listener_says(39, "False", "Unregistered")
    wait_for("it is gone", lambda: finalizers(site, 39) is None)
    assert site.condition("pu", "main-1-39", "Accepted") == {}


def test_users_of_a_mail_push_config_that_is_gone_can_be_deleted(site: OperatorSite) -> None:
    site.config("short")
    site.register(40, config="short")
    site.wait_condition("pu", "short-1-40", "Accepted", status="True")
    patch = json.dumps({"metadata": {"finalizers": [names.FINALIZER]}})
    site.namespace.kubectl("patch", "pu", "short-1-40", "--type=merge", "-p", patch)
    site.namespace.kubectl("delete", "pu", "short-1-40", "--wait=false")
    site.namespace.kubectl("delete", "mpc", "short")
    wait_for("it is gone", lambda: site.namespace.get("pu", "short-1-40") is None)

"""What of the operator's objects outlives a MailPushConfig, since a Dovecot outside of the cluster knows it, and what
does not: on a real API server with a real garbage collector."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from mailpush import names
from tests.sites.namespace import wait_for
from tests.sites.operator import OperatorSite, running

CALLBACK = ("secret", "mail-push-main-callback")
SERVICE = ("service", "mail-push-main")


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[OperatorSite]:
    with running(control_plane, "operator-secrets") as site:
        yield site


def owners(secret: dict[str, Any]) -> list[str]:
    return [reference["kind"] for reference in secret["metadata"].get("ownerReferences", [])]


def owner_of(site: OperatorSite) -> dict[str, Any]:
    """The ownerReference of the MailPushConfig's children."""
    config = site.namespace.get("mpc", "main") or {}
    return {
        "apiVersion": names.API_VERSION,
        "kind": "MailPushConfig",
        "name": "main",
        "uid": config["metadata"]["uid"],
        "controller": True,
    }


def delete_config(site: OperatorSite) -> None:
    """Deletes it and waits until the garbage collector has taken what belongs to it."""
    site.namespace.kubectl("delete", "mpc", "main")
    for kind, name in (
        ("secret", "mail-push-main-internal"),
        ("statefulset", "mail-push-main"),
        ("service", "mail-push-main-pods"),
    ):
        wait_for(f"{kind} {name} goes", lambda: site.namespace.get(kind, name) is None)  # noqa: B023


def test_dovecot_s_password_stays_the_same_over_deletion_and_installation_again(site: OperatorSite) -> None:
    before = wait_for("the Secret", lambda: site.namespace.get(*CALLBACK))
    delete_config(site)
    left = site.namespace.get(*CALLBACK)
    assert left is not None
    assert left["metadata"]["uid"] == before["metadata"]["uid"]
    site.config()
    site.wait_condition("mpc", "main", "ConfigurationValid", status="True")
    rendered = wait_for("its properties", lambda: site.namespace.get("secret", "mail-push-main-secrets"))
    assert rendered["data"]
    assert (site.namespace.get(*CALLBACK) or {})["data"] == before["data"]


def test_the_address_that_dovecot_calls_stays_the_same_over_deletion_and_installation_again(site: OperatorSite) -> None:
    """Dovecot looks it up once in half an hour."""
    before = wait_for("the Service", lambda: site.namespace.get(*SERVICE))
    # As an older version has made it: with an owner, which the same manager takes off.
    reference = {**owner_of(site), "blockOwnerDeletion": False}
    older = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE[1], "labels": before["metadata"]["labels"], "ownerReferences": [reference]},
        "spec": {key: before["spec"][key] for key in ("type", "selector", "ports")},
    }
    manager = ("--server-side", "--force-conflicts", f"--field-manager={names.OPERATOR_MANAGER}")
    site.namespace.kubectl("apply", *manager, "-f", "-", input=json.dumps(older))
    wait_for("the owner is taken off", lambda: owners(site.namespace.get(*SERVICE) or older) == [])
    delete_config(site)
    assert site.namespace.get("service", "mail-push-main-pods") is None
    site.config()
    site.wait_condition("mpc", "main", "ConfigurationValid", status="True")
    wait_for("the other Service", lambda: site.namespace.get("service", "mail-push-main-pods"))
    after = site.namespace.get(*SERVICE) or {}
    assert (after["metadata"]["uid"], after["spec"]["clusterIP"]) == (
        before["metadata"]["uid"],
        before["spec"]["clusterIP"],
    )


def test_a_secret_of_an_older_version_loses_its_owner_and_then_outlives_it(site: OperatorSite) -> None:
    patch = json.dumps({"metadata": {"ownerReferences": [owner_of(site)]}})
    before = site.namespace.get(*CALLBACK) or {}
    site.namespace.kubectl("patch", *CALLBACK, "--type=merge", "-p", patch)
    wait_for("the owner is taken off", lambda: owners(site.namespace.get(*CALLBACK) or before) == [])
    delete_config(site)
    assert (site.namespace.get(*CALLBACK) or {})["data"] == before["data"]
    site.config()
    site.wait_condition("mpc", "main", "ConfigurationValid", status="True")


def test_a_passcrypt_is_made_once_and_is_the_same_after_an_uninstall_and_the_next_install(site: OperatorSite) -> None:
    secret = ("secret", "mail-push-storing-passcrypt")
    storing: dict[str, Any] = {
        "credentialStorage": {"enabled": True, "generatePasscrypt": True},
        "redis": {"url": "redis://redis:6379/0"},
    }
    site.config("storing", **storing)
    before = wait_for("the Secret", lambda: site.namespace.get(*secret))
    site.wait_condition("mpc", "storing", "ConfigurationValid", status="True")
    site.config("storing", **{**storing, "listeners": {"replicas": 1}})
    site.namespace.kubectl("delete", "mpc", "storing")
    wait_for("its Secret of keys goes", lambda: site.namespace.get("secret", "mail-push-storing-internal") is None)
    site.config("storing", **storing)
    site.wait_condition("mpc", "storing", "ConfigurationValid", status="True")
    after = site.namespace.get(*secret) or {}
    assert (after["metadata"]["uid"], after["data"]) == (before["metadata"]["uid"], before["data"])
    rendered = wait_for("its properties", lambda: site.namespace.get("secret", "mail-push-storing-secrets"))
    passcrypt = base64.b64decode(before["data"]["passcrypt"]).decode()
    files = "".join(base64.b64decode(value).decode() for value in rendered["data"].values())
    assert f"com.openexchange.push.credstorage.passcrypt={passcrypt}" in files
    site.namespace.kubectl("delete", "mpc", "storing")


def test_another_s_secret_of_the_name_is_left_alone_and_named_until_it_is_away(site: OperatorSite) -> None:
    name = "mail-push-foreign-callback"
    site.namespace.kubectl("create", "secret", "generic", name, "--from-literal=password=theirs")
    before = site.namespace.get("secret", name)
    site.config("foreign")
    said = site.wait_condition("mpc", "foreign", "Ready", status="False")
    assert f"the Secret {name} is not Mail Push's own" in said["message"]
    assert site.namespace.get("secret", name) == before
    site.namespace.kubectl("delete", "secret", name)
    site.wait_condition("mpc", "foreign", "ConfigurationValid", status="True")
    site.namespace.kubectl("delete", "mpc", "foreign")


def test_a_deleted_service_account_comes_back_and_the_pods_with_its_former_tokens_are_replaced(
    site: OperatorSite,
) -> None:
    """They were refused with 401 until a kubelet fetched new tokens, most of an hour later, and looked ready."""
    account = ("serviceaccount", "mail-push-main-listener")
    selector = f"{names.CONFIG_LABEL}=main"

    def pods() -> set[str]:
        found = site.namespace.list("pods", selector)
        return {pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}

    before = wait_for("the pods", lambda: found if len(found := pods()) == 2 else None)
    first = wait_for("the account", lambda: site.namespace.get(*account))["metadata"]["uid"]
    site.namespace.kubectl("delete", *account)
    again = wait_for("it comes back", lambda: site.namespace.get(*account))["metadata"]["uid"]
    assert again != first
    wait_for("other pods", lambda: len(found := pods()) == 2 and not found & before)
    accounts = {
        pod["metadata"]["annotations"][names.ACCOUNT_ANNOTATION] for pod in site.namespace.list("pods", selector)
    }
    assert accounts == {again}

"""As openDesk has it, without any password: users are registered at Dovecot by doveadm, with Dovecot's own key."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from dev.processes import run
from tests.sites.mail import MailSite, condition
from tests.sites.namespace import Namespace

KUBECTL_MAILPUSH = Path(sys.executable).parent / "kubectl-mailpush"
USERS = (3, 4, 5, 6)
WRONG = "planted-wrong-key"


class Site(MailSite):
    """Nobody logs in at IMAP: there is neither a master user nor any user's password."""

    def manifest(self) -> dict[str, Any]:
        manifest = super().manifest()
        servers = manifest["spec"]["mailAccess"]["servers"]
        manifest["spec"]["mailAccess"] = {
            "passwordSource": "session",
            "servers": servers,
            "doveadm": {
                "enabled": True,
                "endpoints": [self.dovecot.doveadm_url],
                "apiSecretRef": {"name": "doveadm", "key": "apiKey"},
            },
        }
        return manifest

    def configure(self, **spec: Any) -> None:
        manifest = self.manifest()
        manifest["spec"] |= spec
        self.namespace.apply(json.dumps(manifest))

    def condition(self, type_: str) -> tuple[str, str]:
        """Status and reason of a condition of the MailPushConfig."""
        found = self.namespace.get("mailpushconfig", "main") or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next(((one["status"], one["reason"]) for one in conditions if one["type"] == type_), ("", ""))

    def entries(self) -> dict[int, str | None]:
        return {number: self.dovecot.metadata(f"u{number}") for number in USERS}


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[Site]:
    control_plane.kubectl("create", "namespace", "doveadm", check=True)
    site = Site(Namespace(control_plane, "doveadm"), replicas=2)
    try:
        site.secret("doveadm", apiKey=site.dovecot.api_key)
        site.install()
        site.start_pods()
        site.register(*USERS)
        site.wait_listening(*USERS)
        yield site
    finally:
        site.close()
        control_plane.kubectl("delete", "namespace", "doveadm", "--wait=false")


def deliver(site: Site, subject: str, *users: int) -> list[str]:
    subjects = [f"{subject} {number}" for number in users]
    for number, text in zip(users, subjects, strict=True):
        site.dovecot.deliver(f"u{number}", subject=text)
    return subjects


def test_a_user_without_any_password_is_registered_and_notified(site: Site) -> None:
    assert site.entries() == {number: f"user={number}@1" for number in USERS}
    site.told_once(deliver(site, "by doveadm", *USERS))
    found = site.users()
    assert {found[number]["reason"] for number in USERS} == {"Registered"}
    assert {found[number]["credentials"]["source"] for number in USERS} == {"doveadm"}
    assert all(found[number]["credentials"].get("lastWorked") for number in USERS)
    site.wait_for("green", lambda: site.condition("DoveadmDegraded") == ("False", "Answering"))
    site.wait_for("ready", lambda: site.condition("Ready") == ("True", "Listening"))
    assert "Login: user=<" not in site.dovecot.log(), "nobody has logged in"


def test_explain_says_that_no_password_is_needed(site: Site) -> None:
    environment = {"KUBECONFIG": str(site.namespace.plane.kubeconfig)}
    said = run.quiet(KUBECTL_MAILPUSH, "explain", "1", "3", "-n", "doveadm", env=environment).stdout
    assert "a permanent listener is to run, by dovecot" in said
    assert "there is no password (PasswordMissing), so doveadm registers the user at Dovecot" in said


def test_a_key_that_dovecot_refuses_is_the_installations_trouble_and_nobodys_mail_is_lost(site: Site) -> None:
    site.secret("doveadm", apiKey=WRONG)
    site.wait_for("told", lambda: site.condition("DoveadmDegraded") == ("True", "DoveadmUnauthorized"))
    site.wait_for(
        "users say it", lambda: {one.get("reason") for one in site.users().values()} == {"DoveadmUnauthorized"}
    )
    site.told_once(deliver(site, "registered all the same", *USERS))
    site.secret("doveadm", apiKey=site.dovecot.api_key)
    site.wait_listening(*USERS)
    site.wait_for("over", lambda: site.condition("DoveadmDegraded") == ("False", "Answering"))


def test_who_is_suspended_or_deleted_is_unregistered_without_a_password(site: Site) -> None:
    site.register(3, suspend=True)
    site.namespace.kubectl("delete", "pushuser", "main-1-4", "--wait=false")
    site.wait_for("entries gone", lambda: (site.entries()[3], site.entries()[4]) == (None, None))
    site.wait_for("deleted", lambda: 4 not in site.users())
    assert site.entries()[5] == "user=5@1"
    site.register(3, suspend=False)
    site.register(4)
    site.wait_listening(3, 4)
    site.told_once(deliver(site, "again", 3, 4))


def test_a_user_whom_dovecot_does_not_know_and_one_whose_login_is_a_pattern_say_so(site: Site) -> None:
    site.register(17, login="no such")
    site.register(18, login="u*")
    site.wait_for("said", lambda: site.users().get(17, {}).get("reason") == "NoSuchUser")
    site.wait_for("said", lambda: site.users().get(18, {}).get("reason") == "LoginUnusable")
    assert site.condition("DoveadmDegraded") == ("False", "Answering"), "that is theirs, and not Dovecot's"
    assert site.entries() == {number: f"user={number}@1" for number in USERS}
    site.namespace.kubectl("delete", "pushuser", "main-1-17", "main-1-18", "--wait=false")
    site.wait_for("deleted", lambda: not {17, 18} & set(site.users()), 120)


def test_the_key_stands_nowhere(site: Site) -> None:
    said = (
        site.logs()
        + site.dovecot.log()
        + json.dumps(site.users())
        + site.namespace.kubectl("get", "events,cm,leases,mailpushconfigs", "-o", "json")
    )
    for secret in (WRONG, site.dovecot.api_key):
        assert secret not in said
    assert all(condition(one, "Listening") == "True" for one in site.users().values())

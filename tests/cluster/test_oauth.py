"""As openDesk has it: XOAUTH2 with tokens of an endpoint, by registrations at Dovecot and by IDLE."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from dev.services.authorization import CLIENT, AuthorizationServer, Trouble
from dev.services.oauth import OAuth
from tests.sites.mail import MailSite
from tests.sites.namespace import Namespace

USERS = (3, 4, 5, 6)


class Site(MailSite):
    """Nobody has a password: the client opens each mailbox by a token."""

    def __init__(self, namespace: Namespace) -> None:
        self.authorization = AuthorizationServer.start()
        oauth = OAuth(key=self.authorization.key, client_for_all=True)
        super().__init__(namespace, replicas=2, oauth=oauth)

    def manifest(self) -> dict[str, Any]:
        manifest = super().manifest()
        access = manifest["spec"]["mailAccess"]
        manifest["spec"]["mailAccess"] = {
            "passwordSource": "session",
            "servers": access["servers"],
            "oauth": {
                "enabled": True,
                "mechanism": "XOAUTH2",
                "tokenEndpoint": {
                    "url": self.authorization.token_url,
                    "clientId": CLIENT,
                    "clientSecretRef": {"name": "oauth", "key": "clientSecret"},
                    "scope": "mail",
                },
            },
        }
        return manifest

    def configure(self, **spec: Any) -> None:
        manifest = self.manifest()
        manifest["spec"] |= spec
        self.namespace.apply(json.dumps(manifest))

    def reasons(self) -> set[str | None]:
        found = self.users()
        return {found[number].get("reason") for number in USERS}

    def condition(self, type_: str) -> tuple[str, str]:
        """Status and reason of a condition of the MailPushConfig."""
        found = self.namespace.get("mailpushconfig", "main") or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next(((one["status"], one["reason"]) for one in conditions if one["type"] == type_), ("", ""))

    def close(self) -> None:
        super().close()
        self.authorization.close()


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[Site]:
    control_plane.kubectl("create", "namespace", "oauth", check=True)
    site = Site(Namespace(control_plane, "oauth"))
    try:
        site.secret("oauth", clientSecret=site.authorization.client_secret)
        site.install()
        site.start_pods()
        site.register(*USERS)
        site.wait_listening(*USERS)
        yield site
    finally:
        site.close()
        control_plane.kubectl("delete", "namespace", "oauth", "--wait=false")


def deliver(site: Site, subject: str) -> list[str]:
    subjects = [f"{subject} {number}" for number in USERS]
    for number, text in zip(USERS, subjects, strict=True):
        site.dovecot.deliver(f"u{number}", subject=text)
    return subjects


def test_users_without_a_password_are_registered_by_one_token_of_each_pod(site: Site) -> None:
    assert site.reasons() == {"Registered"}
    site.told_once(deliver(site, "by a token"))
    assert len(site.authorization.given) <= len(site.pods)
    assert {found["credentials"]["source"] for found in site.users().values()} == {"oauth"}
    assert "method=XOAUTH2" in site.dovecot.log()


def test_idle_works_by_tokens_as_well(site: Site) -> None:
    idle = {"open-xchange-push-dovecot": "disabled", "open-xchange-push-imapidle": "enabled"}
    site.configure(packages={"status": idle}, mechanisms={"imapidle": {"supportsPermanentListeners": True}})
    site.wait_for("all in IDLE", lambda: site.reasons() == {"Idling"})
    site.told_once(deliver(site, "in idle"))
    site.configure()
    site.wait_for("registered again", lambda: site.reasons() == {"Registered"})


def test_an_endpoint_that_is_down_delays_who_comes_and_nobody_else(site: Site) -> None:
    site.authorization.trouble = Trouble(status=503)
    try:
        site.secret("oauth", clientSecret=site.authorization.client_secret + " ")  # another client: no token is kept
        site.wait_for("no token", lambda: site.reasons() == {"TokenMissing"})
        site.wait_for("told", lambda: site.condition("AccessTokenDegraded") == ("True", "TokenEndpointUnavailable"))
        site.told_once(deliver(site, "registered all the same"))
    finally:
        site.authorization.trouble = Trouble()
        site.secret("oauth", clientSecret=site.authorization.client_secret)
    site.wait_listening(*USERS)
    site.wait_for("over", lambda: site.condition("AccessTokenDegraded") == ("False", "Answering"))


def test_a_refused_client_is_said_and_no_secret_stands_anywhere(site: Site) -> None:
    site.secret("oauth", clientSecret="planted-wrong-secret")
    site.wait_for("refused", lambda: site.reasons() == {"TokenMissing"})
    site.wait_for("told", lambda: site.condition("AccessTokenDegraded") == ("True", "TokenRefused"))
    messages = json.dumps(site.users())
    assert "does not know the client" in messages
    site.secret("oauth", clientSecret=site.authorization.client_secret)
    site.wait_listening(*USERS)
    said = (
        site.logs()
        + site.dovecot.log()
        + json.dumps(site.users())
        + site.namespace.kubectl("get", "events,cm,leases", "-o", "json")
    )
    for secret in ("planted-wrong-secret", site.authorization.client_secret, *site.authorization.given):
        assert secret not in said

"""A password that is put through the endpoint is a listener: real listener, Redis, Dovecot and mail."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from mailpush import names
from mailpush.properties.admin import ADMIN_PATHS
from mailpush.properties.admin import LOGIN as ADMIN_LOGIN
from mailpush.properties.admin import PASSWORD as ADMIN_PASSWORD
from mailpush.properties.secrets import PASSCRYPT
from tests.sites.listener import ListenerSite
from tests.sites.namespace import Namespace, wait_for
from tests.unit.admin.shelf import LOGIN

RIGHT, WRONG = "pl4nted-right-zebra", "pl4nted-wrong-zebra"


@pytest.fixture
def site(namespace: Namespace) -> Iterator[ListenerSite]:
    site = ListenerSite(namespace)
    try:
        site.secrets = {
            ADMIN_PATHS[ADMIN_LOGIN]: LOGIN[0],
            ADMIN_PATHS[ADMIN_PASSWORD]: LOGIN[1],
            PASSCRYPT: "pl4nted-passcrypt",
        }
        site.dovecot.change_password("*", RIGHT)
        access = site.spec()["mailAccess"]
        site.configure(
            admin={"authSecretRef": {"name": "admin"}},
            credentialStorage={"enabled": True, "passcryptSecretRef": {"name": "passcrypt", "key": "passcrypt"}},
            mailAccess={"passwordSource": "session", "servers": access["servers"]},
        )
        yield site
    finally:
        site.close()


@pytest.fixture
def ask(site: ListenerSite) -> Iterator[Callable[..., httpx.Response]]:
    with httpx.Client(auth=LOGIN, trust_env=False, timeout=60) as client:

        def asked(method: str, user: int, more: str = "", *, pod: int = 0, **request: object) -> httpx.Response:
            url = f"http://{site.address(pod)}:{names.ADMIN_PORT}/admin/v1/credentials/1/{user}{more}"
            return client.request(method, url, **request)  # type: ignore[arg-type]

        yield asked


def test_a_password_makes_a_listener_whichever_pod_took_it(
    site: ListenerSite, ask: Callable[..., httpx.Response]
) -> None:
    site.pod(0)
    site.pod(1)
    site.assign({3: 0, 4: 1})
    site.register(3, 4)
    processes = [site.start(ordinal) for ordinal in (0, 1)]
    for user in (3, 4):
        site.wait_status(user, permanent=False, reason="CredentialsMissing")
    assert ask("GET", 3).status_code == 404

    for user in (3, 4):  # pod 0 takes both, and owns one of them
        answer = ask("PUT", user, json={"password": RIGHT})
        assert (answer.status_code, answer.json()) == (200, {"stored": True, "unchanged": False})
    for user in (3, 4):
        site.wait_status(user, permanent=True, reason="Registered")
        site.dovecot.deliver(f"u{user}", subject=f"for {user}")
    site.wait_told("for 3", "for 4")
    assert ask("POST", 4, "/test", pod=0).json()["outcome"] == "worked"
    wait_for("the owner marks that it works", lambda: ask("GET", 3, pod=1).json()["worked"])
    assert ask("PUT", 3, pod=1, json={"password": RIGHT}).json()["unchanged"]

    assert ask("PUT", 4, json={"password": WRONG}).status_code == 200
    refused = ask("POST", 4, "/test", pod=1)
    assert (refused.status_code, refused.json().get("outcome", "refused")) in ((200, "refused"), (429, "refused"))
    wait_for("it is marked, and not deleted", lambda: ask("GET", 4).json()["refused"])
    assert ask("DELETE", 4).json() == {"deleted": True}
    site.wait_status(4, permanent=False, reason="CredentialsMissing")

    secrets = (WRONG, RIGHT, "pl4nted-passcrypt", LOGIN[1])
    said = "".join(site.log(process) for process in processes)
    said += "".join(site.namespace.kubectl("get", kind, "-o", "yaml") for kind in ("pushusers", "leases", "configmaps"))
    for pid in site.pids.values():
        said += Path(f"/proc/{pid}/cmdline").read_text()
    for secret in secrets:
        assert secret not in said

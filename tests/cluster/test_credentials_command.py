"""`kubectl mailpush credentials` with a real API server: whom it asks, with which login, whose certificate it trusts.

`kubectl port-forward` needs a kubelet; a program that says and does the same stands in for it.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.pki import Authority
from mailpush import names
from mailpush.admin.server import AdminAccess, AdminServer
from mailpush.properties.admin import ADMIN_PATHS
from mailpush.properties.admin import LOGIN as ADMIN_LOGIN
from mailpush.properties.admin import PASSWORD as ADMIN_PASSWORD
from tests.sites.listener import ListenerSite
from tests.sites.namespace import Namespace, wait_for
from tests.unit.admin.shelf import LOGIN, Nobody, Shelf
from tests.unit.cli.credential_commands import SCRIPT, Done, login_file, run

STAND_IN = Path(__file__).resolve().parents[1] / "sites" / "programs" / "port_forward.py"
PLANTED = "pl4nted-pässword"


class Site:
    """A MailPushConfig with a pod that is ready, and its endpoint."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.shelf = Shelf()
        self.server = AdminServer(Nobody(), AdminAccess(), "set a login", credentials=self.shelf)
        self.seen = folder / "seen"
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "kubectl").write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
        (self.bin / "kubectl").chmod(0o700)

    async def start(self) -> None:
        await self.server.use(AdminAccess(*LOGIN))
        await self.server.start("127.0.0.1", 0)

    def apply(self, kind: str, name: str, api: str = "v1", **more: Any) -> None:
        metadata = {"name": name, **more.pop("metadata", {})}
        self.namespace.apply(json.dumps({"apiVersion": api, "kind": kind, "metadata": metadata, **more}))

    def config(self, name: str = "main", **admin: str) -> None:
        spec: dict[str, Any] = {"admin": {f"{key}SecretRef": {"name": value} for key, value in admin.items()}}
        self.apply("MailPushConfig", name, names.API_VERSION, spec=spec)

    def secret(self, name: str, **data: bytes) -> None:
        self.apply("Secret", name, data={key: base64.b64encode(value).decode() for key, value in data.items()})

    def pod(self, name: str, *, ready: bool) -> None:
        account = f"{name}-account"
        self.apply("ServiceAccount", account)
        container = {"name": "listener", "image": "docker.io/mail-push/mail-push:test"}
        spec = {"containers": [container], "serviceAccountName": account, "automountServiceAccountToken": False}
        self.apply("Pod", name, metadata={"labels": names.listener_labels("main")}, spec=spec)
        status = {"status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}
        self.namespace.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))

    async def command(self, *arguments: str, stdin: bytes = b"") -> Done:
        return await run(
            *arguments, "-n", self.namespace.name, stdin=stdin, **self.environment(),
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.namespace.plane.kubeconfig),
            "FORWARD_TO": f"127.0.0.1:{self.server.port}",
            "FORWARD_SEEN": str(self.seen),
        }

    def forwards(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.seen.read_text().splitlines()] if self.seen.exists() else []


@pytest.fixture
async def site(namespace: Namespace, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(namespace, tmp_path)
    site.config(auth="admin")
    site.secret("admin", login=LOGIN[0].encode(), password=LOGIN[1].encode() + b"\n")
    site.pod("mail-push-main-0", ready=False)
    site.pod("mail-push-main-1", ready=True)
    await site.start()
    yield site
    await site.server.close()


async def test_it_asks_a_ready_pod_with_the_login_of_the_secret_and_leaves_nothing_behind(site: Site) -> None:
    done = await site.command("put", "1", "3", stdin=PLANTED.encode())
    assert done == Done(0, "stored the password of user 3 in context 1\n", "")
    assert site.shelf.passwords == {(1, 3): PLANTED}
    (call,) = site.forwards()
    assert call["arguments"][-2:] == ["pod/mail-push-main-1", ":1099"]
    assert ["--namespace", site.namespace.name] == call["arguments"][3:5]
    assert not seen_of(call["pid"], "cmdline")
    assert (await site.command("test", "1", "3")).code == 1
    assert (await site.command("list", "-o", "name", "--config", "main")).out == "1 3\n"
    assert (await site.command("delete", "1", "3")).code == 0


async def test_no_process_has_a_password_on_its_command_line_or_in_its_environment(site: Site) -> None:
    """Looked at while it waits for the rest of a file, with the port forwarded."""
    child = await asyncio.create_subprocess_exec(
        SCRIPT, "credentials", "import", "-", "--format", "ndjson", "-n", site.namespace.name,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={"HOME": "/", **site.environment()},
    )  # fmt: skip
    assert child.stdin is not None
    row = json.dumps({"context": 1, "user": 3, "password": PLANTED}).encode() + b"\n"
    child.stdin.write(row)
    await asyncio.to_thread(wait_for, "the port is forwarded", site.forwards)
    for pid in (child.pid, site.forwards()[0]["pid"]):
        for name in ("cmdline", "environ"):
            shown = seen_of(pid, name)
            assert shown
            for secret in (PLANTED, "pl4nted", LOGIN[1], base64.b64encode(":".join(LOGIN).encode()).decode()):
                assert secret.encode() not in shown
    child.stdin.close()
    await child.wait()
    assert site.shelf.passwords == {(1, 3): PLANTED}


def seen_of(pid: int, name: str) -> bytes:
    """What anybody on the machine, or the same user, may see of a process; nothing where it has ended."""
    path = Path(f"/proc/{pid}/{name}")
    return path.read_bytes() if path.exists() else b""


async def test_only_the_certificate_of_the_secret_is_trusted(site: Site) -> None:
    authority = Authority.new("ours")
    ours, other = (authority.issue(name, names=("mail.example",)) for name in ("ours", "other"))
    await site.server.use(AdminAccess(*LOGIN, ours.certificate.decode(), ours.key.decode()))
    site.config(auth="admin", tls="tls")
    missing = await site.command("put", "1", "3", stdin=b"x")
    assert (missing.code, "there is no Secret tls" in missing.err) == (2, True)
    site.secret("tls", **{"tls.crt": ours.certificate + authority.pair.certificate, "tls.key": b"x"})
    assert (await site.command("put", "1", "3", stdin=PLANTED.encode())).code == 0
    # Of the same authority, and with a name that fits as little: the authority alone is no proof.
    site.secret("tls", **{"tls.crt": other.certificate + authority.pair.certificate, "tls.key": b"x"})
    wrong = await site.command("put", "1", "4", stdin=PLANTED.encode())
    assert (wrong.code, wrong.out) == (2, "")
    assert "cannot be asked" in wrong.err
    assert site.shelf.passwords == {(1, 3): PLANTED}


async def test_what_stands_in_the_way_is_said(site: Site) -> None:
    site.pod("mail-push-main-1", ready=False)
    assert "no listener pod of MailPushConfig main is ready" in (await site.command("list")).err
    site.config()
    site.config("second")
    several = await site.command("list")
    assert "several MailPushConfigs (main, second): name one with --config" in several.err
    assert "there is no MailPushConfig third" in (await site.command("list", "--config", "third")).err
    assert "second has no admin.authSecretRef" in (await site.command("list", "--config", "second")).err
    site.config("second", auth="none")
    assert "there is no Secret none" in (await site.command("list", "--config", "second")).err
    site.secret("none", login=b"x")
    assert "Secret none has no password" in (await site.command("list", "--config", "second")).err
    assert site.forwards() == []


@pytest.fixture
def listeners(namespace: Namespace) -> Iterator[ListenerSite]:
    site = ListenerSite(namespace)
    try:
        yield site
    finally:
        site.close()


async def test_a_real_listener_without_a_storage_says_what_to_set(listeners: ListenerSite, tmp_path: Path) -> None:
    listeners.secrets = {ADMIN_PATHS[ADMIN_LOGIN]: LOGIN[0], ADMIN_PATHS[ADMIN_PASSWORD]: LOGIN[1]}
    listeners.configure(admin={"authSecretRef": {"name": "admin"}})
    listeners.pod(0)
    listeners.start(0)
    url = f"http://{listeners.address(0)}:{names.ADMIN_PORT}"
    way = ("--url", url, "--adminuser", LOGIN[0], "--adminpass-file", str(login_file(tmp_path)))
    await asyncio.to_thread(
        wait_for, "its endpoint serves", lambda: '"admin_serves"' in listeners.log(next(iter(listeners.pids)))
    )
    for subcommand in (("put", "1", "3"), ("test", "1", "3"), ("delete", "1", "3"), ("list",)):
        done = await run(*subcommand, *way, stdin=PLANTED.encode())
        assert (done.code, "set credentialStorage.enabled" in done.err) == (2, True), done
    assert PLANTED not in listeners.logs()

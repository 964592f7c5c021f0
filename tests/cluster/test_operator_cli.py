"""`mail-push apply` and `mail-push cleanup`, as the chart's Jobs run them, on a real API server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailpush import names
from tests.sites.namespace import Namespace, wait_for
from tests.sites.operator import MAIL_PUSH, OperatorSite

VALID: dict[str, Any] = {
    "apiVersion": names.API_VERSION,
    "kind": "MailPushConfig",
    "metadata": {"name": "main"},
    "spec": {
        "packages": {"status": {"open-xchange-push-dovecot": "enabled"}},
        "mailAccess": {
            "passwordSource": "global",
            "masterPasswordSecretRef": {"name": "master", "key": "password"},
            "servers": [{"host": "dovecot"}],
        },
    },
}


@pytest.fixture
def site(namespace: Namespace) -> Iterator[OperatorSite]:
    site = OperatorSite(namespace)
    yield site
    site.close()


def mail_push(site: OperatorSite, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MAIL_PUSH, *arguments, "-n", site.namespace.name],
        env={"KUBECONFIG": str(site.namespace.plane.kubeconfig), "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write(folder: Path, **spec: Any) -> str:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**VALID, "spec": {**VALID["spec"], **spec}}))
    return str(path)


def test_apply_makes_it_and_changes_it(site: OperatorSite, tmp_path: Path) -> None:
    done = mail_push(site, "apply", "-f", write(tmp_path, allowedClients=["a*", "b*"]))
    assert (done.returncode, done.stdout) == (0, "mailpushconfig.mailpush.dev/main applied\n"), done.stderr
    assert mail_push(site, "apply", "-f", write(tmp_path)).returncode == 0
    found = site.namespace.get("mpc", "main")
    assert found is not None
    assert "allowedClients" not in found["spec"], "what is left out now goes back to its default"


REFUSALS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"alowPermanentPush": True}, ".spec.alowPermanentPush: field not declared"),
    ({"notification": {"content": "everything"}}, 'supported values: "none", "headers", "full"'),
    ({"mailAccess": {"passwordSource": "session", "servers": [{"host": "dovecot"}]}},
     "so one of credentialStorage.enabled, mailAccess.userSecrets, mailAccess.oauth or mailAccess.doveadm is needed"),
)  # fmt: skip


@pytest.mark.parametrize(("spec", "sentence"), REFUSALS)
def test_apply_prints_the_servers_sentence_and_fails(
    site: OperatorSite, tmp_path: Path, spec: dict[str, Any], sentence: str
) -> None:
    done = mail_push(site, "apply", "-f", write(tmp_path, **spec))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert site.namespace.get("mpc", "main") is None


def test_apply_takes_nothing_but_mail_push_configs(site: OperatorSite, tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n")
    done = mail_push(site, "apply", "-f", str(path))
    assert done.returncode == 1
    assert "must be a MailPushConfig" in done.stderr


def test_apply_says_what_it_waited_for_in_vain(site: OperatorSite, tmp_path: Path) -> None:
    nowhere = OperatorSite(Namespace(site.namespace.plane, "nowhere"))
    done = mail_push(nowhere, "apply", "-f", write(tmp_path), "--wait-seconds", "1")
    nowhere.close()
    assert done.returncode == 1
    assert 'namespaces "nowhere" not found' in done.stderr


def finalizers(site: OperatorSite, name: str) -> list[str]:
    found: list[str] = (site.namespace.get("pu", name) or {"metadata": {}})["metadata"].get("finalizers", [])
    return found


def test_cleanup_has_everybody_unregistered_deletes_what_the_chart_made_and_keeps_the_users(
    site: OperatorSite, tmp_path: Path
) -> None:
    site.secret("master", password="x")
    site.start()
    assert mail_push(site, "apply", "-f", write(tmp_path)).returncode == 0
    site.config("own")  # somebody's, by kubectl
    site.register(3)
    site.wait_condition("pu", "main-1-3", "Accepted", status="True")
    site.listener_says(3, "True", "Registered")
    wait_for("the finalizer", lambda: finalizers(site, "main-1-3"))
    cleanup = subprocess.Popen(
        [MAIL_PUSH, "cleanup", "--yes", "-n", site.namespace.name],
        env={"KUBECONFIG": str(site.namespace.plane.kubeconfig)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for("the pods are told", lambda: told_to_unregister(site))
        assert cleanup.poll() is None, "it waits for the user"
        site.wait_condition("mpc", "main", "Ready", status="False", reason="Unregistering")
        site.listener_says(3, "False", "Unregistered")
        output, _ = cleanup.communicate(timeout=60)
    finally:
        cleanup.kill()
    assert cleanup.returncode == 0
    assert "mailpushconfig.mailpush.dev/main deleted" in output
    assert "mailpushconfig.mailpush.dev/own stays" in output
    assert site.namespace.get("mpc", "main") is None
    assert site.namespace.get("mpc", "own") is not None
    assert site.namespace.get("pu", "main-1-3") is not None
    assert finalizers(site, "main-1-3") == []
    # The next install finds all as it was.
    again = mail_push(site, "apply", "-f", write(tmp_path))
    assert "mailpushconfig.mailpush.dev/own is listened for again" in again.stdout
    for name in ("main", "own"):
        assert names.UNREGISTER_ANNOTATION not in (site.namespace.get("mpc", name) or {})["metadata"].get(
            "annotations", {}
        )


def told_to_unregister(site: OperatorSite) -> bool:
    config_map = site.namespace.get("configmap", "mail-push-main-properties") or {"data": {}}
    return any("mailpush.unregister=true" in text.replace(" ", "") for text in config_map["data"].values())


def test_cleanup_without_an_operator_gives_up_in_time_and_leaves_no_finalizer(
    site: OperatorSite, tmp_path: Path
) -> None:
    assert mail_push(site, "apply", "-f", write(tmp_path)).returncode == 0
    site.register(3)
    patch = json.dumps({"metadata": {"finalizers": ["example.org/other", names.FINALIZER]}})
    site.namespace.kubectl("patch", "pu", "main-1-3", "--type=merge", "-p", patch)
    left = {"0123456789abcdef": {"server": "default", "login": "anton", "value": "3@1"}}
    status = json.dumps({"status": {"registrations": left}})
    site.namespace.kubectl("patch", "pu", "main-1-3", "--subresource=status", "--type=merge", "-p", status)
    done = mail_push(site, "cleanup", "--yes", "--wait-seconds", "1")
    assert done.returncode == 0
    assert "1 users could not be unregistered" in done.stderr
    assert "ConfigMap mail-push-left-registrations keeps their mailboxes" in done.stderr
    kept = (site.namespace.get("configmap", "mail-push-left-registrations") or {})["data"]["registrations"]
    assert [json.loads(line)["login"] for line in kept.splitlines()] == ["anton"]
    assert finalizers(site, "main-1-3") == ["example.org/other"]
    assert site.namespace.get("mpc", "main") is None
    site.namespace.kubectl("patch", "pu", "main-1-3", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')

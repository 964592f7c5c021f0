"""How users go: unregistered, left registered, all together, and where no operator is there, on a real API server."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpush import names
from mailpush.kube.leftovers import NAME as LEFTOVERS
from tests.sites.namespace import Namespace, wait_for
from tests.sites.operator import MAIL_PUSH, OperatorSite

PLUGIN = Path(sys.executable).parent / "kubectl-mailpush"
USERS = (3, 4, 5)


@pytest.fixture
def site(namespace: Namespace) -> Iterator[OperatorSite]:
    """An operator, and three users who are registered at Dovecot, as the owning pod says."""
    site = OperatorSite(namespace)
    try:
        site.secret("master", password="x")
        site.operator = site.start()
        site.config()
        site.register(*USERS)
        for number in USERS:
            site.wait_condition("pu", f"main-1-{number}", "Accepted", status="True")
            registered(site, number)
        wait_for("all have the finalizer", lambda: held(site) == set(USERS))
        yield site
    finally:
        site.close()


def registered(site: OperatorSite, number: int) -> None:
    site.listener_says(number, "True", "Registered")
    entry = {"server": "default", "address": "imap:143", "login": f"u{number}", "value": f"{number}@1"}
    remember(site, number, {"0123456789abcdef": entry})


def remember(site: OperatorSite, number: int, registrations: dict[str, Any]) -> None:
    status = json.dumps({"status": {"registrations": registrations}})
    site.namespace.kubectl("patch", "pu", f"main-1-{number}", "--subresource=status", "--type=merge", "-p", status)


def unregistered(site: OperatorSite, number: int) -> None:
    remember(site, number, {"0123456789abcdef": None})
    site.listener_says(number, "False", "Unregistered")


def held(site: OperatorSite) -> set[int]:
    """Users whose PushUser is kept."""
    users = site.namespace.list("pu")
    return {user["spec"]["userId"] for user in users if names.FINALIZER in user["metadata"].get("finalizers", ())}


def start(site: OperatorSite, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PLUGIN, "unregister", "--all", *arguments, "-n", site.namespace.name],
        env={"KUBECONFIG": str(site.namespace.plane.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def unregister(site: OperatorSite, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Standard output and error."""
    started = start(site, *arguments)
    try:
        output, errors = started.communicate(timeout=180)
    finally:
        started.kill()
    assert started.returncode == code, output + errors
    return output, errors


def told(site: OperatorSite, name: str) -> bool:
    """Whether the pods' property files say so."""
    config_map = site.namespace.get("configmap", "mail-push-main-properties") or {"data": {}}
    return any(name in text.replace(" ", "") for text in config_map["data"].values())


def test_with_leave_nobody_has_a_finalizer_and_who_is_deleted_is_gone_at_once_and_noted_nowhere(
    site: OperatorSite,
) -> None:
    site.config(deletionPolicy="Leave")
    wait_for("the finalizers are off", lambda: not held(site))
    assert told(site, "mailpush.deletionPolicy=Leave")
    site.namespace.kubectl("delete", "pu", "main-1-3", "--timeout=60s")
    registered(site, 4)
    site.config(deletionPolicy="Unregister")
    wait_for("who is registered has it again", lambda: held(site) == {4, 5})
    # The operator has seen the deletion long before it set these, and would have noted it first.
    assert site.namespace.get("configmap", LEFTOVERS) is None
    assert not told(site, "mailpush.deletionPolicy")


def test_all_are_unregistered_with_progress_and_who_stops_it_goes_on_where_it_was(site: OperatorSite) -> None:
    first = start(site)
    try:
        wait_for("the pods are told", lambda: told(site, "mailpush.unregister=true"))
        unregistered(site, 3)
        wait_for("one is done", lambda: held(site) == {4, 5})
        first.terminate()
        output, _ = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == -signal.SIGTERM
    assert "3 users are registered" in output
    unregistered(site, 4)
    output, errors = unregister(site, "--stalled", "1", code=1)
    assert "users are still registered, and none was unregistered for 1 s: no pod has tried yet" in errors
    unregistered(site, 5)
    output, _ = unregister(site, "--config", "main")
    assert "all users of main are unregistered" in output
    assert held(site) == set()
    output, _ = unregister(site, "--undo")
    assert "the users of main are listened for again" in output
    wait_for("the pods are told that, too", lambda: not told(site, "mailpush.unregister"))


def test_where_no_operator_is_left_the_finalizers_are_taken_off_and_what_stays_is_noted(site: OperatorSite) -> None:
    _, errors = unregister(site, "--leave", code=2)
    assert "an operator serves the namespace" in errors
    assert held(site) == set(USERS)
    site.stop(site.operator)
    site.namespace.kubectl("delete", "pu", "main-1-3", "--wait=false")
    assert held(site) == set(USERS), "nobody takes it off"
    output, _ = unregister(site, "--leave")
    assert (
        f"3 finalizers are taken off; the registrations at the mail servers stay; ConfigMap {LEFTOVERS} keeps 3"
        in output
    )
    assert held(site) == set()
    assert site.namespace.get("pu", "main-1-3") is None
    noted = (site.namespace.get("configmap", LEFTOVERS) or {})["data"]["registrations"]
    assert all(f'"login":"u{number}"' in noted for number in USERS)


def test_what_cannot_be_done_says_what_can(site: OperatorSite) -> None:
    assert "there is no MailPushConfig other" in unregister(site, "--config", "other", code=2)[1]
    assert "give one of them" in unregister(site, "--undo", "--leave", code=2)[1]
    assert held(site) == set(USERS)


def test_an_uninstall_with_leave_unregisters_nobody_and_keeps_nobody(site: OperatorSite) -> None:
    site.stop(site.operator)  # so that the command alone does it
    site.config(deletionPolicy="Leave")
    done = subprocess.run(
        [MAIL_PUSH, "cleanup", "--yes", "-n", site.namespace.name],
        env={"KUBECONFIG": str(site.namespace.plane.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the users of main stay registered at Dovecot: its deletionPolicy is Leave" in done.stdout
    assert held(site) == set()
    assert site.namespace.get("configmap", LEFTOVERS) is None
    assert names.UNREGISTER_ANNOTATION not in (site.namespace.get("mpc", "main") or {})["metadata"].get(
        "annotations", {}
    )

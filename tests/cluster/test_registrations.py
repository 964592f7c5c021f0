"""What is registered at Dovecot follows the PushUser, and what is left over is remembered and told to nobody.

One site for all tests of this file. The server `old` is the same Dovecot behind a forward that can be cut: mailboxes
there take mail, and nobody can log in.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from mailpush import names
from tests.sites.forward import Forward
from tests.sites.mail import CLIENT, MailSite, condition
from tests.sites.namespace import Namespace

KUBECTL_MAILPUSH = Path(sys.executable).parent / "kubectl-mailpush"
NOWHERE = ("127.0.0.1", 9)


class Site(MailSite):
    """A mail site with a second way into its Dovecot."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(namespace, replicas=2)
        self.open = (self.dovecot.host, self.dovecot.imap_port)
        self.old = Forward("127.0.0.1", 0, self.open)

    def manifest(self) -> dict[str, Any]:
        manifest = super().manifest()
        access = manifest["spec"]["mailAccess"]
        old = {**access["servers"][0], "name": "old", "host": "127.0.0.1", "port": self.old.port}
        access["servers"].append(old)
        return manifest

    @contextmanager
    def old_is_away(self) -> Iterator[None]:
        self.old.target = NOWHERE
        try:
            yield
        finally:
            self.old.target = self.open

    def spec_without_pods(self) -> dict[str, Any]:
        return {**self.manifest()["spec"], "listeners": {"replicas": 0}}

    def registrations(self, number: int) -> list[tuple[str, str]]:
        """Server and login of each that the status has."""
        found = self.users().get(number, {}).get("registrations", {})
        return sorted((one["server"], one["login"]) for one in found.values())

    def value(self, login: str) -> str | None:
        return self.dovecot.metadata(login)

    def wait_left(self, number: int, wanted: str | None) -> None:
        self.wait_for(
            f"RegistrationLeft of {number} is {wanted}",
            lambda: condition(self.users()[number], "RegistrationLeft") == wanted,
        )

    def restart(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self.group.stop(self.pods[name].process, grace=0)
        self.start_pod(name)
        self.wait_for(f"{name} takes callbacks", lambda: self._answers(int(name.rsplit("-", 1)[1])))

    def _answers(self, ordinal: int) -> bool:
        try:
            return self.raw_callback(b"{}", authorization=None, ordinal=ordinal) == 401
        except (OSError, IndexError):
            return False

    def close(self) -> None:
        self.old.close()
        super().close()


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[Site]:
    control_plane.kubectl("create", "namespace", "registrations", check=True)
    site = Site(Namespace(control_plane, "registrations"))
    try:
        site.install()
        site.start_pods()
        yield site
    finally:
        site.close()
        control_plane.kubectl("delete", "namespace", "registrations", "--wait=false")


def silent(site: MailSite, *subjects: str) -> None:
    """None of these was told. A mail that came later was, to the same user."""
    assert not {*subjects} & {told for told, _ in site.told()}


def test_a_changed_login_takes_the_registration_along(site: Site) -> None:
    site.register(3)
    site.wait_listening(3)
    site.wait_for("it is remembered", lambda: site.registrations(3) == [("default", "u3")])
    site.register(3, login="u30")
    site.wait_for("the new mailbox is registered", lambda: site.value("u30") == "user=3@1")
    site.wait_for("it alone is remembered", lambda: site.registrations(3) == [("default", "u30")])
    assert site.value("u3") is None
    site.dovecot.deliver("u3", subject="to the old mailbox")
    site.dovecot.deliver("u30", subject="to the new mailbox")
    site.wait_told("to the new mailbox")
    silent(site, "to the old mailbox")


def test_a_mailbox_that_cannot_be_unregistered_is_told_to_nobody_and_remembered_over_a_restart(site: Site) -> None:
    site.register(4, server="old")
    site.wait_listening(4)
    with site.old_is_away():
        site.register(4, login="u40")
        site.wait_for("both are remembered", lambda: len(site.registrations(4)) == 2)
        site.wait_left(4, "True")
        site.wait_for("the new one is told apart", lambda: (site.value("u40") or "").startswith("user=4@1#"))
        assert site.value("u4") == "user=4@1"
        told_apart(site, "before")
        for name in list(site.pods):
            site.restart(name)
        site.wait_listening(4)
        site.wait_left(4, "True")
        told_apart(site, "after")
    site.wait_for("the old mailbox is let go", lambda: site.value("u4") is None)
    site.wait_for("nothing is left", lambda: site.registrations(4) == [("default", "u40")])
    site.wait_for("the mark is gone", lambda: site.value("u40") == "user=4@1")
    site.wait_left(4, None)
    site.dovecot.deliver("u40", subject="when all is well")
    site.wait_told("when all is well")
    events = {event["reason"] for event in events_of(site, "main-1-4")}
    assert {"RegistrationLeft", "RegistrationGone"} <= events


def told_apart(site: Site, when: str) -> None:
    site.dovecot.deliver("u4", subject=f"to a stranger, {when}")
    site.dovecot.deliver("u40", subject=f"to the user, {when}")
    site.wait_told(f"to the user, {when}")
    silent(site, f"to a stranger, {when}")


def events_of(site: Site, name: str) -> list[dict[str, Any]]:
    return [event for event in site.namespace.list("events.events.k8s.io") if event["regarding"]["name"] == name]


@pytest.mark.parametrize(("number", "before", "after"), [(5, "u5", "U5"), (6, "U6", "u6")])
def test_another_spelling_of_the_same_mailbox_stays_registered(
    site: Site, number: int, before: str, after: str
) -> None:
    site.register(number, login=before)
    site.wait_listening(number)
    site.register(number, login=after)
    site.wait_for("the new spelling is remembered", lambda: site.registrations(number) == [("default", after)])
    site.wait_for("it is registered", lambda: site.value(f"u{number}") == f"user={number}@1")
    site.dovecot.deliver(f"u{number}", subject=f"in another spelling {number}")
    site.wait_told(f"in another spelling {number}")


def test_a_login_source_that_changes_for_all_takes_every_registration_along(site: Site) -> None:
    site.register(7, login="u7", mail="u70@example.org")
    site.register(8, login="u8", mail="u80@example.org")
    site.wait_listening(7, 8)
    manifest = site.manifest()
    manifest["spec"]["mailAccess"]["loginSource"] = "mailLocalPart"
    site.namespace.apply(json.dumps(manifest))
    try:
        site.wait_for("the new are registered", lambda: values(site, "u70", "u80") == ["user=7@1", "user=8@1"])
        site.wait_for("the old are let go", lambda: values(site, "u7", "u8") == [None, None])
    finally:
        site.namespace.apply(json.dumps(site.manifest()))
    site.wait_for("and back", lambda: values(site, "u7", "u70", "u8") == ["user=7@1", None, "user=8@1"])


def values(site: Site, *logins: str) -> list[str | None]:
    return [site.value(login) for login in logins]


def test_a_suspended_user_is_unregistered_as_soon_as_the_server_is_back(site: Site) -> None:
    site.register(9, server="old")
    site.wait_listening(9)
    with site.old_is_away():
        site.register(9, server="old", suspend=True)
        site.wait_left(9, "True")
        assert site.value("u9") == "user=9@1"
    site.wait_for("it is let go", lambda: site.value("u9") is None)
    site.wait_left(9, None)


def test_of_two_with_one_login_the_older_is_told_and_the_other_once_it_is_gone(site: Site) -> None:
    site.register(21, login="u21")
    site.wait_listening(21)
    site.register(22, login="U21")
    other = json.dumps(site.manifest() | {"metadata": {"name": "other"}, "spec": site.spec_without_pods()})
    site.namespace.apply(other)
    site.namespace.apply(json.dumps(push_user("other", 23, "u21")))
    site.wait_for("the pod says so", lambda: site.users()[22].get("reason") == "DuplicateLogin")
    site.wait_for("the operator, too", lambda: {accepted(site, 22), accepted(site, 23)} == {"DuplicateLogin"})
    assert site.users()[22]["duplicateOf"] == f"{site.namespace.name}/main-1-21"
    site.dovecot.deliver("u21", subject="to the older")
    site.wait_told("to the older")
    assert told_to(site, "to the older") == [21]
    site.namespace.kubectl("delete", "pushuser", "other-1-23", "--timeout=90s")
    site.namespace.kubectl("delete", "pushuser", "main-1-21", "--timeout=90s")
    site.wait_listening(22)
    site.wait_for("the younger is registered", lambda: site.value("u21") == "user=22@1")
    site.dovecot.deliver("u21", subject="to the younger")
    site.wait_told("to the younger")
    assert told_to(site, "to the younger") == [22]


def test_a_registration_that_somebody_took_away_comes_back_when_asked_for(site: Site) -> None:
    site.register(26, 27)
    site.wait_listening(26, 27)
    for user in ("u26", "u27"):
        site.dovecot.set_metadata(user, None)
    resync(site, "main-1-26")
    site.wait_for("u26 is registered again", lambda: site.value("u26") == "user=26@1")
    assert site.value("u27") is None
    resync(site, "--all", "--config", "main")
    site.wait_for("u27 is registered again", lambda: site.value("u27") == "user=27@1")
    assert resync(site, "main-1-99", code=1).stderr.startswith("there is no PushUser main-1-99")


def test_what_a_deleted_user_leaves_behind_is_kept_in_a_list_and_taken_away_later(site: Site) -> None:
    site.register(28, server="old", login="u28")
    site.wait_listening(28)
    site.wait_for("it has the finalizer", lambda: names.FINALIZER in finalizers(site, "main-1-28"))
    with site.old_is_away():
        site.namespace.kubectl("delete", "pushuser", "main-1-28", "--timeout=120s")
        listed = orphans(site, code=1).stdout
        assert listed.splitlines()[1].split()[:5] == ["main", "1", "28", "old", "u28"]
        assert "RegistrationLeft" in {event["reason"] for event in events_of(site, "main-1-28")}
        refused = orphans(site, "--take-away", "--wait", "10", code=1)
        assert 'the mailbox of "u28" at server "old" still calls' in refused.stderr
    assert site.value("u28") == "user=28@1"
    orphans(site, "--take-away")
    assert site.value("u28") is None
    assert "no registration is left over" in orphans(site).stdout
    assert site.namespace.get("pushuser", "main-1-28") is None


def test_users_of_a_deleted_config_say_that_the_server_still_calls_until_it_is_there_again(site: Site) -> None:
    site.register(29)
    site.wait_listening(29)
    site.namespace.kubectl("delete", "mailpushconfig", "main", "--timeout=60s")
    for pod in site.pods.values():
        site.group.stop(pod.process, grace=0)
    for name in site.pods:
        site.namespace.kubectl("delete", "pod", name, "--force", "--grace-period=0", check=False)
    site.wait_left(29, "True")
    assert site.value("u29") == "user=29@1"
    site.namespace.kubectl("delete", "pushuser", "main-1-29", "--timeout=60s")
    site.wait_for("it is in the list", lambda: "u29" in orphans(site, code=1).stdout)


def finalizers(site: Site, name: str) -> list[str]:
    found: list[str] = (site.namespace.get("pushuser", name) or {"metadata": {}})["metadata"].get("finalizers", [])
    return found


def orphans(site: Site, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return kubectl_mailpush(site, "orphans", *arguments, code=code)


def resync(site: Site, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return kubectl_mailpush(site, "resync", *arguments, code=code)


def kubectl_mailpush(site: Site, *arguments: str, code: int) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [KUBECTL_MAILPUSH, *arguments, "-n", site.namespace.name],
        env={**os.environ, "KUBECONFIG": str(site.namespace.plane.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done
    return done


def push_user(config: str, number: int, login: str) -> dict[str, Any]:
    spec = {"configRef": {"name": config}, "contextId": 1, "userId": number, "clients": [CLIENT], "login": login}
    metadata = {"name": names.push_user_name(config, 1, number)}
    return {"apiVersion": names.API_VERSION, "kind": "PushUser", "metadata": metadata, "spec": spec}


def accepted(site: Site, number: int) -> str | None:
    """The reason of the condition, by the operator: of a user without a pod no other says anything."""
    conditions = site.users()[number].get("conditions", [])
    return next((one["reason"] for one in conditions if one["type"] == "Accepted"), None)


def told_to(site: Site, subject: str) -> list[int]:
    bodies = [json.loads(one.body) for one in site.receiver.received]
    return [body["userId"] for body in bodies if body["data"].get("subject") == subject]

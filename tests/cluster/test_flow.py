"""The execution flow on a real API server: each refusal as `kubectl mailpush explain` and `kubectl get` show it.

One site for all tests of this file: the MailPushConfig `main` with listener processes, and others that need none,
because it is the operator who says there why nobody is listened for. Each test leaves `main` as it found it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from mailpush import names
from mailpush.packages import DOVECOT, IMAPIDLE
from mailpush.sharding.shardmap import ShardMap
from tests.sites.mail import CLIENT, MailSite, condition
from tests.sites.namespace import Namespace

KUBECTL_MAILPUSH = Path(sys.executable).parent / "kubectl-mailpush"
LISTENED = 3
ZERO, ONE = "mail-push-main-0", "mail-push-main-1"

CONFIGS: dict[str, dict[str, Any]] = {
    "off": {"allowPermanentPush": False},
    "bare": {"packages": {"status": {}}},
    "idle": {"packages": {"status": {IMAPIDLE: "enabled"}}},
    "stopped": {"mechanisms": {"dovecot": {"enabled": False}}},
    "blind": {"mailAccess": None},
    "keyless": {
        "mailAccess": {
            "passwordSource": "global",
            "masterPasswordSecretRef": {"name": "no-such-secret", "key": "password"},
            "servers": [{"host": "dovecot"}],
        }
    },
    "own": {
        "mailAccess": {
            "passwordSource": "session",
            "userSecrets": {"enabled": True},
            "servers": [{"host": "dovecot"}],
        }
    },
}

REFUSED: tuple[tuple[str, int, dict[str, Any], str, str, str | None], ...] = (
    ("gone", 10, {}, "config_exists", "ConfigNotFound", None),
    ("off", 11, {}, "permanent_push_allowed", "PermanentPushDisabled", None),
    ("bare", 12, {}, "package_enabled", "NoPushPackage", None),
    ("idle", 13, {}, "package_supports_permanent", "PermanentNotSupported", "PUSH-0009"),
    ("main", 14, {"clients": []}, "client_registered", "NotRegistered", "PUSH-0008"),
    ("main", 15, {"clients": ["some-other-client"]}, "client_allowed", "ClientNotAllowed", None),
    ("main", 16, {"suspend": True}, "user_active", "Suspended", None),
    ("stopped", 17, {}, "mechanism_enabled", "MechanismDisabled", None),
    ("blind", 18, {}, "mail_access_configured", "MailAccessMissing", None),
    ("main", 19, {"server": "elsewhere"}, "server_known", "ServerUnknown", None),
    ("own", 20, {"credentialsSecretRef": {"name": "not-for-this"}}, "secret_permitted", "SecretNotPermitted", None),
    ("own", 21, {}, "password_available", "PasswordMissing", "PUSH-0006"),
    ("keyless", 22, {}, "password_available", "MasterPasswordMissing", "PUSH-0005"),
    ("main", 23, {"login": None}, "login_known", "LoginMissing", "PUSH-0007"),
)


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[MailSite]:
    control_plane.kubectl("create", "namespace", "flow", check=True)
    site = MailSite(Namespace(control_plane, "flow"), replicas=2)
    try:
        site.install()
        site.start_pods()
        opaque = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "not-for-this"}, "stringData": {"a": "b"}}
        configs = [other_config(site, name, changes) for name, changes in CONFIGS.items()]
        users = [push_user(config, number, spec) for config, number, spec, *_ in REFUSED]
        site.namespace.apply(*(json.dumps(one) for one in (opaque, *configs, *users, push_user("main", LISTENED, {}))))
        site.wait_listening(LISTENED)
        yield site
    finally:
        site.close()
        control_plane.kubectl("delete", "namespace", "flow", "--wait=false")


def other_config(site: MailSite, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """As `main`, but without pods: replicas is 0."""
    main = site.manifest()
    spec = {**main["spec"], "listeners": {"replicas": 0}, **changes}
    return {**main, "metadata": {"name": name}, "spec": {key: one for key, one in spec.items() if one is not None}}


def push_user(config: str, number: int, changes: dict[str, Any]) -> dict[str, Any]:
    spec = {"configRef": {"name": config}, "contextId": 1, "userId": number, "clients": [CLIENT], "login": f"u{number}"}
    return {
        "apiVersion": names.API_VERSION,
        "kind": "PushUser",
        "metadata": {"name": names.push_user_name(config, 1, number)},
        "spec": {key: one for key, one in (spec | changes).items() if one is not None},
    }


def explain(site: MailSite, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [KUBECTL_MAILPUSH, "explain", "-n", site.namespace.name, *map(str, arguments)],
        env={**os.environ, "KUBECONFIG": str(site.namespace.plane.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def printed(site: MailSite) -> dict[str, str]:
    """REASON of each user as kubectl prints it."""
    rows = site.namespace.kubectl("get", "pushusers", "-o", "custom-columns=N:.metadata.name,R:.status.reason")
    return {words[0]: words[1] for line in rows.splitlines()[1:] if (words := line.split())}


@pytest.mark.parametrize(("config", "number", "row"), [(*case[:2], case[3:]) for case in REFUSED])
def test_a_refused_user_has_the_same_reason_everywhere(
    site: MailSite, config: str, number: int, row: tuple[str, str, str | None]
) -> None:
    check, reason, code = row
    name = names.push_user_name(config, 1, number)
    site.wait_for(f"{name} says {reason}", lambda: printed(site).get(name) == reason)
    # The column is the pod's word where there is one, the condition is the operator's.
    site.wait_for(f"{name} is refused: {reason}", lambda: accepted(site, name)[:2] == ("False", reason))
    done = explain(site, 1, number, "-o", "json")
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    refused = [one for one in answer["rows"] if one["outcome"] == "refused"]
    assert [(one["check"], one["reason"], one["code"]) for one in refused] == [(check, reason, code)]
    assert accepted(site, name) == ("False", reason, answer["message"] + (f" ({code})" if code else ""))
    assert not [note for note in answer["notes"] if "the operator's last word" in note], answer["notes"]


def accepted(site: MailSite, name: str) -> tuple[str, str, str]:
    """Status, reason and message of a user's condition Accepted, empty where there is none yet."""
    conditions = (site.namespace.get("pushuser", name) or {}).get("status", {}).get("conditions", [])
    said: dict[str, str] = next((one for one in conditions if one["type"] == "Accepted"), {})
    return said.get("status", ""), said.get("reason", ""), said.get("message", "")


def test_a_user_who_is_listened_for_passes_every_row(site: MailSite) -> None:
    def explained() -> subprocess.CompletedProcess[str] | None:  # once the user is no more on its way to another pod
        done = explain(site, 1, LISTENED)
        return done if f"owned by {site.users()[LISTENED].get('pod')}" in done.stdout else None

    site.wait_for("the user is where the map has it", lambda: listens_by(site) == ("dovecot", "Registered"))
    done = site.wait_for("explain names the pod that the user's status names", explained)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Listening=True Registered" in done.stdout
    assert " NO " not in done.stdout


def test_a_user_who_is_not_there_is_trouble_with_the_names_that_are_near(site: MailSite) -> None:
    done = explain(site, 1, 155)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no PushUser <config>-1-155; near it: main-1-15" in done.stderr


def test_a_cluster_without_our_resources_is_named(site: MailSite, control_plane: ControlPlane) -> None:
    done = explain(site, 1, LISTENED, "--context", "no-such-context")
    assert done.returncode == 2
    assert "no-such-context" in done.stderr


def test_the_config_counts_the_denied_by_reason(site: MailSite) -> None:
    expected = {reason: 1 for config, _, _, _, reason, _ in REFUSED if config == "main"}

    def counts() -> bool:
        status = (site.namespace.get("mailpushconfig", "main") or {}).get("status", {})
        denied = {one["reason"]: one["count"] for one in status.get("listeners", {}).get("denied", [])}
        return denied == expected

    site.wait_for(f"denied {expected}", counts)


def events(site: MailSite, name: str, reason: str) -> list[dict[str, Any]]:
    found = site.namespace.list("events.events.k8s.io")
    ours = [one for one in found if "mailpush.dev" in one["reportingController"]]
    return [one for one in ours if (one["regarding"].get("name"), one["reason"]) == (name, reason)]


def test_decisions_are_told_as_events_once(site: MailSite) -> None:
    name = names.push_user_name("main", 1, 15)
    site.wait_for("an Event", lambda: [one["action"] for one in events(site, name, "ClientNotAllowed")].count("Decide"))
    site.wait_for("an Event of another", lambda: events(site, "keyless", "SecretNotFound"))
    # A pod that has listened for the user may have told that it does not any more, too.
    (event,) = [one for one in events(site, name, "ClientNotAllowed") if one["action"] == "Decide"]
    assert event["type"] == "Warning"
    assert event["note"].startswith("none of the registered clients some-other-client matches allowedClients")
    described = site.namespace.kubectl("describe", "pushuser", name)
    assert "ClientNotAllowed" in described.partition("Events:")[2]
    # Events are written one after the other, so that of `main` is there: its users came after it.
    assert [one["action"] for one in events(site, "main", "ConfigurationValid")] == ["ConfigurationValid"]


def test_changing_the_allowed_clients_changes_users_and_restarts_nothing(site: MailSite) -> None:
    uids = {name: pod.uid for name, pod in site.pods.items()}
    template = revision(site)
    change(site, allowedClients=["some-other-*"])
    site.wait_for(
        "the two change places",
        lambda: [condition(site.users()[one], "Listening") for one in (LISTENED, 15)] == ["False", "True"],
    )
    name = names.push_user_name("main", 1, LISTENED)
    site.wait_for("the reason is told", lambda: printed(site)[name] == "ClientNotAllowed")
    site.wait_for("the other passes every row", lambda: explain(site, 1, 15).returncode == 0)
    change(site, allowedClients=[f"{CLIENT}*"])
    site.wait_for(
        "and back",
        lambda: [condition(site.users()[one], "Listening") for one in (LISTENED, 15)] == ["True", "False"],
    )
    assert revision(site) == template
    assert all(site.runs(pod) for pod in site.pods.values())
    found = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in site.namespace.list("pods")}
    assert {name: found[name] for name in uids} == uids


def test_the_first_mechanism_of_the_order_listens_and_a_new_order_is_taken_without_a_restart(site: MailSite) -> None:
    both = {"status": {DOVECOT: "enabled", IMAPIDLE: "enabled"}}
    mechanisms = {"imapidle": {"supportsPermanentListeners": True}}
    change(site, packages=both, mechanisms={**mechanisms, "order": ["imapidle", "dovecot"]})
    site.wait_for("imapidle listens", lambda: listens_by(site) == ("imapidle", "Idling"))
    assert json.loads(explain(site, 1, LISTENED, "-o", "json").stdout)["mechanisms"] == ["imapidle", "dovecot"]
    change(site, mechanisms={**mechanisms, "order": ["dovecot", "imapidle"]})
    site.wait_for("dovecot listens", lambda: listens_by(site) == ("dovecot", "Registered"))
    assert all(site.runs(pod) for pod in site.pods.values())
    change(site, packages={"status": {IMAPIDLE: None}}, mechanisms=None)
    site.wait_for("all is as before", lambda: applied(site))
    site.wait_for("dovecot listens", lambda: listens_by(site) == ("dovecot", "Registered"))


def listens_by(site: MailSite) -> tuple[str | None, str | None]:
    status = site.users()[LISTENED]
    return status.get("mechanism"), status.get("reason")


def change(site: MailSite, **spec: Any) -> None:
    site.namespace.kubectl("patch", "mailpushconfig", "main", "--type=merge", "-p", json.dumps({"spec": spec}))


def applied(site: MailSite) -> bool:
    """Whether all children of `main` are by its present spec."""
    body = site.namespace.get("mailpushconfig", "main") or {"metadata": {}}
    return bool(body.get("status", {}).get("observedGeneration") == body["metadata"].get("generation"))


def revision(site: MailSite) -> int:
    """The generation of the StatefulSet, once it is by the present spec: a restart would take another."""
    site.wait_for("the present spec is applied", lambda: applied(site))
    return int((site.namespace.get("statefulset", "mail-push-main") or {})["metadata"]["generation"])


def available(site: MailSite) -> tuple[str, str]:
    conditions = (site.namespace.get("mailpushconfig", "main") or {})["status"]["conditions"]
    said = next(one for one in conditions if one["type"] == "ListenersAvailable")
    return said["status"], said["message"].partition(" pods")[0]


def owners(site: MailSite) -> set[str]:
    """Pods that own slots."""
    spec = (site.namespace.get("shardmap", "main") or {})["spec"]
    return {owner.name for owner in ShardMap.from_spec(spec).owner_refs() if owner is not None}


def test_a_pod_that_may_take_no_listeners_gives_away_what_it_has_and_gets_it_back(site: MailSite) -> None:
    site.wait_for("both pods own slots", lambda: owners(site) == {ZERO, ONE})
    numbers = range(30, 40)
    site.register(*numbers)
    site.wait_listening(*numbers)
    change(site, listeners={"podOverrides": [{"ordinal": 1, "allowPermanentPush": False}]})
    site.wait_for("everything is on the other", lambda: owners(site) == {ZERO})
    site.wait_listening(*numbers, without=frozenset({ONE}))
    lease = (site.namespace.get("lease", ONE) or {})["metadata"]["annotations"]
    assert (lease["mailpush.dev/capable"], lease["mailpush.dev/reason"]) == ("false", "PodExcluded")
    site.wait_for("it is not missed", lambda: available(site) == ("True", "1 of 1"))
    change(site, listeners={"podOverrides": []})
    site.wait_for("both have slots again", lambda: owners(site) == {ZERO, ONE})
    site.wait_listening(*numbers)
    assert all(site.runs(pod) for pod in site.pods.values())

"""The main job on a real control plane: operator and three listeners as processes, real Dovecot, real Redis.

One site for all tests of this file; each leaves it as it found it, and waits for what it counts on.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from tests.sites.mail import CALLBACK_LOGIN, CALLBACK_PASSWORD, MailSite, condition
from tests.sites.namespace import Namespace

USERS = tuple(range(3, 12))
DENIED, SUSPENDED = 20, 21


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[MailSite]:
    control_plane.kubectl("create", "namespace", "main-job", check=True)
    site = MailSite(Namespace(control_plane, "main-job"))
    try:
        site.install()
        site.start_pods()
        site.register(*USERS)
        site.register(DENIED, clients=("some-other-client",))
        site.register(SUSPENDED, suspend=True)
        site.wait_listening(*USERS)
        yield site
    finally:
        site.close()
        control_plane.kubectl("delete", "namespace", "main-job", "--wait=false")


def deliver(site: MailSite, subject: str, *user_ids: int) -> list[str]:
    """One mail to each user; the subjects."""
    subjects = []
    for number in user_ids:
        subjects.append(f"{subject} {number}")
        site.dovecot.deliver(f"u{number}", subject=subjects[-1])
    return subjects


def epoch(site: MailSite) -> int:
    shard_map = site.namespace.get("shardmap", "main")
    assert shard_map is not None
    return int(shard_map["spec"]["epoch"])


def test_users_are_spread_evenly_over_the_pods(site: MailSite) -> None:
    assert [len(users) for users in site.wait_spread(*USERS).values()] == [3, 3, 3]


def test_each_mail_is_told_once_whichever_pod_dovecot_calls(site: MailSite) -> None:
    site.told_once(deliver(site, "first", *USERS))
    one = json.loads(next(r.body for r in site.receiver.received if b"first 5" in r.body))
    assert (one["topic"], one["contextId"], one["userId"]) == ("ox:mail:new", 1, 5)
    assert one["data"]["folder"] == "INBOX"  # the IMAP name, as docs/webhook.md says


def test_a_denied_and_a_suspended_user_stay_silent_and_say_why(site: MailSite) -> None:
    def reasons() -> bool:
        found = site.users()
        return [found[number].get("reason") for number in (DENIED, SUSPENDED)] == ["ClientNotAllowed", "Suspended"]

    site.wait_for("reasons", reasons)
    site.wait_for("the operator's word", lambda: condition(site.users()[DENIED], "Accepted") == "False")
    assert [site.dovecot.metadata(f"u{number}") for number in (DENIED, SUSPENDED)] == [None, None]
    deliver(site, "silent", DENIED, SUSPENDED)
    site.told_once(deliver(site, "after silent", *USERS))  # what came later is there: so would be what came before
    assert not [subject for subject, _ in site.told() if subject.startswith("silent")]


def test_kubectl_prints_who_listens_where(site: MailSite) -> None:
    lines: list[str] = []

    def printed() -> bool:
        lines[:] = site.namespace.kubectl("get", "pushusers").splitlines()
        rows = {line.split()[0]: line.split() for line in lines[1:]}
        listened, denied, suspended = (rows[f"main-1-{number}"] for number in (3, DENIED, SUSPENDED))
        return (
            listened[3:5] == ["true", "dovecot"]
            and listened[6:8] == ["True", "Registered"]
            and "ClientNotAllowed" in denied
            and "Suspended" in suspended
        )

    site.wait_for("who is listened for, and why others are not", printed)
    assert lines[0].split() == ["NAME", "CONTEXT", "USER", "PERMANENT", "MECHANISM", "POD", "READY", "REASON", "AGE"]
    wide = site.namespace.kubectl("get", "pushusers", "-o", "wide")
    assert "open-xchange-mobile-api-facade" in wide


def test_the_config_says_that_it_is_ready_and_how_many_listen(site: MailSite) -> None:
    def status() -> bool:
        config = site.namespace.get("mailpushconfig", "main") or {}
        found = config.get("status", {})
        listeners = found.get("listeners", {})
        return (
            condition(found, "Ready") == "True" and listeners.get("running") == len(USERS) and bool(found.get("epoch"))
        )

    site.wait_for("Ready and counts", status)


def test_a_change_is_taken_by_all_pods_without_a_restart_and_the_status_says_when(site: MailSite) -> None:
    def status() -> dict[str, Any]:
        return dict((site.namespace.get("mpc", "main") or {}).get("status", {}))

    def rolled_out() -> dict[str, Any]:
        """The status that says so, empty until then."""
        found = status()
        pods = found.get("configPods", [])
        said: dict[str, Any] = next(
            (one for one in found.get("conditions", []) if one["type"] == "ConfigurationRolledOut"), {}
        )
        fits = (
            len(pods) == 1
            and pods[0].get("hash") == found["configHash"]
            and pods[0].get("bootHash") == found["bootHash"]
            and pods[0].get("names") == sorted(site.pods)
            and said.get("status") == "True"
            and found["configHash"] in said["message"]
        )
        return found if fits else {}

    before = site.wait_for("the configuration is rolled out", rolled_out)
    processes = {name: pod.pid for name, pod in site.pods.items()}
    change = site.manifest()
    change["spec"]["notification"] = {"content": "none"}
    site.namespace.apply(json.dumps(change))
    another = lambda: rolled_out().get("configHash") not in (None, before["configHash"])  # noqa: E731
    site.wait_for("the change is rolled out", another)
    assert status()["bootHash"] == before["bootHash"]
    site.dovecot.deliver("u3", subject="a subject that is not told")
    site.wait_for(
        "a notification without a subject",
        lambda: any(b"subject" not in one.body for one in site.receiver.received),
    )
    assert {name: pod.pid for name, pod in site.pods.items() if site.runs(pod)} == processes
    site.namespace.apply(json.dumps(site.manifest()))
    first = lambda: rolled_out().get("configHash") == before["configHash"]  # noqa: E731
    site.wait_for("the first configuration again", first)


def test_callbacks_are_answered_as_ox_answers_and_never_crash_a_pod(site: MailSite) -> None:
    good = f"{CALLBACK_LOGIN}:{CALLBACK_PASSWORD}"
    event = {"user": "3@1", "event": "messageNew", "folder": "INBOX", "imap-uidvalidity": 1, "imap-uid": 999999}
    assert site.raw_callback(json.dumps(event).encode(), authorization="dovecot:wrong") == 401
    assert site.raw_callback(json.dumps(event).encode(), authorization=None) == 401
    assert site.raw_callback(json.dumps(event | {"user": "999@1"}).encode(), authorization=good) == 200
    assert site.raw_callback(json.dumps(event | {"user": "nobody"}).encode(), authorization=good) == 200
    assert site.raw_callback(json.dumps(event | {"event": "flagsSet"}).encode(), authorization=good) == 200
    assert site.raw_callback(b"{", authorization=good) == 400
    assert site.raw_callback(b"\xff" * 1000, authorization=good) == 400
    site.told_once(deliver(site, "after nonsense", *USERS))


def test_a_target_that_hangs_delays_no_delivery(site: MailSite) -> None:
    def times(subject: str) -> int:
        return [told for told, _ in site.told()].count(subject)

    site.receiver.behave(hang=True)
    subjects = deliver(site, "hanging", *USERS)  # each LMTP answer came although no target has answered
    site.wait_told(*subjects)
    site.receiver.behave()
    site.wait_for("each is told again", lambda: all(times(subject) > 1 for subject in subjects))
    ids: dict[str, set[str]] = {}
    for subject, identity in site.told():
        ids.setdefault(subject, set()).add(identity)
    assert all(len(ids[subject]) == 1 for subject in subjects), "a repeat must carry the id of the first try"


def test_mails_are_told_without_the_operator_and_nothing_moves_when_it_comes_back(site: MailSite) -> None:
    before, its_epoch = site.wait_spread(*USERS), epoch(site)
    site.kill_operator()
    site.told_once(deliver(site, "no operator", *USERS))
    site.start_operator()
    site.wait_leading()
    site.register(30)
    site.wait_listening(30)  # so it works, and has looked at everything
    assert epoch(site) == its_epoch
    site.namespace.kubectl("delete", "pushuser", "main-1-30", "--wait=false")
    site.wait_for("Dovecot forgets the user", lambda: site.dovecot.metadata("u30") is None)
    site.wait_for("the user is gone", lambda: site.namespace.get("pushuser", "main-1-30") is None)
    assert site.wait_spread(*USERS) == before


def test_a_pod_deleted_by_force_while_its_process_runs_never_notifies_beside_its_successor(site: MailSite) -> None:
    site.wait_spread(*USERS)
    old = site.pods["mail-push-main-1"]
    site.namespace.kubectl("delete", "pod", old.name, "--force", "--grace-period=0")
    site.wait_for(
        "the StatefulSet makes the pod anew",
        lambda: (site.namespace.get("pod", old.name) or {}).get("metadata", {}).get("uid") not in (None, old.uid),
    )
    site.told_once(deliver(site, "beside", *USERS))
    new = site.start_pod(old.name)
    site.told_once(deliver(site, "with both", *USERS))
    assert len(site.wait_spread(*USERS)[new.name]) == 3, "of the map's pod with the new UID"
    site.told_once(deliver(site, "after", *USERS))
    # The old one's token died with its Pod object, so it mostly sees nothing of this until its kubelet ends it. The API
    # server takes a token that it has just seen for some seconds more: then it has found its Lease gone, and has ended.
    with contextlib.suppress(ProcessLookupError):
        os.kill(old.pid, signal.SIGTERM)
    site.wait_for("the old process ends", lambda: not site.runs(old))
    site.told_once(deliver(site, "alone", *USERS))


def test_a_stopped_process_loses_its_users_and_tells_nothing_twice_when_it_goes_on(site: MailSite) -> None:
    victim = site.pods["mail-push-main-2"]
    mine = site.wait_spread(*USERS)[victim.name]
    site.signal(victim.name, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        site.wait_listening(*mine, without=frozenset({victim.name}))
        subjects = deliver(site, "paused", *USERS)
        site.told_once(subjects)
        site.wait_for("20 seconds of pause", lambda: time.monotonic() - stopped > 20)
    finally:
        site.signal(victim.name, signal.SIGCONT)
    site.told_once(deliver(site, "awake", *USERS))
    site.wait_for("the paused process ends: its Lease was taken", lambda: not site.runs(victim))
    site.told_once(subjects)
    site.start_pod(victim.name)
    assert len(site.wait_spread(*USERS)[victim.name]) == 3, "its successor takes users"


def test_an_api_server_that_is_down_silences_nobody(site: MailSite) -> None:
    site.wait_spread(*USERS)
    with site.without_api():
        started = time.monotonic()
        site.told_once(deliver(site, "api down", *USERS))
        site.wait_for("every lease has lapsed", lambda: time.monotonic() - started > 12)
        site.told_once(deliver(site, "leases lapsed", *USERS))
    site.wait_for("the operator ends: it could not renew its Lease for 10 s", lambda: not site.operator_runs())
    site.start_operator()  # as the kubelet would
    site.wait_leading()
    site.wait_spread(*USERS)
    site.told_once(deliver(site, "api back", *USERS))


def test_a_planned_stop_hands_over_and_loses_nothing(site: MailSite) -> None:
    leaving = site.pods["mail-push-main-2"]
    mine = site.wait_spread(*USERS)[leaving.name]
    site.signal(leaving.name, signal.SIGTERM)
    subjects = [subject for number in range(5) for subject in deliver(site, f"leaving {number}", *USERS)]
    site.wait_listening(*mine, without=frozenset({leaving.name}))
    site.wait_for("the process ends by itself", lambda: not site.runs(leaving))
    site.told_once(subjects)
    site.start_pod(leaving.name)
    assert len(site.wait_spread(*USERS)[leaving.name]) == 3, "it takes users again"
    site.told_once(deliver(site, "came back", *USERS))


def test_the_rights_of_the_chart_were_enough_for_all_of_this(site: MailSite) -> None:
    for log in site.group.folder.glob("*.log"):
        refused = [line for line in log.read_text().splitlines() if "forbidden" in line.lower()]
        assert not [line for line in refused if not site.in_outage(line)], log.name

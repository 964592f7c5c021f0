"""What goes wrong at a mail site, or is changed while it runs: mails are told all the same, and the status is true.

A second MailPushConfig, `other`, has no pods that run.

One site for all tests of this file, in their order; each leaves it as it found it, but for the last. Its Dovecot is
2.4, that of the other sites 2.3.
"""

import json
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from dev.services.webhook import Behaviour, Received
from mailpush import names
from mailpush.sharding.leases import MAP_COPY
from mailpush.sharding.shardmap import ShardMap
from tests.sites.mail import CALLBACK_PASSWORD, CLIENT, MailSite, condition
from tests.sites.namespace import Namespace

USERS = (3, 4, 5)


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[MailSite]:
    control_plane.kubectl("create", "namespace", "troubles", check=True)
    site = MailSite(Namespace(control_plane, "troubles"), replicas=2, dovecot="2.4")
    try:
        site.install()
        site.start_pods()
        site.namespace.apply(json.dumps(site.manifest() | {"metadata": {"name": "other"}}))
        site.wait_for("the other config has a map", lambda: site.namespace.get("shardmap", "other"))
        site.register(*USERS)
        site.wait_listening(*USERS)
        yield site
    finally:
        site.close()
        control_plane.kubectl("delete", "namespace", "troubles", "--wait=false")


def deliver(site: MailSite, subject: str) -> list[str]:
    """One mail to each user; the subjects."""
    subjects = [f"{subject} {number}" for number in USERS]
    for number, text in zip(USERS, subjects, strict=True):
        site.dovecot.deliver(f"u{number}", subject=text)
    return subjects


def any_holds(text: str, received: list[Received]) -> bool:
    return any(text.encode() in one.body for one in received)


def reasons(site: MailSite) -> dict[int, str | None]:
    found = site.users()
    return {number: found[number].get("reason") for number in USERS}


def configure(site: MailSite, **spec: Any) -> None:
    manifest = site.manifest()
    manifest["spec"] |= spec
    site.namespace.apply(json.dumps(manifest))


def test_mails_that_come_while_redis_is_away_are_told_once_when_it_is_back(site: MailSite) -> None:
    site.redis.stop()
    try:
        subjects = deliver(site, "without redis")
    finally:
        site.redis.start()
    site.told_once(subjects)


def test_a_dovecot_that_was_restarted_calls_on(site: MailSite) -> None:
    site.dovecot.stop()
    site.dovecot.start()
    site.told_once(deliver(site, "after a restart"))


def test_a_target_that_refuses_redirects_or_asks_for_patience_delays_no_delivery(site: MailSite) -> None:
    subjects = []
    for status, headers in (
        (500, {}),
        (401, {}),
        (404, {}),
        (302, {"location": f"{site.receiver.url}/elsewhere"}),
        (429, {"retry-after": "1"}),
    ):
        site.receiver.behaviour = Behaviour(status=status, headers=headers)
        subjects += deliver(site, f"answered with {status}")
        site.receiver.wait(partial(any_holds, f"answered with {status}"))
    assert not any(one.path.endswith("/elsewhere") for one in site.receiver.received)
    site.receiver.clear()  # first: what is taken is told once only
    site.receiver.behave()
    site.wait_told(*subjects, seconds=120)


def test_the_config_says_which_target_does_not_take_notifications_until_it_does(site: MailSite) -> None:
    def degraded() -> tuple[str, str]:
        conditions = (site.namespace.get("mpc", "main") or {})["status"]["conditions"]
        said: dict[str, str] = next((one for one in conditions if one["type"] == "TransportDegraded"), {})
        return said.get("status", ""), said.get("message", "")

    site.wait_for("all is well", lambda: degraded()[0] == "False")
    site.receiver.behave(status=503)
    subjects = deliver(site, "to a target in trouble")
    try:
        # For a while it may still tell of the trouble before.
        site.wait_for("it says so", lambda: degraded()[0] == "True" and "devices (http_5xx, " in degraded()[1], 120)
    finally:
        site.receiver.behave()
    site.wait_told(*subjects, seconds=120)
    deliver(site, "to a target that is well again")
    site.wait_for("all is well again", lambda: degraded()[0] == "False", 120)


def shard_map(site: MailSite) -> ShardMap | None:
    found = site.namespace.get("shardmap", "main")
    return None if found is None else ShardMap.from_spec(found["spec"])


def test_a_map_that_is_deleted_while_no_operator_runs_is_made_again_from_a_pods_copy(site: MailSite) -> None:
    before = shard_map(site)
    assert before is not None
    site.kill_operator()
    site.namespace.kubectl("delete", "shardmap", "main")
    subjects = deliver(site, "without a map")
    site.start_operator()

    def made_again() -> ShardMap | None:
        found = shard_map(site)
        return found if found is not None and not found.restoring else None

    after = site.wait_for("there is one again", made_again)
    assert after.epoch > before.epoch + 1_000_000
    assert after.owner_refs() == before.owner_refs(), "nobody moves"
    site.told_once([*subjects, *deliver(site, "with it again")])

    def shown() -> bool:
        return any(MAP_COPY in lease["metadata"].get("annotations", {}) for lease in site.namespace.list("leases"))

    site.wait_for("no pod shows its copy any more", lambda: not shown())


def said_of_config(site: MailSite, type_: str) -> tuple[str, str]:
    conditions = (site.namespace.get("mpc", "main") or {})["status"]["conditions"]
    return next(((one["status"], one["reason"]) for one in conditions if one["type"] == type_), ("", ""))


def test_callbacks_with_a_wrong_login_are_named_until_they_come_with_the_right_one(site: MailSite) -> None:
    site.told_once(deliver(site, "with the right login"))
    site.wait_for("it calls", lambda: said_of_config(site, "CallbackDegraded") == ("False", "Called"))
    right = site.callback_url(0)
    site.dovecot.set_callbacks(right.replace(f":{CALLBACK_PASSWORD}@", ":wrong@"))
    deliver(site, "with a wrong login")
    site.wait_for("it says so", lambda: said_of_config(site, "CallbackDegraded") == ("True", "WrongLogin"))
    site.dovecot.set_callbacks(right)
    site.told_once([*deliver(site, "right again"), *deliver(site, "and again")])


def test_a_redis_that_may_evict_is_named_until_it_may_no_more(site: MailSite) -> None:
    def may_evict() -> tuple[str, str]:
        return said_of_config(site, "RedisMayEvict")

    site.wait_for("all is well", lambda: may_evict() == ("False", "NoEviction"))
    site.redis.set_policy("allkeys-lru")
    site.wait_for("it says so", lambda: may_evict() == ("True", "EvictionPolicy"))
    site.redis.set_policy("noeviction")
    site.wait_for("all is well again", lambda: may_evict() == ("False", "NoEviction"))


def test_a_user_whose_entry_names_a_login_is_told_where_logins_count(site: MailSite) -> None:
    """Also at a pod that does not own the user: Dovecot calls one pod for all users."""
    configure(site, mechanisms={"dovecot": {"userForm": "login"}})

    def told() -> bool:
        subjects = deliver(site, "by login")
        return set(subjects) <= {subject for subject, _ in site.told()}

    for number in USERS:
        site.dovecot.set_metadata(f"u{number}", f"user=U{number}")
    try:
        site.wait_for("they are told once the pods know of it", told)
    finally:
        for number in USERS:
            site.dovecot.set_metadata(f"u{number}", f"user={number}@1")
        configure(site)


def test_a_server_that_is_not_there_is_named_and_nobody_is_called_ready(site: MailSite) -> None:
    access = site.manifest()["spec"]["mailAccess"]
    site.wait_for("ready", lambda: said_of_config(site, "Ready") == ("True", "Listening"))
    with socket.socket() as unused:
        unused.bind((site.dovecot.host, 0))  # and nothing listens there
        port = unused.getsockname()[1]
        configure(site, mailAccess={**access, "servers": [{**access["servers"][0], "port": port}]})
        site.wait_for("it says so", lambda: said_of_config(site, "MailServerDegraded") == ("True", "ServerUnreachable"))
        site.wait_for("not ready", lambda: said_of_config(site, "Ready") == ("False", "NobodyListening"))
    configure(site)
    site.wait_for("ready again", lambda: said_of_config(site, "Ready") == ("True", "Listening"), 120)
    site.wait_for("and well", lambda: said_of_config(site, "MailServerDegraded") == ("False", "Working"))
    site.wait_listening(*USERS)
    site.told_once(deliver(site, "from the right port"))


def test_the_source_of_passwords_is_changed_and_changed_back_without_a_restart(site: MailSite) -> None:
    processes = {name: pod.pid for name, pod in site.pods.items()}
    access = site.manifest()["spec"]["mailAccess"]
    own = {"passwordSource": "session", "userSecrets": {"enabled": True}, "servers": access["servers"]}
    configure(site, mailAccess=own)
    site.wait_for("nobody has a password", lambda: set(reasons(site).values()) == {"PasswordMissing"})
    site.secret("of-u3", password=site.dovecot.password)
    site.register(3, credentialsSecretRef={"name": "of-u3"})
    site.wait_listening(3)
    site.dovecot.deliver("u3", subject="with a password of its own")
    site.wait_told("with a password of its own")
    configure(site)
    site.register(3)
    site.wait_listening(*USERS)
    site.told_once(deliver(site, "with the master's again"))
    assert {name: pod.pid for name, pod in site.pods.items() if site.runs(pod)} == processes


def test_a_rotated_master_password_is_used_for_who_comes_next_and_stands_in_no_log(site: MailSite) -> None:
    before = site.dovecot.master_password
    masters = site.dovecot.config.with_name("master-users")
    try:
        rotate(site, masters, "the-new-master-password")
        site.register(6)
        site.wait_listening(6, seconds=120)
        site.told_once(deliver(site, "rotated"))
        for log in site.group.folder.glob("*.log"):
            assert "the-new-master-password" not in log.read_text(), log.name
    finally:
        rotate(site, masters, before)
    site.namespace.kubectl("delete", "pushuser", "main-1-6", "--timeout=90s")
    assert site.dovecot.metadata("u6") is None


def rotate(site: MailSite, masters: Any, password: str) -> None:
    """At Dovecot, which reads the file anew, and in the Secret."""
    before = site.namespace.written_hash()
    masters.write_text(f"{site.dovecot.master_user}:{{PLAIN}}{password}\n")
    site.secret("master", password=password)

    def rolled_out() -> bool:
        written, status = site.namespace.written_hash(), (site.namespace.get("mpc", "main") or {})["status"]
        said = [status["configHash"], *(one["hash"] for one in status["configPods"])]
        return written != before and said == [written, written]

    site.wait_for("all pods run the new password", rolled_out)


def test_a_user_who_goes_over_to_another_config_stays_registered(site: MailSite) -> None:
    spec = {"configRef": {"name": "other"}, "contextId": 1, "userId": 3, "clients": [CLIENT], "login": "u3"}
    later = {"apiVersion": names.API_VERSION, "kind": "PushUser", "metadata": {"name": "other-1-3"}, "spec": spec}
    site.namespace.apply(json.dumps(later))
    site.namespace.kubectl("delete", "pushuser", "main-1-3", "--timeout=90s")
    assert site.dovecot.metadata("u3") == "user=3@1"
    site.namespace.kubectl("delete", "pushuser", "other-1-3", "--timeout=90s")
    site.register(3)
    site.wait_listening(3)


def test_users_of_a_deleted_config_say_that_nobody_listens_and_can_be_deleted(site: MailSite) -> None:
    site.namespace.kubectl("delete", "mailpushconfig", "main", "--timeout=60s")

    def said() -> bool:
        found = site.users()
        return all(
            (condition(found[number], "Accepted"), condition(found[number], "Listening"), found[number].get("reason"))
            == ("False", "Unknown", "OwnerLost")
            for number in USERS
        )

    site.wait_for("they say so", said)
    site.namespace.kubectl("delete", "pushusers", "--all", "--timeout=60s")

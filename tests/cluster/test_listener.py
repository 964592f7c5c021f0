"""One or two real listener processes on a real API server, with a real Dovecot, Redis and webhook receiver."""

import json
import signal
from collections.abc import Iterator

import pytest

from mailpush import names
from mailpush.sharding.shardmap import Move
from mailpush.sharding.slots import slot_of
from tests.sites.listener import ListenerSite
from tests.sites.namespace import Namespace, wait_for


@pytest.fixture
def site(namespace: Namespace) -> Iterator[ListenerSite]:
    site = ListenerSite(namespace)
    try:
        site.configure()
        yield site
    finally:
        site.close()


def one_pod(site: ListenerSite, *users: int) -> str:
    """Pod 0 owns everything and listens for the users."""
    site.pod(0)
    site.assign(0)
    site.register(*users)
    process = site.start(0)
    for user in users:
        site.wait_status(user, permanent=True, reason="Registered", pod=site.pods[0].name)
    return process


def two_pods(site: ListenerSite, owner: dict[int, int]) -> tuple[str, str]:
    """Pods 0 and 1, each listening for the users that `owner` gives it."""
    site.pod(0)
    site.pod(1)
    site.assign(owner)
    site.register(*owner)
    processes = site.start(0), site.start(1)
    for user, ordinal in owner.items():
        site.wait_status(user, permanent=True, reason="Registered", pod=site.pods[ordinal].name)
    return processes


def test_a_delivered_mail_is_told_and_kubectl_prints_who_listens(site: ListenerSite) -> None:
    process = one_pod(site, 3, 4)
    site.register(5, clients=("somebody-else",))
    site.wait_status(5, permanent=False, reason="ClientNotAllowed")

    site.dovecot.deliver("u3", subject="for three")
    site.wait_told("for three")

    rows = site.namespace.kubectl("get", "pushusers").splitlines()
    printed = {row.split()[0]: row.split() for row in rows}
    assert printed["main-1-3"][1:8] == ["1", "3", "true", "dovecot", site.pods[0].name, "True", "Registered"]
    assert "ClientNotAllowed" in printed["main-1-5"]

    def lease_says_all() -> bool:
        """Counts go out with the next renewal."""
        lease = site.lease(0)
        return (
            (lease.counts.get("assigned"), lease.counts.get("listening"), lease.denied)
            == (3, 2, {"ClientNotAllowed": 1})
            and (lease.capable, lease.config_hash) == (True, site.rendered.config_hash)
            and lease.applied_epoch == site.map.epoch
        )

    wait_for("the Lease tells it", lease_says_all)
    for secret in (site.dovecot.master_password, "callback-password"):
        assert secret not in site.log(process)


def test_a_mail_that_reaches_another_pod_is_handed_to_the_owner_and_told_once(site: ListenerSite) -> None:
    two_pods(site, {3: 0, 4: 1})
    for number in (3, 4):  # Dovecot calls both pods for each mail
        site.dovecot.deliver(f"u{number}", subject=f"for {number}")
        site.told_in_all(*(f"for {one}" for one in range(3, number + 1)), pods=(0, 1))
    handed = "mailpush_handover_total"
    assert min(site.metric(0, handed), site.metric(1, handed)) >= 2, "both pods have dealt with both"


def test_a_giver_releases_before_the_receiver_starts(site: ListenerSite) -> None:
    two_pods(site, {3: 0, 4: 1})
    moving = Move(site.pods[0], site.pods[1], site.map.epoch + 1, frozenset({slot_of(1, 3)}))
    site.assign({3: 0, 4: 1}, [moving])

    wait_for("the giver releases", lambda: site.lease(0).released_through >= moving.epoch)
    site.wait_status(3, pod=site.pods[1].name, permanent=True)  # without waiting for the operator
    site.dovecot.deliver("u3", subject="after the move")
    site.told_in_all("after the move", pods=(0, 1))


def test_a_paused_pod_that_was_fenced_ends_and_tells_nothing_twice(site: ListenerSite) -> None:
    first, _ = two_pods(site, {3: 0, 4: 1})
    site.dovecot.deliver("u3", subject="before")
    site.wait_told("before")

    site.signal(first, signal.SIGSTOP)
    site.fence(0)
    site.assign({3: 1, 4: 1})
    site.wait_status(3, pod=site.pods[1].name, permanent=True)
    site.dovecot.deliver("u3", subject="while paused")
    site.wait_told("while paused")

    site.signal(first, signal.SIGCONT)
    assert site.exit_code(first) == 3, site.log(first)
    assert "lease_lost" in site.log(first)
    site.start(0)  # the container's restart finds the callbacks in its journal
    wait_for("the pod is back", lambda: site.lease(0).applied_epoch == site.map.epoch)
    site.told_in_all("before", "while paused", pods=(0, 1))
    site.dovecot.deliver("u3", subject="after")
    site.told_in_all("before", "while paused", "after", pods=(0, 1))


def test_a_process_with_another_pod_uid_does_not_take_the_lease(site: ListenerSite) -> None:
    one_pod(site, 3)
    holder = site.holder(0)
    other = site.start(0, uid="11111111-2222-4333-8444-555555555555", address=site.address(7))
    wait_for("it says what it waits for", lambda: "is not this one" in site.log(other))
    site.dovecot.deliver("u3", subject="still here")
    site.told_in_all("still here", pods=(0, 7))
    assert site.holder(0) == holder


def test_a_successor_takes_the_lease_and_the_process_of_a_pod_deleted_by_force_ends(site: ListenerSite) -> None:
    old = one_pod(site, 3)
    former = site.pods[0]
    site.namespace.kubectl("delete", "pod", former.name, "--force", "--grace-period=0")
    assert site.pod(0).uid != former.uid
    site.start(0, address=site.address(7))
    assert site.exit_code(old) == 3, site.log(old)
    assert site.pods[0].uid in site.holder(0)
    site.assign(0)
    wait_for("the successor runs the map", lambda: site.lease(0).applied_epoch == site.map.epoch)
    site.dovecot.set_callbacks(site.callback_url(7))
    site.dovecot.deliver("u3", subject="to the successor")
    site.wait_told("to the successor")


def test_a_restarted_container_takes_its_lease_and_its_slots_back(site: ListenerSite) -> None:
    process = one_pod(site, 3)
    holder = site.holder(0)
    site.signal(process, signal.SIGKILL)
    site.exit_code(process)
    site.start(0)
    wait_for("the new process holds the Lease", lambda: site.holder(0) not in ("", holder))
    site.dovecot.deliver("u3", subject="again")
    site.wait_told("again")


def test_a_new_configuration_is_run_without_a_restart_and_an_invalid_one_is_not(site: ListenerSite) -> None:
    process = one_pod(site, 3)
    site.configure(allowedClients=["nobody*"])
    site.wait_status(3, permanent=False, reason="ClientNotAllowed")
    wait_for("the Lease says so", lambda: site.lease(0).config_hash == site.rendered.config_hash)
    wait_for("a denied user is unregistered", lambda: site.dovecot.metadata("u3") is None)

    good = site.configure()
    site.wait_status(3, permanent=True, reason="Registered")
    site.configure(properties={"com.openexchange.push.imapidle.delay": "soon"})
    wait_for("the Lease says so", lambda: site.lease(0).reason == "ConfigurationInvalid")
    assert (site.lease(0).capable, site.lease(0).config_hash) == (True, good.config_hash)
    site.dovecot.deliver("u3", subject="with the last good one")
    site.wait_told("with the last good one")

    site.configure()
    wait_for("all is well again", lambda: site.lease(0).reason == "")
    site.signal(process, signal.SIGTERM)
    assert site.exit_code(process) == 0


def test_a_deleted_user_is_unregistered_and_one_that_only_moves_away_is_not(site: ListenerSite) -> None:
    one_pod(site, 3, 4)
    name = names.push_user_name("main", 1, 3)
    finalizers = '{"metadata":{"finalizers":["%s"]}}'
    site.namespace.kubectl("patch", "pushuser", name, "--type=merge", "-p", finalizers % names.FINALIZER)
    site.namespace.kubectl("delete", "pushuser", name, "--wait=false")
    site.wait_status(3, permanent=False, reason="Unregistered")
    assert site.dovecot.metadata("u3") is None
    site.namespace.kubectl("patch", "pushuser", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')

    label = f"{names.CONFIG_LABEL}-"
    site.namespace.kubectl("label", "pushuser", names.push_user_name("main", 1, 4), label)
    gone = {"assigned": 0, "listening": 0, "failed": 0, "sweeping": 0}
    wait_for("the pod lets go of the user", lambda: site.lease(0).counts == gone)
    assert site.dovecot.metadata("u4") == "user=4@1"


def test_sigterm_gives_the_slots_away_first_and_leaves_an_empty_lease(site: ListenerSite) -> None:
    first, _ = two_pods(site, {3: 0, 4: 1})
    site.signal(first, signal.SIGTERM)
    wait_for("it says that it drains", lambda: site.lease(0).draining)
    moving = Move(site.pods[0], site.pods[1], site.map.epoch + 1, frozenset({slot_of(1, 3)}))
    site.assign({3: 0, 4: 1}, [moving])
    site.wait_status(3, pod=site.pods[1].name, permanent=True)
    site.dovecot.deliver("u3", subject="meanwhile")  # the ending pod still takes callbacks, and hands them over
    site.wait_told("meanwhile")
    assert site.exit_code(first) == 0
    assert site.holder(0) == ""
    site.told_in_all("meanwhile", pods=(1,))


def test_a_connection_that_waits_sees_mail_where_that_is_allowed(site: ListenerSite) -> None:
    site.configure(
        packages={"status": {"open-xchange-push-imapidle": "enabled"}},
        mechanisms={"imapidle": {"supportsPermanentListeners": True, "delay": 100}},
    )
    site.pod(0)
    site.assign(0)
    site.register(3)
    site.start(0)
    site.wait_status(3, permanent=True, reason="Idling", mechanism="imapidle")
    site.dovecot.deliver("u3", subject="seen by IDLE")
    site.wait_told("seen by IDLE")
    assert site.dovecot.metadata("u3") is None


def test_a_wrong_password_is_told_and_the_right_one_is_taken_without_a_restart(site: ListenerSite) -> None:
    server = site.spec()["mailAccess"]["servers"]
    site.configure(mailAccess={"passwordSource": "session", "userSecrets": {"enabled": True}, "servers": server})
    site.secret("of-u3", password="wrong")
    site.pod(0)
    site.assign(0)
    site.register(3, credentialsSecretRef={"name": "of-u3"})
    process = site.start(0)
    site.wait_status(3, permanent=False, reason="AuthenticationFailed")
    site.secret("of-u3", password=site.dovecot.password)
    site.namespace.kubectl("annotate", "pushuser", names.push_user_name("main", 1, 3), "looked-at=again")
    site.wait_status(3, permanent=True, reason="Registered")
    site.secret("of-u3", password="wrong again")
    changed = site.namespace.get("secret", "of-u3") or {}
    said = json.dumps({"status": {"secretVersion": changed["metadata"]["resourceVersion"]}})  # as the operator says it
    name = names.push_user_name("main", 1, 3)
    site.namespace.kubectl("patch", "pushuser", name, "--subresource=status", "--type=merge", "-p", said)
    site.wait_status(3, permanent=False, reason="AuthenticationFailed")
    site.secret("not-permitted", permitted=False, password=site.dovecot.password)
    site.register(3, credentialsSecretRef={"name": "not-permitted"})
    site.wait_status(3, permanent=False, reason="SecretNotPermitted")
    assert site.dovecot.password not in site.log(process)


def test_an_api_server_that_is_down_silences_nobody(site: ListenerSite) -> None:
    one_pod(site, 3)
    plane = site.namespace.plane
    plane.stop_apiserver()
    try:
        wait_for("the right runs out", lambda: site.metric(0, "mailpush_lease_right_seconds") == 0)
        site.dovecot.deliver("u3", subject="without the API")
        site.wait_told("without the API")
    finally:
        plane.start_apiserver()
    wait_for("it renews again", lambda: site.metric(0, "mailpush_lease_right_seconds") > 0)
    site.dovecot.deliver("u3", subject="with it")
    site.told_in_all("without the API", "with it", pods=(0,))


def test_a_pod_that_starts_without_the_api_keeps_what_dovecot_tells_it(site: ListenerSite) -> None:
    site.pod(0)
    site.assign(0)
    site.register(3)
    site.dovecot.set_metadata("u3", "user=3@1")  # as an earlier pod has left it
    plane = site.namespace.plane
    plane.stop_apiserver()
    try:
        process = site.start(0)
        wait_for("it says what it waits for", lambda: "the Kubernetes API" in site.log(process))
        site.dovecot.deliver("u3", subject="while it waits")
        wait_for("the callback is kept", lambda: site.metric(0, "mailpush_handover_pending") >= 1)
    finally:
        plane.start_apiserver()
    site.told_in_all("while it waits", pods=(0,))
    site.wait_status(3, permanent=True, reason="Registered")

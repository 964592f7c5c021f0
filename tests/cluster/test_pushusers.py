"""`pushusers` against a whole site: operator, listeners and Dovecot as processes, with the rights of the chart.

One site for all tests of this file; each leaves it as it found it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from mailpush import names
from tests.sites.mail import CLIENT, MailSite
from tests.sites.namespace import Namespace

USERS = (3, 4, 5, 6)
DENIED = 20
OTHER = f"{CLIENT}-other"
LOGIN, PASSWORD, OPERATORS_PASSWORD = "oxadmin", "secret of the pods", "secret of the operator"


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[MailSite]:
    control_plane.kubectl("create", "namespace", "pushusers", check=True)
    site = MailSite(Namespace(control_plane, "pushusers"), replicas=2)
    folder = site.group.folder / "admin"  # what a kubelet would mount of the chart's admin.existingSecret
    folder.mkdir()
    for key, text in {"login": LOGIN, "password": OPERATORS_PASSWORD}.items():
        (folder / key).write_text(text)
    site.values = {"admin": {"enabled": True, "existingSecret": "admin"}}
    site.operator_environment = {"MAILPUSH_ADMIN_PORT": "0", "MAILPUSH_ADMIN_DIRECTORY": str(folder)}
    site.spec = {"admin": {"authSecretRef": {"name": "admin"}}}
    try:
        site.secret("admin", login=LOGIN, password=PASSWORD)
        site.install()
        site.start_pods()
        site.register(*USERS[:-1])
        site.register(USERS[-1], clients=(CLIENT, OTHER))
        site.register(DENIED, clients=("some-other-client",))
        site.wait_listening(*USERS)
        yield site
    finally:
        site.close()
        control_plane.kubectl("delete", "namespace", "pushusers", "--wait=false")


def pushusers(*arguments: str, password: str) -> tuple[int, str, str]:
    """Exit code and the two streams; the password goes by the environment."""
    done = subprocess.run(
        [Path(sys.executable).parent / "pushusers", "-A", LOGIN, *arguments],
        env={"PUSHUSERS_ADMIN_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def at_operator(site: MailSite, *arguments: str, password: str = OPERATORS_PASSWORD) -> tuple[int, str, str]:
    return pushusers("-s", "127.0.0.1", "-p", str(endpoint(site, site.operator)["port"]), *arguments, password=password)


def at_pod(site: MailSite, pod: str, *arguments: str, password: str = PASSWORD) -> tuple[int, str, str]:
    # Without -p: the port is OX's default.
    return pushusers("-s", endpoint(site, site.pods[pod].process)["address"], *arguments, password=password)


def endpoint(site: MailSite, process: str) -> dict[str, Any]:
    """What the process says of its admin endpoint in its log."""

    def said() -> dict[str, Any] | None:
        lines = [line for line in site.group.read_log(process).splitlines() if '"admin_serves"' in line]
        return json.loads(lines[-1]) if lines else None

    found: dict[str, Any] = site.wait_for(f"the admin endpoint of {process}", said)
    return found


def listed(text: str) -> set[int]:
    return {int(line.split()[1]) for line in text.splitlines()[1:]}


def test_the_operator_lists_the_listeners_of_all_pods_and_a_pod_its_own(site: MailSite) -> None:
    # Its own view of the users comes by a watch.
    site.wait_for("the operator lists them all", lambda: listed(at_operator(site, "--list")[1]) == set(USERS))
    code, out, err = at_operator(site, "--list")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["Context", "User", "Permanent"]
    assert out.splitlines()[1:] == [f"      1 {number:<4} true     " for number in USERS]
    assert [at_pod(site, pod)[::2] for pod in site.pods] == [(0, ""), (0, "")]

    def pods_agree() -> bool:  # once users who move to the pod that came last have arrived
        owners = {number: status.get("pod") for number, status in site.users().items()}
        mine = {pod: {number for number in USERS if owners[number] == pod} for pod in site.pods}
        return {pod: listed(at_pod(site, pod)[1]) for pod in site.pods} == mine

    site.wait_for("each pod lists the users that it owns", pods_agree)


def test_registrations_are_listed_whether_they_are_listened_for_or_not(site: MailSite) -> None:
    rows = [*((number, CLIENT) for number in USERS), (USERS[-1], OTHER), (DENIED, "some-other-client")]
    wanted = [["1", str(user), client] for user, client in rows]
    for ask in (partial(at_operator, site, "-l"), partial(at_pod, site, "mail-push-main-1", "-l")):
        site.wait_for("all are listed", partial(lists, ask, wanted))
        code, out, err = ask()
        assert (code, err) == (0, "")
        assert out.splitlines()[0].split() == ["Context", "User", "Client"]


def lists(ask: Callable[[], tuple[int, str, str]], wanted: list[list[str]]) -> bool:
    return [line.split() for line in ask()[1].splitlines()[1:]] == wanted


def test_with_one_of_two_clients_gone_the_listener_stays(site: MailSite) -> None:
    code, out, err = at_operator(site, "-r", "-c", "1", "-u", "6", "-i", OTHER)
    assert (code, err) == (0, "")
    assert out == f"Push registration successfully deleted for user 6 in context 1 for client '{OTHER}'\n"
    found = site.namespace.get("pushuser", "main-1-6")
    assert found is not None
    assert found["spec"]["clients"] == [CLIENT]
    assert site.dovecot.metadata("u6"), "it is still registered at Dovecot"
    site.dovecot.deliver("u6", subject="still told")
    site.wait_told("still told")
    site.wait_listening(6)
    code, out, _ = at_operator(site, "-r", "-c", "1", "-u", "6", "-i", OTHER, "--strict-exit")
    assert (code, out) == (1, f"No such push registration for user 6 in context 1 for client '{OTHER}'\n")
    site.register(6, clients=(CLIENT, OTHER))


def test_the_last_client_takes_the_listener_and_its_registration_at_dovecot_along(site: MailSite) -> None:
    site.register(7)
    site.wait_listening(7)
    assert site.dovecot.metadata("u7")
    site.wait_for("the operator lists the listener", lambda: 7 in listed(at_operator(site)[1]))
    code, out, err = at_operator(site, "-r", "-c", "1", "-u", "7", "-i", CLIENT)
    assert (code, err) == (0, "")
    assert out == f"Push registration successfully deleted for user 7 in context 1 for client '{CLIENT}'\n"
    site.wait_for("Dovecot forgets the user: METADATA is NIL", lambda: site.dovecot.metadata("u7") is None)
    site.wait_for("the push user is gone", lambda: site.namespace.get("pushuser", "main-1-7") is None)
    site.wait_for("no listener is listed any more", lambda: 7 not in listed(at_operator(site)[1]))
    code, out, _ = at_operator(site, "-r", "-c", "1", "-u", "7", "-i", CLIENT)
    assert (code, out) == (0, f"No such push registration for user 7 in context 1 for client '{CLIENT}'\n")


def test_a_pod_names_who_can_unregister(site: MailSite) -> None:
    code, out, err = at_pod(site, "mail-push-main-0", "-r", "-c", "1", "-u", "3", "-i", CLIENT)
    assert (code, out) == (1, "")
    assert err.startswith("A listener pod may not change push users: ask the operator's admin endpoint")
    assert site.namespace.get("pushuser", "main-1-3") is not None


def test_each_endpoint_has_its_own_password_and_none_stands_in_a_log(site: MailSite) -> None:
    assert at_operator(site, password=PASSWORD) == (1, "", "Authentication failed\n")
    assert at_pod(site, "mail-push-main-0", password=OPERATORS_PASSWORD) == (1, "", "Authentication failed\n")
    logs = "".join(log.read_text() for log in site.group.folder.glob("*.log"))
    assert "admin_refused" in logs
    assert PASSWORD not in logs
    assert OPERATORS_PASSWORD not in logs


def test_a_changed_secret_counts_without_a_restart(site: MailSite) -> None:
    processes = {name: pod.pid for name, pod in site.pods.items()}
    site.secret("admin", login=LOGIN, password="another")
    site.wait_for(
        "the pods take the new password",
        lambda: all(at_pod(site, pod, password="another")[0] == 0 for pod in site.pods),
    )
    assert at_pod(site, "mail-push-main-0") == (1, "", "Authentication failed\n")
    assert all(site.runs(site.pods[name]) and site.pods[name].pid == pid for name, pid in processes.items())
    site.secret("admin", login=LOGIN, password=PASSWORD)
    site.wait_for("the pods take the first one", lambda: all(at_pod(site, pod)[0] == 0 for pod in site.pods))


def test_the_admin_port_is_oxs() -> None:
    assert names.ADMIN_PORT == 1099

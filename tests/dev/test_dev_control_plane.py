"""The control plane mode: it comes up, stands beside another, and ends with its parent."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dev.processes.group import alive, wait_until

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]

# A parent that starts a control plane, says where it is and waits to be killed.
PARENT = """
import signal, sys
from dev.cluster.controlplane import ControlPlane
plane = ControlPlane.start()
print(plane.folder, flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.start() as plane:
        yield plane


def processes_of(folder: Path) -> list[int]:
    """Pids of everything whose command line names the folder."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(folder).encode() in _read(path) and alive(int(path.parent.name))
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_controllers_work_although_there_is_no_node(plane: ControlPlane) -> None:
    plane.kubectl("create", "deployment", "web", "--image=none", "--replicas=2", check=True)
    columns = "--output=jsonpath={.items[*].status.phase}"
    wait_until(
        lambda: plane.kubectl("get", "pods", "--selector=app=web", columns).stdout == "Pending Pending",
        "two pods that wait for a node",
    )


def test_an_object_goes_with_its_owner(plane: ControlPlane) -> None:
    plane.kubectl("create", "deployment", "short", "--image=none", check=True)
    count = ("get", "pods,replicasets", "--selector=app=short", "--output=name")
    wait_until(lambda: plane.kubectl(*count, check=True).stdout.count("/") >= 2, "the deployment has children")
    plane.kubectl("delete", "deployment", "short", check=True)
    wait_until(lambda: plane.kubectl(*count, check=True).stdout == "", "the children are collected")


def test_a_service_account_may_do_what_its_role_allows_and_no_more(plane: ControlPlane) -> None:
    for words in (
        ("create", "serviceaccount", "reader"),
        ("create", "role", "reader", "--verb=get,list", "--resource=configmaps"),
        ("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader"),
    ):
        plane.kubectl(*words, check=True)
    config = plane.kubeconfig_for_service_account("default", "reader")
    # The API server's authorizer watches roles and bindings: it knows them a moment after they were made.
    wait_until(lambda: plane.kubectl("get", "configmaps", as_kubeconfig=config).returncode == 0, "it may read")
    refused = plane.kubectl("get", "secrets", as_kubeconfig=config)
    assert refused.returncode != 0
    assert "system:serviceaccount:default:reader" in refused.stderr
    assert config.stat().st_mode & 0o077 == 0


def test_a_token_can_be_bound_to_a_pod(plane: ControlPlane) -> None:
    plane.kubectl("run", "one", "--image=none", check=True)
    config = plane.kubeconfig_for_service_account("default", "default", pod="one")
    who = plane.kubectl("auth", "whoami", "--output=json", as_kubeconfig=config, check=True).stdout
    assert '"authentication.kubernetes.io/pod-name"' in who


def test_what_was_stored_is_there_after_the_api_server_was_away(plane: ControlPlane) -> None:
    plane.kubectl("create", "configmap", "kept", "--from-literal=a=1", check=True)
    plane.stop_apiserver()
    assert plane.kubectl("get", "configmap", "kept", "--request-timeout=5s").returncode != 0
    plane.start_apiserver()
    assert plane.kubectl("get", "configmap", "kept").returncode == 0


def test_two_stand_side_by_side_and_know_nothing_of_each_other(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", "only-here", check=True)
    with ControlPlane.start() as other:
        assert other.server != plane.server
        assert other.kubectl("get", "namespace", "only-here").returncode != 0
        assert plane.kubectl("get", "namespace", "only-here").returncode == 0
        crossed = other.kubectl("get", "namespaces", f"--server={plane.server}")
        assert crossed.returncode != 0, "one's certificate must not open the other"


def test_closing_leaves_no_process_and_no_folder() -> None:
    plane = ControlPlane.start()
    assert processes_of(plane.folder)
    plane.close()
    plane.close()
    assert not plane.folder.exists()
    assert not processes_of(plane.folder)


def test_it_ends_with_its_parent_even_when_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        folder = Path(parent.stdout.readline().strip())
        assert len(processes_of(folder)) == 3
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not processes_of(folder), "its processes are gone")
    wait_until(lambda: not folder.exists(), "its folder is gone")

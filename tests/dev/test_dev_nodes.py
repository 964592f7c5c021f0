"""The nodes mode on this very machine: real nodes, and a machine that is afterwards as it was before."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import cgroups, network, nodes, state
from dev.images import image as images
from dev.processes import run
from dev.processes.errors import DevError
from dev.processes.group import wait_until

pytestmark = pytest.mark.nodes

ROOT = Path(__file__).parents[2]

PODS = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  serviceName: web
  replicas: 2
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule,
          labelSelector: {{matchLabels: {{app: web}}}}}}
      containers:
      - name: web
        image: {image}
        imagePullPolicy: Never
        command: [python3, -m, http.server, "8000"]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{clusterIP: None, selector: {{app: web}}}}
"""


def machine() -> dict[str, object]:
    """What a cluster could have changed of this machine."""
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
    links = run.quiet("ip", "-oneline", "link").stdout.splitlines()
    return {
        "settings": {name: Path("/proc/sys", *name.split(".")).read_text() for name in state.SYSCTLS},
        "mounts": sorted(mounts),
        "namespaces": run.quiet("ip", "netns", "list").stdout,
        "links": sorted(line.split()[1] for line in links),
        "routes": re.sub(r" expires \d+sec", "", run.quiet("ip", "route", "list", "table", "all").stdout),
        "rules": run.quiet("ip", "rule", "list").stdout,
        "firewall": run.quiet("nft", "--stateless", "list", "ruleset").stdout,  # counters go on counting
        "cgroups": sorted(path.name for root, _ in cgroups.hierarchies() for path in root.glob("mp-*")),
        "folders": {str(path): path.exists() for path in (state.FOLDER, state.SOCKETS, *state.SIDE_FOLDERS)},
        "processes": state.processes() if state.FOLDER.exists() else {},
    }


def assert_as(before: dict[str, object]) -> None:
    """The kernel takes links and routes of a namespace away in its own time."""
    try:
        wait_until(lambda: machine() == before, "the machine is as it was", every=0.5)
    except DevError:
        assert machine() == before


@pytest.fixture
def before() -> dict[str, object]:
    """The machine without a cluster."""
    nodes.down()
    return machine()


@pytest.fixture(scope="module")
def cluster() -> Iterator[nodes.Cluster]:
    with nodes.Cluster.up() as cluster:
        cluster.load_images(images.testbed())
        yield cluster


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_pods_run_on_both_nodes_and_are_reached_by_address_and_by_name(cluster: nodes.Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", input=PODS.format(image=images.testbed().reference), check=True)
    cluster.kubectl("rollout", "status", "statefulset/web", "--timeout=300s", check=True)
    columns = "--output=jsonpath={range .items[*]}{.spec.nodeName} {.status.podIP}{'\\n'}{end}"
    rows = cluster.kubectl("get", "pods", "--selector=app=web", columns, check=True).stdout.split()
    assert set(rows[::2]) == {"node1", "node2"}
    wait_until(lambda: all(answers(f"http://{address}:8000/") for address in rows[1::2]), "this machine reaches them")
    look = "import urllib.request; print(urllib.request.urlopen('http://web-1.web.default.svc.cluster.local:8000/').status)"
    wait_until(
        lambda: cluster.kubectl("exec", "web-0", "--", "python3", "-c", look).stdout.strip() == "200",
        "one pod reaches the other by its name",
    )


def test_a_node_that_is_cut_off_is_reached_by_nobody_until_it_is_healed(cluster: nodes.Cluster) -> None:
    cluster.partition("node2")
    wait_until(lambda: cluster.cut_off() == ["node2"], "the link of node2 is down")
    assert not _opens(network.address(2), 10250)
    wait_until(lambda: _opens(network.address(1), 10250), "the kubelet of node1 is reached all the time")
    cluster.heal("node2")
    wait_until(lambda: cluster.cut_off() == [], "the link of node2 is up")
    wait_until(lambda: _opens(network.address(2), 10250), "the kubelet of node2 is reached again")


def _opens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def test_another_process_can_neither_take_it_nor_take_it_down(cluster: nodes.Cluster) -> None:
    for words in (("up",), ("down",)):
        done = subprocess.run(
            [sys.executable, "-m", "dev", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert f"process {os.getpid()}" in done.stderr
    wait_until(lambda: len(cluster.ready_nodes()) == 2, "both nodes are ready", timeout=180)


def test_down_leaves_the_machine_as_it_was(before: dict[str, object]) -> None:
    with nodes.Cluster.up(1) as cluster:
        cluster.load_images(images.testbed())
        cluster.kubectl("run", "one", f"--image={images.testbed().reference}", "--", "sleep", "600", check=True)
        cluster.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=300s", check=True)
        assert machine() != before
    assert_as(before)


@pytest.mark.parametrize("moment", ["network namespaces and keys: done", "1 nodes ...", "CoreDNS ..."])
def test_down_takes_away_what_a_killed_up_left(before: dict[str, object], moment: str) -> None:
    command = [sys.executable, "-m", "dev", "up", "--nodes=1"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(moment in line for line in process.stderr), "it came to that moment"
        process.send_signal(signal.SIGKILL)
    with pytest.raises(DevError, match="no cluster is up"):
        nodes.Cluster.attach()
    subprocess.run([sys.executable, "-m", "dev", "down"], cwd=ROOT, check=True)
    assert_as(before)


def test_up_starts_anew_where_one_of_its_processes_was_killed(before: dict[str, object]) -> None:
    subprocess.run([sys.executable, "-m", "dev", "up", "--nodes=1"], cwd=ROOT, check=True)
    first = state.processes()
    again = subprocess.run([sys.executable, "-m", "dev", "up", "--nodes=1"], cwd=ROOT, check=True)
    assert again.returncode == 0
    assert state.processes() == first, "a whole cluster is kept"
    os.kill(first["scheduler"], signal.SIGKILL)
    wait_until(lambda: not nodes.is_whole(), "it is not whole")
    subprocess.run([sys.executable, "-m", "dev", "up", "--nodes=1"], cwd=ROOT, check=True)
    assert nodes.is_whole()
    assert not set(first.values()) & set(state.processes().values())
    nodes.down()
    assert_as(before)

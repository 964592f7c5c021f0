"""The nodes mode: a whole cluster with one or two real nodes in network namespaces. Root; one a machine.

It stays until `down`, also when the process that brought it up ends; the next `up` takes away what a killed one left.
"""

import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

from dev.cluster import cgroups, commands, network, node, preflight, state, teardown
from dev.images import image as images
from dev.processes import run
from dev.processes.closing import Closing
from dev.processes.errors import DevError
from dev.processes.group import wait_until
from dev.processes.progress import say, step
from dev.programs import binaries, packages

_PORT = 6443
_PATIENCE = 180.0  # seconds for one thing to become ready on a busy machine
_MANIFESTS = Path(__file__).with_name("manifests")


class Cluster(Closing):
    """The machine's cluster: `kubeconfig` (the administrator's), `server`, `nodes` (their names)."""

    def __init__(self, nodes: int) -> None:
        self.nodes = tuple(node.name(number) for number in range(1, nodes + 1))
        self.server = f"https://{network.CONTROL_ADDRESS}:{_PORT}"
        self.kubeconfig = state.FOLDER / "pki" / "admin.conf"

    @classmethod
    def up(cls, nodes: int = 2, *, staying: bool = False) -> Self:
        """Brings it up, or gives the one that is up.

        With `staying` nobody in particular owns it and it is there until `down`; else this process owns it: nobody
        else may take it down while this process runs, and whoever comes later may.

        Raises:
            DevError: another process owns it, the machine lacks something, or a part does not become ready.
        """
        preflight.demand(preflight.for_nodes())
        packages.ensure(*packages.NODES, *packages.IMAGES)
        binaries.path("kube")
        own = [images.pause(), images.coredns()]
        with state.locked():
            holder = state.owner()
            if holder and holder.alive() and holder.pid != os.getpid():
                raise DevError(_held(holder))
            if holder and holder.nodes == nodes and not holder.pid and is_whole():
                say("the cluster is up already")
                return cls(nodes)
            teardown.down()
            cluster = cls(nodes)
            try:
                cluster._build(state.Owner.me(nodes, staying=staying), own)
            except BaseException:
                # Its logs are in the exception's text; a half cluster is of no use to anybody.
                teardown.down()
                raise
        return cluster

    @classmethod
    def attach(cls) -> Self:
        """The cluster that is up.

        Raises:
            DevError: there is none.
        """
        holder = state.owner()
        if holder is None or not is_whole():
            raise DevError("no cluster is up on this machine: python -m dev up")
        return cls(holder.nodes)

    def kubectl(
        self, *args: str, input: str | None = None, check: bool = False, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """kubectl as the administrator; as subprocess.run, it raises only with `check`."""
        environment = {"KUBECONFIG": str(self.kubeconfig), "HOME": str(state.FOLDER)}
        return run.quiet(binaries.path("kubectl"), *args, input=input, check=check, env=environment, timeout=timeout)

    def load_images(self, *loaded: images.Image) -> None:
        """Makes images known to every node that does not have them yet."""
        for name in self.nodes:
            number = network.node_number(name)
            known = node.images(number)
            for image in loaded:
                if image.reference not in known:
                    node.import_image(number, image.archive)

    def partition(self, name: str) -> None:
        """Cuts a node off from everything else; its pods go on running."""
        network.partition(self._number(name))

    def heal(self, name: str) -> None:
        network.heal(self._number(name))

    def cut_off(self) -> list[str]:
        """The nodes that are partitioned."""
        return [name for name in self.nodes if network.is_cut_off(self._number(name))]

    def pids(self, name: str) -> set[int]:
        """The processes of a node's pods, as the machine sees them."""
        return cgroups.pids(self._number(name))

    def pod_logs(self, name: str) -> Path:
        """The folder with the logs of a node's pods, as long as its kubelet keeps them."""
        return node.pod_logs(self._number(name))

    def ready_nodes(self) -> list[str]:
        done = self.kubectl("get", "nodes", "--output=json")
        if done.returncode:
            return []
        return [
            item["metadata"]["name"]
            for item in json.loads(done.stdout)["items"]
            if any(c["type"] == "Ready" and c["status"] == "True" for c in item["status"].get("conditions", ()))
        ]

    def close(self) -> None:
        """Takes it down."""
        down()

    def _number(self, name: str) -> int:
        number = network.node_number(name)
        if number > len(self.nodes):
            raise DevError(f"no such node: {name}; this cluster has {', '.join(self.nodes)}")
        return number

    def _build(self, holder: state.Owner, own: list[images.Image]) -> None:
        kube, control = binaries.path("kube"), network.CONTROL
        numbers = range(1, holder.nodes + 1)
        state.begin(holder)
        with step("network namespaces and keys"):
            network.up(holder.nodes)
            names = (network.CONTROL_ADDRESS, "127.0.0.1")
            keys = commands.Keys.new(state.FOLDER / "pki", names)
            keys.kubeconfig("admin", self.server, "admin", "system:masters")
        with step("control plane"):
            client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
            state.start("etcd", control, kube, *commands.etcd(state.FOLDER / "etcd", client, peer))
            api_server = commands.api_server(keys, client, network.CONTROL_ADDRESS, _PORT)
            advertise = f"--advertise-address={network.CONTROL_ADDRESS}"
            state.start("apiserver", control, kube, *api_server, advertise)
            for number in numbers:
                node.start_runtime(number)
            self._wait(
                lambda: not self.kubectl("get", "--raw=/readyz").returncode, "the API server", "etcd", "apiserver"
            )
            config = keys.kubeconfig("controller-manager", self.server, "system:kube-controller-manager")
            controllers = commands.controller_manager(keys, config, "127.0.0.1", 10257)
            state.start("controller-manager", control, kube, *controllers)
            config = keys.kubeconfig("scheduler", self.server, "system:kube-scheduler")
            state.start("scheduler", control, kube, *commands.scheduler(config, "127.0.0.1", 10259))
            binding = ("create", "clusterrolebinding", "kube-proxy", "--clusterrole=system:node-proxier")
            self.kubectl(*binding, "--user=system:kube-proxy", check=True)
        with step(f"{holder.nodes} nodes"):
            for number in numbers:
                self._wait(partial(node.runtime_answers, number), "containerd", f"containerd{number}")
            self.load_images(*own)
            for number in numbers:
                node.start_kubelet(number, keys, self.server)
            parts = [f"{part}{number}" for part in ("kubelet", "proxy", "containerd") for number in numbers]
            self._wait(lambda: len(self.ready_nodes()) == holder.nodes, "the nodes", *parts)
        with step("CoreDNS"):
            self.kubectl("apply", "-f", str(_MANIFESTS / "coredns.yaml"), check=True)
            self._wait(self._dns_is_ready, "CoreDNS", *parts)
        state.mark_ready()

    def _dns_is_ready(self) -> bool:
        output = "--output=jsonpath={.status.readyReplicas}"
        return self.kubectl("-n", "kube-system", "get", "deployment", "coredns", output).stdout == "1"

    def _wait(self, condition: Callable[[], bool], what: str, *processes: str) -> None:
        def checked() -> bool:
            state.check(*processes)
            return condition()

        wait_until(checked, f"{what}: ready", _PATIENCE, every=0.2)


def is_whole() -> bool:
    """Whether a cluster is up and all its processes run."""
    holder = state.owner()
    if holder is None or holder.boot != state.boot_id() or not state.is_ready():
        return False
    expected = {"etcd", "apiserver", "controller-manager", "scheduler"}
    expected |= {f"{part}{n}" for part in ("containerd", "kubelet", "proxy") for n in range(1, holder.nodes + 1)}
    return expected <= set(state.processes())


def down(*, force: bool = False) -> None:
    """Takes the machine's cluster down, or what is left of one; nothing to do is fine.

    Raises:
        DevError: another process owns it and runs (unless `force`).
    """
    if os.geteuid() != 0:
        raise DevError("taking the cluster down needs root")
    with state.locked():
        holder = state.owner()
        if holder and holder.alive() and holder.pid != os.getpid() and not force:
            raise DevError(_held(holder))
        teardown.down()


def _held(holder: state.Owner) -> str:
    return (
        f"this machine's cluster is held by {holder.who}, process {holder.pid}: "
        "wait for its end, or `python -m dev down --force`"
    )


def describe() -> str:
    """What is up, in a few lines."""
    holder = state.owner()
    if holder is None:
        return "no cluster is up"
    by = f"process {holder.pid}" if holder.pid else "nobody in particular"
    lines = [
        f"brought up by {holder.who}; owned by {by}{'' if not holder.pid or holder.alive() else ', which is gone'}"
    ]
    if not is_whole():
        return "\n".join([*lines, "not whole: `python -m dev down` takes away what is left"])
    cluster = Cluster(holder.nodes)
    cut, ready = cluster.cut_off(), cluster.ready_nodes()
    for name in cluster.nodes:
        lines.append(f"{name}: {'Ready' if name in ready else 'NotReady'}{', cut off' if name in cut else ''}")
    lines.append(f"kubeconfig: {cluster.kubeconfig}")
    return "\n".join(lines)

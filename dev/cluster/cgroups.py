"""One cgroup a node, in which its kubelet keeps all pods.

Version 1 with one hierarchy a controller, also beside a unified one ('hybrid'), is what this was tried on. Version 2
alone is handled as its documentation says, and was not tried.
"""

from collections.abc import Iterator
from pathlib import Path

from dev.processes.group import wait_until
from dev.processes.mounts import mounts


def name(node: int) -> str:
    return f"mp-node{node}"


def hierarchies() -> list[tuple[Path, str]]:
    """Where cgroups are mounted, and the type: `cgroup` (version 1) or `cgroup2`."""
    return [(mount.point, mount.kind) for mount in mounts() if mount.kind in {"cgroup", "cgroup2"}]


def is_version_2() -> bool:
    """Whether there is only a unified hierarchy."""
    return {kind for _, kind in hierarchies()} == {"cgroup2"}


def make(node: int) -> None:
    """Makes the node's cgroup under each controller."""
    unified_only = is_version_2()
    for root, kind in hierarchies():
        if kind == "cgroup2" and not unified_only:
            continue  # beside version 1 it has no controllers; runc makes there what it needs
        if kind == "cgroup2":
            _delegate(root)
        folder = root / name(node)
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # A version 1 cpuset begins empty, and nothing can be put into it until these are written.
            if kind == "cgroup" and (root / setting).exists():
                (folder / setting).write_text((root / setting).read_text())
        if kind == "cgroup2":
            _delegate(folder)


def pids(node: int) -> set[int]:
    """Every process of the node's pods."""
    return {pid for folder in _folders(node) for pid in _members(folder)}


def remove(node: int) -> None:
    """Removes them, the deepest first; what was in them was killed just before and may take a moment to go."""

    def gone() -> bool:
        for folder in _folders(node):
            try:
                folder.rmdir()
            except OSError:
                continue
        return not any(True for _ in _folders(node))

    wait_until(gone, f"the cgroups {name(node)} are empty", timeout=20)


def _delegate(folder: Path) -> None:
    controllers = (folder / "cgroup.controllers").read_text().split()
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in controllers))


def _folders(node: int) -> Iterator[Path]:
    """The node's cgroups in all hierarchies, children before parents."""
    for root, _ in hierarchies():
        top = root / name(node)
        if top.is_dir():
            yield from sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
            yield top


def _members(folder: Path) -> list[int]:
    try:
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []

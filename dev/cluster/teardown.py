"""Takes the nodes mode away, whole or as a killed run left it: by what is there, not by what should be there."""

import errno
import os
import signal

from dev.cluster import cgroups, network, node, state
from dev.processes import run
from dev.processes.errors import DevError
from dev.processes.group import wait_until
from dev.processes.mounts import mounts_below
from dev.processes.progress import step

_MOST_NODES = 2


def down() -> None:
    """Leaves the machine as it was before the cluster; does nothing where there is none.

    Nothing is asked to end by itself: the API server drains for as long as a watch is open, and what cannot be
    trusted to be whole can only be killed.
    """
    with step("taking the cluster down"):
        _kill_processes()
        _unmount()
        network.down()
        for number in range(1, _MOST_NODES + 1):
            cgroups.remove(number)
        node.forget_side_files()
        state.put_back()


def _kill_processes() -> None:
    """The recorded ones, then whatever is in our namespaces and cgroups: what could start others goes first."""

    def left() -> set[int]:
        pods = {pid for number in range(1, _MOST_NODES + 1) for pid in cgroups.pids(number)}
        # 0: a process of another pid namespace; not ours, whose pods' processes are all seen from here.
        return {pid for pid in pods | set(network.pids()) | set(state.processes().values()) if pid}

    def all_gone() -> bool:
        state.reap()
        for pid in left():
            _kill(pid)
        return not left()

    for pid in state.processes().values():
        _kill(pid)
    wait_until(all_gone, "the cluster's processes are gone", timeout=30)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


def _unmount() -> None:
    """Layers, volumes, the pods' network namespaces: all of them are below the folders of ours."""
    for _ in range(5):  # what is mounted over another comes to light when the upper one is gone
        points = mounts_below(state.FOLDER, state.SOCKETS)
        if not points:
            return
        for point in points:
            run.quiet("umount", "--lazy", point, check=False)
    if points := mounts_below(state.FOLDER, state.SOCKETS):
        raise DevError(f"cannot umount {', '.join(map(str, points))}")

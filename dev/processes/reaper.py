"""Keeps the processes of a test: they end when the one that asked for them ends, however it ends.

Run as a program of its own, standard library only. It reads one JSON request a line from standard input and answers one
a line on standard output. When its input closes or its parent is gone (`kill -9` included) it kills every process it
started, with what those started, and removes the folders it was given. Its children carry the parent-death signal, so
that not even killing the keeper leaves them behind: the signal is bound to the thread that forks, and here that is
the only one.

A process that has ended stays unreaped until its session has been killed: while it is a zombie, nobody else gets its
pid, by which its session is found. Threads count as well, so the 32,768 pids of a machine are through in minutes.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_keeper() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Keeper:
    """The processes by name, and the folders to remove at the end."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.folders: list[str] = []

    def start(self, name: str, argv: list[str], log: str, env: dict[str, str], cwd: str | None) -> dict[str, Any]:
        """Starts a process in a session of its own; its output goes to the end of the file `log`."""
        with open(log, "ab") as output:  # noqa: PTH123 - pathlib would double this program's start time
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_die_with_keeper,  # noqa: PLW1509 - this program has one thread
            )
        self.running[name] = process
        return {"pid": process.pid}

    def stop(self, name: str, grace: float) -> dict[str, Any]:
        """SIGTERM, then SIGKILL to its whole session `grace` seconds later (0: at once)."""
        process = self.running.pop(name, None)
        if process is None:
            return {"code": None}
        if grace and exit_code(process) is None:
            process.terminate()
            wait_for_end(process, grace)
        kill_session(process.pid)
        wait_for_session(process.pid)  # what is to come back finds the ports free
        return {"code": process.wait()}

    def poll(self, name: str) -> dict[str, Any]:
        """Its exit code, or None while it runs."""
        process = self.running.get(name)
        return {"code": exit_code(process) if process else None, "known": process is not None}

    def remove_at_end(self, folder: str) -> dict[str, Any]:
        self.folders.append(folder)
        return {}

    def end(self) -> None:
        for process in self.running.values():
            kill_session(process.pid)
        for process in self.running.values():
            process.wait()
        for folder in self.folders:
            remove(folder)


def exit_code(process: "subprocess.Popen[bytes]") -> int | None:
    """Its exit code (negative: the signal), without reaping it; None while it runs."""
    if process.returncode is not None:
        return process.returncode
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def wait_for_end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Until it has ended, unreaped, or the seconds are over."""
    ended = os.pidfd_open(process.pid)
    try:
        select.select([ended], [], [], seconds)
    finally:
        os.close(ended)


def kill_session(leader: int) -> None:
    """Kills every process of the session that `leader` began (Dovecot's services are such)."""
    for pid in session(leader):
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def wait_for_session(leader: int) -> None:
    """Until all that were killed have ended; not for ever, since one that hangs in the kernel may take its time."""
    for _ in range(1000):
        if not any(running(pid) for pid in session(leader)):
            return
        time.sleep(0.01)


def session(leader: int) -> list[int]:
    """The processes of the session that `leader` began."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                if os.getsid(int(entry)) == leader:
                    found.append(int(entry))
            except (ProcessLookupError, PermissionError):
                pass
    return found


def running(pid: int) -> bool:
    """Not so of a zombie, which has given back all that it had."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def remove(folder: str) -> None:
    """Removes a folder; a process that was just killed may still be writing there for an instant."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.05)


def main() -> None:
    """Serves requests until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent decides
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    keeper = Keeper()
    parent = int(sys.argv[1])
    gone = os.pidfd_open(parent)
    try:
        if os.getppid() != parent:
            return
        waiting = select.poll()
        waiting.register(0, select.POLLIN)
        waiting.register(gone, select.POLLIN)
        pending = b""
        while True:
            ready = {descriptor for descriptor, _ in waiting.poll()}
            if gone in ready:
                return
            chunk = os.read(0, 65536)
            if not chunk:
                return
            pending += chunk
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                request = json.loads(line)
                if request["verb"] == "end":  # a forked child of the parent may hold the input open
                    return
                answer(keeper, request)
    finally:
        keeper.end()


def answer(keeper: Keeper, request: dict[str, Any]) -> None:
    """Does one request; an error is answered, not raised, for the keeper must outlive it."""
    verb = request.pop("verb")
    verbs: dict[str, Callable[..., dict[str, Any]]] = {
        "start": keeper.start,
        "stop": keeper.stop,
        "poll": keeper.poll,
        "remove_at_end": keeper.remove_at_end,
    }
    try:
        reply = verbs[verb](**request)
    except OSError as error:
        reply = {"error": str(error)}
    try:
        os.write(1, json.dumps(reply).encode() + b"\n")
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    main()

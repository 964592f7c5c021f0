"""What the nodes mode keeps on disk, so that anyone can undo what a killed run left: owner, processes, settings."""

import fcntl
import getpass
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dev.cluster.launch import start_time
from dev.processes import run
from dev.processes.errors import DevError
from dev.processes.mounts import mounts_below
from dev.processes.progress import say

FOLDER = Path("/var/lib/mail-push-dev")
SOCKETS = Path("/run/mail-push-dev")  # short: a Unix socket's path ends at 107 bytes
_LOCK = Path("/run/lock/mail-push-dev.lock")

# What a kubelet sets for the whole machine at its start.
SYSCTLS = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)

# What containerd, its shims, CNI and the kubelet make outside the folders they are given.
SIDE_FOLDERS = (
    Path("/run/containerd"),
    Path("/run/netns"),
    Path("/usr/libexec/kubernetes"),
    Path("/var/lib/cni"),
    Path("/var/lib/kubelet"),
    Path("/var/log/containers"),
)


@dataclass(frozen=True)
class Owner:
    """Who holds the cluster. `pid` 0: nobody in particular, it was brought up to stay."""

    who: str
    pid: int
    started: str
    boot: str
    nodes: int

    @classmethod
    def me(cls, nodes: int, *, staying: bool) -> "Owner":
        who = f"{getpass.getuser()} in {Path.cwd()} ({' '.join([Path(sys.argv[0]).name, *sys.argv[1:3]])})"
        pid = 0 if staying else os.getpid()
        return cls(who, pid, start_time(pid) if pid else "", boot_id(), nodes)

    def alive(self) -> bool:
        """Whether its process still runs."""
        return self.boot == boot_id() and is_running(self.pid, self.started)


@contextmanager
def locked() -> Iterator[None]:
    """One `up` or `down` at a time."""
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another `up` or `down` on this machine")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def owner() -> Owner | None:
    """Who holds the cluster of this machine, dead or alive."""
    try:
        return Owner(**json.loads((FOLDER / "owner.json").read_text()))
    except FileNotFoundError:
        return None


def begin(holder: Owner) -> None:
    """Takes the machine: writes down the owner and all that has to be put back, before the first change."""
    FOLDER.mkdir(mode=0o700, parents=True)
    _write("before.json", {
        "sysctls": {name: _sysctl(name).read_text().strip() for name in SYSCTLS if _sysctl(name).exists()},
        "absent": [str(path) for path in SIDE_FOLDERS if not path.exists()],
    })  # fmt: skip
    (FOLDER / "processes").mkdir()
    (FOLDER / "log").mkdir()
    _write("owner.json", asdict(holder))


def mark_ready() -> None:
    """From here on the cluster is whole; without this mark it is what a killed `up` left."""
    (FOLDER / "ready").touch()


def is_ready() -> bool:
    return (FOLDER / "ready").exists()


def start(name: str, namespace: str | None, *argv: run.Argument) -> None:
    """Starts a lasting process in a network namespace; it logs to `log(name)`."""
    launcher = Path(__file__).with_name("launch.py")
    fixed = (sys.executable, "-I", "-S", launcher, FOLDER / "processes" / f"{name}.json", log(name), namespace or "-")
    environment = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(FOLDER)}
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        environment.pop(proxy, None)
        environment.pop(proxy.lower(), None)
    pid = os.posix_spawn(sys.executable, [os.fspath(part) for part in (*fixed, *argv)], environment)
    _children[name] = pid


_children: dict[str, int] = {}
_ended: dict[str, str] = {}
"""How those have ended that this very process started."""


def log(name: str) -> Path:
    return FOLDER / "log" / f"{name}.log"


def processes() -> dict[str, int]:
    """The recorded processes that still run, by name."""
    found = {}
    for path in (FOLDER / "processes").glob("*.json"):
        record = json.loads(path.read_text())
        if is_running(record["pid"], record["started"]):
            found[path.stem] = int(record["pid"])
    return found


def check(*names: str) -> None:
    """Raises DevError with the end of its log for the first of `names` that does not run any more."""
    reap()
    running = processes()
    for name in names:
        if name not in running and (FOLDER / "processes" / f"{name}.json").exists():
            tail = "\n".join(log(name).read_text(errors="replace").splitlines()[-25:])
            how = _ended.get(name, "ended")
            raise DevError(f"{name} {how}; its log ({log(name)}) says at the end:\n{tail or '(nothing)'}")


def reap() -> None:
    """Takes the exit codes of ended processes that this very process started, or they would stay as zombies."""
    for name, pid in list(_children.items()):
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del _children[name]
                code = os.waitstatus_to_exitcode(status)
                _ended[name] = f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
        except ChildProcessError:
            del _children[name]


def put_back() -> None:
    """The machine's settings and folders as they were before `begin`; then forgets the cluster."""
    if not (FOLDER / "before.json").exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        return
    before: dict[str, Any] = json.loads((FOLDER / "before.json").read_text())
    for name, value in before["sysctls"].items():
        if _sysctl(name).read_text().strip() != value:
            _sysctl(name).write_text(value + "\n")
    for path in map(Path, before["absent"]):
        if path == Path("/run/netns"):
            _forget_namespaces_folder(path)
        else:
            remove_folder(path)
    remove_folder(SOCKETS)
    remove_folder(FOLDER)


def _forget_namespaces_folder(path: Path) -> None:
    """`ip netns` makes it and mounts it onto itself; it goes when nobody else has a namespace by now."""
    if path.is_dir() and not any(path.iterdir()):
        run.quiet("umount", path, check=False)
        path.rmdir()


def remove_folder(path: Path) -> None:
    """Removes a folder of ours, unless something is still mounted or another containerd listens below it.

    Raises:
        DevError: something is mounted there: what it shows would be deleted, not the folder.
    """
    mounted = mounts_below(path)
    if mounted:
        raise DevError(f"{mounted[0]} is still mounted: umount it, then `python -m dev down` again")
    if (path / "containerd.sock").exists():
        return  # a containerd that somebody else started since
    shutil.rmtree(path, ignore_errors=True)


def is_running(pid: int, started: str) -> bool:
    """Whether the process with that pid and start time runs; a zombie does not."""
    if not pid:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in {"Z", "X"} and start_time(pid) == started
    except (FileNotFoundError, ProcessLookupError):
        return False


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _sysctl(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))


def _write(name: str, value: object) -> None:
    work = FOLDER / f"{name}.new"
    work.write_text(json.dumps(value, indent=1))
    work.rename(FOLDER / name)

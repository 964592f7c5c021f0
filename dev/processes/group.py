"""A group of processes and a temporary folder that live no longer than this process (see reaper.py)."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dev.processes.closing import Closing
from dev.processes.errors import CommandError, DevError
from dev.processes.run import Argument, command_name

_KEEPER = Path(__file__).with_name("reaper.py")

# Below the range from which the kernel takes ports for outgoing connections, so that a port stays free between
# being found and being listened on, and while a stopped server is to come back.
_PORTS = range(20000, 32000)


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port on which nothing listens; random, so that groups side by side do not meet."""
    chooser = random.SystemRandom()
    for _ in range(200):
        port = chooser.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise DevError(f"no free port on {address} between {_PORTS.start} and {_PORTS.stop}: end what listens there")


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 60, every: float = 0.05) -> None:
    """Waits until `condition()` holds; DevError after `timeout` seconds. `condition` may raise to give up at once."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise DevError(f"{what}: not so after {timeout:.0f} s")
        time.sleep(every)


class Group(Closing):
    """Processes by name, and `folder`, a new temporary folder of mode `mode` below `below`, both gone after `close`."""

    def __init__(self, prefix: str, *, below: Path | None = None, mode: int = 0o700) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=below))
        self.folder.chmod(mode)
        self._lock = threading.Lock()
        self._argv: dict[str, tuple[Argument, ...]] = {}
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", _KEEPER, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._ask(verb="remove_at_end", folder=str(self.folder))

    def start(self, name: str, *argv: Argument, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> int:
        """Starts a process that logs to `<folder>/<name>.log`; gives its pid. `env` is added to this process's."""
        self._argv[name] = argv
        reply = self._ask(
            verb="start",
            name=name,
            argv=[os.fspath(part) for part in argv],
            log=str(self.log(name)),
            env={**os.environ, **(env or {})},
            cwd=str(cwd or self.folder),
        )
        return int(reply["pid"])

    def stop(self, name: str, *, grace: float = 3) -> int | None:
        """Ends a process and all of its session; gives its exit code (negative: the signal), None if it never ran."""
        code = self._ask(verb="stop", name=name, grace=grace)["code"]
        return None if code is None else int(code)

    def check(self, *names: str) -> None:
        """Raises CommandError with the end of its log for the first of `names` that has ended by itself."""
        for name in names:
            reply = self._ask(verb="poll", name=name)
            if reply["known"] and reply["code"] is not None:
                raise CommandError(f"{name} ({command_name(self._argv[name])})", reply["code"], self.read_log(name))

    def wait(self, condition: Callable[[], bool], what: str, *names: str, timeout: float = 60) -> None:
        """Waits for `condition`, and gives up at once when one of the processes `names` has ended."""

        def checked() -> bool:
            self.check(*names)
            return condition()

        try:
            wait_until(checked, what, timeout)
        except DevError as error:
            if isinstance(error, CommandError):
                raise
            logs = "\n".join(f"--- {name}\n{self.read_log(name)[-2000:]}" for name in names)
            raise DevError(f"{error}\n{logs}") from None

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def read_log(self, name: str, since: int = 0) -> str:
        """What stands there from this byte on."""
        path = self.log(name)
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    def log_size(self, name: str) -> int:
        """Bytes."""
        path = self.log(name)
        return path.stat().st_size if path.exists() else 0

    def close(self) -> None:
        """Kills what is left and removes the folder; may be called twice."""
        with self._lock:
            assert self._keeper.stdin is not None
            assert self._keeper.stdout is not None
            if self._keeper.returncode is None:
                try:
                    self._keeper.stdin.write(b'{"verb": "end"}\n')
                    self._keeper.stdin.close()
                except BrokenPipeError:  # somebody killed it
                    pass
                self._keeper.wait()
                self._keeper.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # if the keeper itself was killed

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            assert self._keeper.stdin is not None
            assert self._keeper.stdout is not None
            try:
                self._keeper.stdin.write(json.dumps(request).encode() + b"\n")
                self._keeper.stdin.flush()
                line = self._keeper.stdout.readline()
            except (BrokenPipeError, ValueError):
                line = b""
        if not line:
            raise DevError(f"the keeper of {self.folder} is gone: this group of processes was closed or killed")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise DevError(f"cannot {request['verb']} {request.get('name', '')}: {reply['error']}")
        return reply


class OfGroup(Closing):
    """What consists of the processes of a group, and ends with it."""

    def __init__(self, group: Group) -> None:
        self._group = group

    def close(self) -> None:
        """Ends everything and removes the group's folder; may be called twice."""
        self._group.close()


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def kill(pid: int) -> None:
    """SIGKILL to one process, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

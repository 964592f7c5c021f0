"""`kubectl port-forward` to a pod, as a child that ends with us."""

import ctypes
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import IO, Any, Final, Self

from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.streams import printable

READY_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.05
END_SECONDS: Final = 5.0
_FORWARDING: Final = re.compile(r"^Forwarding from 127\.0\.0\.1:([0-9]{1,5}) -> ", re.MULTILINE)
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG: Final = 1


class PortForward:
    """Within the block, `port` of the loopback leads to `remote_port` of the pod.

    Args:
        options: which cluster and namespace, as kubectl takes them.

    Raises:
        Trouble: there is no kubectl, or it cannot forward; with what it says.
    """

    def __init__(self, pod: str, remote_port: int, options: Sequence[str], program: str = "kubectl") -> None:
        self._command = ["port-forward", "--address", "127.0.0.1", *options, f"pod/{pod}", f":{remote_port}"]
        self._program = program
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._handlers: dict[int, Any] = {}
        self.port = 0

    def __enter__(self) -> Self:
        program = shutil.which(self._program)
        if program is None:
            raise Trouble(f"there is no {self._program} in PATH to forward a port with: give --url instead")
        self._said = tempfile.TemporaryFile()
        try:
            self._catch()
            self._child = subprocess.Popen(
                [program, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads yet
            )
            self.port = self._wait(self._child)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child, by force where it does not end."""
        child, self._child = self._child, None
        if child is not None:
            child.terminate()
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._said is not None:
            self._said.close()
            self._said = None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        end = time.monotonic() + READY_SECONDS
        while True:
            ended = child.poll() is not None
            text = self._text()
            if found := _FORWARDING.search(text):
                return int(found[1])
            if ended or time.monotonic() > end:
                said = printable(" ".join(text.split())[-500:]) or "it says nothing"
                raise Trouble(f"kubectl port-forward does not come about: {said}; see --url for another way")
            time.sleep(LOOK_SECONDS)

    def _text(self) -> str:
        assert self._said is not None  # noqa: S101 - within the block
        self._said.seek(0)
        return self._said.read(65536).decode(errors="replace")

    def _catch(self) -> None:
        """A signal that would end us at once ends the block instead, and so the child."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, _end) for number in _ENDING}


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    """In the child, before it begins: also a killed parent leaves no open port behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

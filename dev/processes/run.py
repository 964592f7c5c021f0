"""Runs programs: short ones quietly, long ones with a line of progress every few seconds."""

import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev.processes.errors import CommandError
from dev.processes.progress import say

Argument = str | os.PathLike[str]


def quiet(
    *argv: Argument,
    check: bool = True,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = 300,
) -> subprocess.CompletedProcess[str]:
    """Runs `argv` and gives its output; raises CommandError on failure unless `check` is off.

    `env` is added to this process's environment; `timeout` is in seconds.
    """
    done = subprocess.run(
        [os.fspath(part) for part in argv],
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise CommandError(command_name(argv), done.returncode, done.stdout + done.stderr)
    return done


def talkative(
    what: str,
    *argv: Argument,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    every: float = 15,
    outlives_us: bool = False,
) -> str:
    """Runs a long command and says every `every` seconds that it is at it, with the last line it wrote.

    When this process is killed the command is too, unless it `outlives_us` (an apt-get should come to its end).
    Returns everything it wrote (both streams); raises CommandError on failure.
    """
    mortal = () if outlives_us or not shutil.which("setpriv") else ("setpriv", "--pdeathsig", "KILL")
    process = subprocess.Popen(
        [os.fspath(part) for part in (*mortal, *argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    lines: list[str] = []
    finished = threading.Event()

    def report() -> None:
        seconds = 0.0
        while not finished.wait(every):
            seconds += every
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            say(f"  {what}: {seconds:.0f} s so far{': ' + last[:90] if last else ''}")

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        finished.set()
        reporter.join()
    output = "".join(lines)
    if code:
        raise CommandError(f"{what} ({command_name(argv)})", code, output)
    return output


def command_name(argv: Sequence[Argument]) -> str:
    """The first words of a command: enough to know it, and never an argument that could be a secret."""
    return shlex.join([os.fspath(part) for part in argv[:2]])

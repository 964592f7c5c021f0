"""Groups of processes, the cache and the small pieces of dev/ that need no cluster."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dev.images import workplace
from dev.processes.errors import CommandError, DevError
from dev.processes.group import Group, alive, free_port, kill, wait_until
from dev.programs import cache

ROOT = Path(__file__).parents[2]
SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
SAYS_PID = (
    "import os, sys, subprocess, time\nprint(os.getpid(), subprocess.Popen({child!r}).pid, flush=True)\ntime.sleep(600)"
)


def test_a_process_logs_to_a_file_of_its_name() -> None:
    with Group("test") as group:
        group.start("hello", sys.executable, "-c", "print('hello')")
        group.wait(lambda: "hello" in group.read_log("hello"), "it said hello")


def test_waiting_gives_up_when_the_process_has_ended_and_shows_its_log() -> None:
    with Group("test") as group:
        group.start("broken", sys.executable, "-c", "raise SystemExit('no such luck')")
        with pytest.raises(CommandError, match="no such luck"):
            group.wait(lambda: False, "never", "broken")


def test_nobody_else_gets_the_pid_of_one_that_has_ended_before_its_session_is_killed() -> None:
    with Group("test") as group:
        pid = group.start("short", sys.executable, "-c", "raise SystemExit(3)")
        for _ in range(2):
            with pytest.raises(CommandError, match="3"):
                group.wait(lambda: False, "never", "short")
        assert Path(f"/proc/{pid}").exists()
        assert group.stop("short") == 3
        assert not Path(f"/proc/{pid}").exists()


def test_a_program_that_does_not_exist_is_an_error_and_no_end_of_the_group() -> None:
    with Group("test") as group:
        with pytest.raises(DevError, match="cannot start"):
            group.start("none", "/no/such/program")
        assert alive(group.start("some", *SLEEP))


def test_stopping_takes_what_the_process_itself_started() -> None:
    with Group("test") as group:
        group.start("family", sys.executable, "-c", SAYS_PID.format(child=SLEEP))
        group.wait(lambda: len(group.read_log("family").split()) == 2, "both started")
        pids = [int(word) for word in group.read_log("family").split()]
        group.stop("family", grace=0)
        wait_until(lambda: not any(map(alive, pids)), "both are gone")


def test_one_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    with Group("test") as group:
        group.start("stubborn", sys.executable, "-c", stubborn)
        group.wait(lambda: "ready" in group.read_log("stubborn"), "it ignores SIGTERM")
        assert group.stop("stubborn", grace=0.2) == -signal.SIGKILL


@pytest.mark.parametrize("victim", ["parent", "keeper"])
def test_nothing_outlives_whoever_is_killed(victim: str) -> None:
    """The keeper kills for a dead parent; for a dead keeper the kernel does."""
    program = (
        "import sys, time\nfrom dev.processes.group import Group\ngroup = Group('test')\n"
        f"pid = group.start('sleep', *{SLEEP!r})\n"
        "print(group._keeper.pid, pid, group.folder, flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        keeper, child, folder = parent.stdout.readline().split()
        kill(parent.pid if victim == "parent" else int(keeper))
        wait_until(lambda: not alive(int(child)), "the child is gone")
        if victim == "parent":
            wait_until(lambda: not Path(folder).exists(), "the folder is gone")
        parent.kill()
        parent.wait()
    if victim == "keeper":
        Path(folder, "sleep.log").unlink()
        Path(folder).rmdir()


def test_closing_does_not_wait_for_a_forked_child() -> None:
    """Such a child, as multiprocessing makes them, holds the keeper's input open."""
    group = Group("test")
    group.start("sleep", *SLEEP)
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        closing = threading.Thread(target=group.close, daemon=True)
        closing.start()
        closing.join(30)
        assert not closing.is_alive()
    finally:
        kill(child)
        os.waitpid(child, 0)


def test_the_folders_of_killed_builds_are_forgotten_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        (tmp_path / f"mail-push-build-{pid}-x").mkdir()
    workplace.forget_killed((tmp_path,))
    assert [path.name for path in tmp_path.iterdir()] == [f"mail-push-build-{os.getpid()}-x"]


def test_a_long_command_ends_with_who_asked_for_it() -> None:
    child = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
    imports = "import sys\nfrom dev.processes import run\n"
    program = imports + f"run.talkative('sleeping', sys.executable, '-c', {child!r}, every=0.05)"
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert parent.stderr is not None
    with parent.stderr:
        said = next(line for line in parent.stderr if "pid" in line)
        kill(parent.pid)
        parent.wait()
    pid = int(said.split()[-1])
    wait_until(lambda: not alive(pid), "the command is gone")


def test_a_free_port_is_below_the_range_of_outgoing_connections() -> None:
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first <= 20000:
        pytest.skip(f"this machine's outgoing connections may have any port from {first} on")
    assert all(1024 < free_port() < first for _ in range(20))


def test_the_cache_is_where_its_variables_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("MAILPUSH_CACHE", raising=False)
    assert cache.root() == tmp_path / "xdg" / "mail-push"
    monkeypatch.setenv("MAILPUSH_CACHE", str(tmp_path / "own"))
    assert cache.root() == tmp_path / "own"


def test_a_failed_making_leaves_nothing_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAILPUSH_CACHE", str(tmp_path))

    def make(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.once(cache.entry("things", "one"), make)
    assert list((tmp_path / "things").iterdir()) == []


def _make_slowly(root: str) -> None:
    os.environ["MAILPUSH_CACHE"] = root

    def make(path: Path) -> None:
        with (Path(root) / "made").open("a") as log:
            log.write("x")
        time.sleep(0.1)
        path.write_text("whole")

    assert cache.once(cache.entry("things", "one"), make).read_text() == "whole"


def test_two_processes_make_an_entry_once(tmp_path: Path) -> None:
    workers = [multiprocessing.get_context("spawn").Process(target=_make_slowly, args=(str(tmp_path),)) for _ in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"


def test_what_a_killed_maker_left_goes_with_the_next_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAILPUSH_CACHE", str(tmp_path))
    target = cache.entry("things", "one")
    (target.parent / ".tmp-one-dead").mkdir()
    cache.once(target, Path.touch)
    assert [path.name for path in target.parent.iterdir()] == ["one"]

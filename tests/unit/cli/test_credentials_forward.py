"""The child that forwards a port: found, used, and never left behind. A program stands in for kubectl."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from mailpush.cli.kubectl.credentials import endpoint, forward
from mailpush.cli.kubectl.credentials.endpoint import Endpoint
from mailpush.cli.kubectl.credentials.forward import PortForward
from mailpush.cli.kubectl.manifests import Trouble
from tests.unit.admin.shelf import LOGIN, Shelf
from tests.unit.admin.shelf import endpoint as serving

ROOT = Path(__file__).resolve().parents[3]
STAND_IN = ROOT / "tests" / "sites" / "programs" / "port_forward.py"


class Stage:
    """A kubectl in PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "bin").mkdir()
        (folder / "bin" / "kubectl").write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
        (folder / "bin" / "kubectl").chmod(0o700)
        self.seen = folder / "seen"
        self.set = monkeypatch.setenv
        self.set("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        self.set("FORWARD_SEEN", str(self.seen))
        self.set("FORWARD_TO", "127.0.0.1:1")

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.seen.read_text().splitlines()] if self.seen.exists() else []

    def all_ended(self) -> bool:
        return not any(runs(call["pid"]) for call in self.calls())


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait(what: Callable[[], object]) -> None:
    for _ in range(1200):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_the_child_is_told_where_and_ends_with_the_block(stage: Stage) -> None:
    with PortForward("pod-0", 1099, ["--namespace", "mail", "--context", "c"]) as there:
        assert 0 < there.port < 65536
        (call,) = stage.calls()
        assert runs(call["pid"])
    assert call["arguments"] == [
        "port-forward", "--address", "127.0.0.1", "--namespace", "mail", "--context", "c", "pod/pod-0", ":1099",
    ]  # fmt: skip
    assert stage.all_ended()


def test_it_ends_with_an_exception_too(stage: Stage) -> None:
    with pytest.raises(KeyboardInterrupt), PortForward("pod-0", 1099, []):
        raise KeyboardInterrupt
    assert len(stage.calls()) == 1
    assert stage.all_ended()


def test_one_that_does_not_end_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "END_SECONDS", 0.2)
    stage.set("FORWARD_STUBBORN", "yes")
    with PortForward("pod-0", 1099, []):
        pass
    assert stage.all_ended()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_it_ends_whatever_ends_its_parent(stage: Stage, how: signal.Signals) -> None:
    code = (
        # What a shell starts in the background ignores SIGINT.
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from mailpush.cli.kubectl.credentials.forward import PortForward\n"
        "with PortForward('pod-0', 1099, []):\n    print('there', flush=True)\n    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"there\n"
    parent.send_signal(how)
    parent.wait(60)
    parent.stdout.close()
    wait(stage.all_ended)


def test_handlers_of_signals_are_as_before(stage: Stage) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with PortForward("pod-0", 1099, []):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_kubectl_says_is_told_where_it_does_not_come_about(stage: Stage) -> None:
    stage.set("FORWARD_FAILS", 'pods "pod-0" is forbidden: User cannot create resource "pods/portforward"\x1b[2J')
    with pytest.raises(Trouble, match=r"cannot create resource.*\\x1b.*see --url"), PortForward("pod-0", 1099, []):
        pass
    assert stage.all_ended()


def test_one_that_says_nothing_is_not_waited_for_without_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "READY_SECONDS", 0.0)
    with pytest.raises(Trouble, match="see --url"), PortForward("pod-0", 1099, []):
        pass
    wait(stage.all_ended)


def test_without_kubectl_it_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Trouble, match="there is no kubectl in PATH"), PortForward("pod-0", 1099, []):
        pass


class Counted:
    """A way to an endpoint whose connections break after `requests` requests each."""

    def __init__(self, url: str, requests: int) -> None:
        self.url, self.requests, self.opened = url, requests, 0

    def open(self) -> httpx.Client:
        self.opened += 1
        left = [self.requests]

        def count(request: httpx.Request) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise httpx.RemoteProtocolError("pl4nted")

        return httpx.Client(base_url=self.url, auth=LOGIN, trust_env=False, event_hooks={"request": [count]})

    def close(self) -> None: ...


async def test_what_may_be_sent_twice_is_sent_again_over_a_new_way_and_a_test_is_not() -> None:

    shelf = Shelf()
    async with serving(shelf) as client:
        way = Counted(str(client.base_url), requests=2)
        slept: list[float] = []
        asked = Endpoint(way, slept.append)

        def ask() -> None:
            for user in range(1, 6):
                assert asked.put(endpoint.one(1, user), {"password": "x"}).status == 200
            assert way.opened == 3
            asked.put(endpoint.one(1, 6), {"password": "x"})
            with pytest.raises(Trouble, match="cannot be asked") as trouble:
                asked.test(endpoint.one(1, 6, "/test"))
            assert "pl4nted" not in str(trouble.value)

        await asyncio.to_thread(ask)
    assert len(shelf.passwords) == 6
    assert shelf.tested == []
    assert len(slept) == 2


async def test_an_endpoint_that_never_answered_is_not_asked_again_and_again() -> None:
    slept: list[float] = []
    with pytest.raises(Trouble, match="Connection refused"):
        Endpoint(Counted("http://127.0.0.1:9", 9), slept.append).delete(endpoint.one(1, 3))
    assert slept == []


async def test_a_store_that_is_away_is_waited_for_a_while() -> None:

    shelf = Shelf()
    shelf.down = 0
    async with serving(shelf) as client:
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                shelf.down = None

        asked = Endpoint(Counted(str(client.base_url), 99), sleep)
        answer = await asyncio.to_thread(asked.put, endpoint.one(1, 3), {"password": "x"})
        assert (answer.status, slept) == (200, [5.0, 5.0, 5.0])
        shelf.down, slept[:] = 0, []
        asked = Endpoint(Counted(str(client.base_url), 99), slept.append)
        answer = await asyncio.to_thread(asked.put, endpoint.one(1, 3), {"password": "x"})
        assert (answer.status, len(slept)) == (503, len(endpoint.WAITS))

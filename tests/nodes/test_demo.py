"""The demo itself, on real nodes: what a newcomer runs must work, also after a run that was killed half way."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dev.cluster import nodes
from tests.cluster.conftest import ROOT

pytestmark = pytest.mark.nodes

DEMO = [sys.executable, "-m", "dev.demo"]


@pytest.fixture(scope="module", autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    nodes.down(force=True)


def kill_once_it_says(words: str) -> None:
    """Starts a demo and kills it with SIGKILL when it comes to this chapter."""
    with subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if words in line:
                os.kill(process.pid, signal.SIGKILL)
                return
        pytest.fail("the demo never came to that chapter:\n" + "".join(said))


def test_the_demo_does_the_main_job_after_a_run_that_was_killed_half_way() -> None:
    kill_once_it_says("kubectl apply")
    done = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(figures))
    assert list(figures) == [
        *(
            "users",
            "listening",
            "denied",
            "store",
            "sources",
            "pods",
            "spread",
            "mails",
            "notified",
            "duplicates",
            "p50_ms",
            "p99_ms",
        ),
        "takeover_s",
    ]
    assert (figures["users"], figures["listening"], figures["denied"]) == (18, 16, 2)
    assert figures["sources"] == {"master": 10, "userSecret": 3, "storage": 3}
    assert (figures["mails"], figures["notified"], figures["duplicates"]) == (40, 40, 0)
    assert max(figures["spread"]) - min(figures["spread"]) <= 1
    assert figures["takeover_s"] > 0
    assert "ClientNotAllowed" in done.stdout
    assert "Suspended" in done.stdout

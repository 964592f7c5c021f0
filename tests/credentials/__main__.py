"""A run: a control plane, the scenes one after another, a table of what was wrong, and one line of JSON."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.controlplane import ControlPlane
from dev.demo.show import chapter
from dev.processes.errors import DevError
from dev.scenes import parsed, parser_of
from tests.cluster.conftest import ROOT, described
from tests.credentials import leaks, mismatch, outage, stale, stores
from tests.credentials.evidence import Evidence
from tests.credentials.site import Stage
from tests.credentials.verdict import Verdict
from tests.sites.namespace import wait_for

USERS = 1500
"""Of the scene `stale`, which starts them cold three times: on two cores some five minutes."""


@dataclass(frozen=True)
class Scene:
    """What happens, by the name that the command line uses."""

    name: str
    what: str
    play: Callable[[Stage], None]


SCENES = (
    Scene("memory", "passwords in Redis: pods killed, all restarted, Redis flushed", stores.memory),
    Scene("rdb", "passwords in MariaDB: pods killed, all restarted, both servers restarted", stores.rdb),
    Scene("mismatch", "a wrong passcrypt on one of three pods, then on all", mismatch.play),
    Scene("outage", "MariaDB and Redis away for a minute under mail load", outage.play),
    Scene("stale", "a cold start with 2 % of the passwords stale, at a Dovecot with its penalties", stale.play),
    Scene("secrets", "no planted password stands in anything that the scenes before have produced", leaks.play),
)


def main() -> int:
    arguments = parse()
    verdict = Verdict()
    started = time.monotonic()
    chapter("A control plane")
    with tempfile.TemporaryDirectory(prefix="mail-push-evidence-") as folder, ControlPlane.start() as plane:
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"), check=True)
        wait_for("our kinds are described", lambda: described(plane))
        scenes = [scene for scene in SCENES if not arguments.scenes or scene.name in arguments.scenes]
        evidence = Evidence(Path(folder), plane, wanted=any(scene.play is leaks.play for scene in scenes))
        with evidence.watching():
            for scene in scenes:
                play(scene, Stage(scene.name, plane, verdict, evidence, arguments.users))
    for step in verdict.wrong:
        print(f"WRONG: {step.scene}: {step.what}: {step.detail}", file=sys.stderr)
    print(json.dumps({"seconds": round(time.monotonic() - started), **verdict.figures()}))
    return 1 if verdict.wrong else 0


def play(scene: Scene, stage: Stage) -> None:
    chapter(f"{scene.name}: {scene.what}")
    stage.verdict.scene = scene.name
    try:
        scene.play(stage)
    except (AssertionError, DevError) as error:
        stage.verdict.step("the scene came to its end", False, str(error)[-4000:])


def parse() -> argparse.Namespace:
    what = "The credential storage under faults: processes on a control plane, real servers (root)."
    parser = parser_of("python -m tests.credentials", what, SCENES)
    parser.add_argument("--users", type=int, default=USERS, help=f"of the scene stale; {USERS} by default")
    return parsed(parser, SCENES)


if __name__ == "__main__":
    sys.exit(main())

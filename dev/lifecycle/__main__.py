"""A run: the demo's cluster, the scenes one after another, a table, and one line of JSON."""

import argparse
import json
import sys
import time
from contextlib import ExitStack

from dev.cluster import nodes
from dev.demo.show import chapter, table
from dev.images import image as images
from dev.images import project
from dev.lifecycle.scenes import SCENES, Scene
from dev.lifecycle.stage import Stage
from dev.lifecycle.verdict import Verdict
from dev.processes.errors import DevError
from dev.scenes import Step, parsed, parser_of

NEEDED = "install"


def main() -> int:
    arguments = parse()
    verdict = Verdict()
    started = time.monotonic()
    with ExitStack() as stack:
        try:
            chapter("The demo's cluster")
            cluster = stack.enter_context(nodes.Cluster.up())
            image, testbed = project.build(), images.testbed()
            cluster.load_images(image, testbed)
            stage = Stage(cluster, image, testbed, verdict)
            for scene in SCENES:
                if arguments.scenes and scene.name not in {*arguments.scenes, NEEDED}:
                    continue
                chapter(f"{scene.name}: {scene.what}")
                verdict.scene = scene.name
                _play(scene, stage)
        except DevError as error:
            verdict.step("the run came to its end", False, str(error)[:1000])
    for step in verdict.wrong:
        print(f"WRONG: {step.scene}: {step.what}: {step.detail}", file=sys.stderr)
    print(json.dumps({"seconds": round(time.monotonic() - started), **verdict.figures()}))
    return 0 if verdict.good else 1


def _play(scene: Scene, stage: Stage) -> None:
    """A scene that breaks off leaves the next one a site as after the install.

    Raises:
        DevError: that cannot be had.
    """
    try:
        scene.play(stage)
    except DevError as error:
        stage.verdict.step("the scene came to its end", False, str(error)[:1000])
        if scene.name == NEEDED:
            raise
        if scene is not SCENES[-1]:
            stage.recover()
    finally:
        table(("STEP", "GOOD", "DETAIL"), [_row(step) for step in stage.verdict.steps if step.scene == scene.name])


def _row(step: Step) -> tuple[object, ...]:
    return step.what, "yes" if step.good else "NO", step.detail[:160]


def parse() -> argparse.Namespace:
    what = "What an administrator does to a site in its life, on the demo's cluster (root)."
    return parsed(parser_of("python -m dev.lifecycle", what, SCENES, always=(NEEDED,)), SCENES)


if __name__ == "__main__":
    sys.exit(main())

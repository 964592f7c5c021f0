"""The faults: each is made here, and the run waits afterwards until everything is well again.

A fault that hits pods takes of each installation the one that listens for most users.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from dev.chaos.scene import Scene, api_server, send
from dev.chaos.tally import MECHANISMS
from dev.demo.site import wait_for

PAUSE = 30.0
API_SERVER_AWAY = 45.0


@dataclass(frozen=True)
class Fault:
    """What happens, by the name that the table and the command line use."""

    name: str
    what: str
    make: Callable[[Scene], None]


def nothing(scene: Scene) -> None:
    pass


def operator_deleted(scene: Scene) -> None:
    scene.site.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=operator", "--wait=false")


def pod_deleted(scene: Scene) -> None:
    _delete_victims(scene)


def pod_forced(scene: Scene) -> None:
    _delete_victims(scene, "--grace-period=0", "--force")


def _delete_victims(scene: Scene, *how: str) -> None:
    scene.site.kubectl("delete", "pod", *_names(scene), "--wait=false", *how)


def killed(scene: Scene) -> None:
    for pod in scene.victims():
        scene.signal(pod, signal.SIGKILL)


def paused(scene: Scene) -> None:
    stopped: list[int] = []
    try:
        for pod in scene.victims():
            stopped += scene.signal(pod, signal.SIGSTOP)
        scene.watch(PAUSE)
    finally:
        send(stopped, signal.SIGCONT)


def rolling_restart(scene: Scene) -> None:
    scene.site.kubectl("rollout", "restart", *(f"statefulset/mail-push-{config}" for config in MECHANISMS))


def scaled(scene: Scene) -> None:
    for main, idle in ((6, 3), (2, 1), (4, 2)):
        scene.site.change({"listeners": {"replicas": main}}, "main")
        scene.site.change({"listeners": {"replicas": idle}}, "idle")
        wait_for(f"{main} and {idle} pods", scene.well)


def map_deleted(scene: Scene) -> None:
    scene.site.kubectl("delete", "shardmaps", "--all", "--wait=false")


def lease_deleted(scene: Scene) -> None:
    scene.site.kubectl("delete", "lease", *_names(scene), "--wait=false")


def redis_deleted(scene: Scene) -> None:
    scene.site.kubectl("delete", "pod", "-l", "app=redis", "--wait=false")
    wait_for("Redis is back", lambda: scene.ready("deployment/redis"))


def api_server_away(scene: Scene) -> None:
    pid = api_server()
    try:
        send([pid], signal.SIGSTOP)
        time.sleep(API_SERVER_AWAY)
    finally:
        send([pid], signal.SIGCONT)


def _names(scene: Scene) -> list[str]:
    """Of the victims; a pod's Lease has the pod's name."""
    return [pod["metadata"]["name"] for pod in scene.victims()]


FAULTS = (
    Fault("nothing", "no fault, for comparison", nothing),
    Fault("operator", "the operator's pod is deleted", operator_deleted),
    Fault("pod", "a listener pod is deleted", pod_deleted),
    Fault("forced", "a listener pod is deleted by force, without any grace", pod_forced),
    Fault("kill", "a listener's processes are killed with SIGKILL", killed),
    Fault("pause", f"a listener's processes are stopped for {PAUSE:.0f} s", paused),
    Fault("rolling", "all listener pods are restarted one after the other", rolling_restart),
    Fault("scale", "4 pods become 6, then 2, then 4 (of the second installation 2, 3, 1, 2)", scaled),
    Fault("map", "the shard maps are deleted", map_deleted),
    Fault("lease", "a listener pod's Lease is deleted", lease_deleted),
    Fault("redis", "Redis's pod is deleted", redis_deleted),
    Fault("api", f"the API server does not answer for {API_SERVER_AWAY:.0f} s", api_server_away),
)
"""In the order of the run."""

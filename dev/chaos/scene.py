"""The demo's site as a fault finds it: who stands where, and whether everything is well again."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from dev.chaos.tally import MECHANISMS, Moves
from dev.cluster import nodes, state
from dev.demo import users
from dev.demo.site import Site, as_expected, listening, pod_of
from dev.processes.errors import CommandError, DevError


class Scene:
    """A cluster with the demo's two installations; `moves` counts the users whose pod has changed."""

    def __init__(self, cluster: nodes.Cluster, site: Site) -> None:
        self.cluster = cluster
        self.site = site
        self.moves = Moves()

    def observe(self) -> dict[str, dict[str, Any]]:
        """The PushUsers by name; their pods are compared with those of the last time."""
        found = self.site.push_users()
        self.moves.observe(
            {
                user.name: (MECHANISMS[user.config], pod_of(found[user.name]))
                for user in users.LISTENING
                if listening(found[user.name])
            }
        )
        return found

    def watch(self, seconds: float) -> None:
        """Lets time pass, looking who moves."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.observe()
            except CommandError:  # a busy API server does not answer each time
                pass
            time.sleep(2)

    def well(self) -> bool:
        """Whether each user is listened for who is to be, and every pod that is wanted, and no other, is ready."""
        return (
            as_expected(self.observe()) and all(map(self._complete, MECHANISMS)) and self.ready("deployment/mail-push")
        )

    def ready(self, deployment: str) -> bool:
        """Whether a pod of it is ready."""
        count: int = self.site.get(deployment)["status"].get("readyReplicas", 0)
        return count > 0

    def _complete(self, config: str) -> bool:
        wanted = self.site.get("mailpushconfig", config)["spec"]["listeners"]["replicas"]
        found = self.site.get("statefulset", f"mail-push-{config}")
        status = found["status"]
        complete: bool = (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and found["spec"]["replicas"] == wanted
            and status.get("replicas") == status.get("readyReplicas") == wanted
            and status.get("updateRevision") == status.get("currentRevision")
        )
        return complete

    def spread(self, config: str) -> list[int]:
        """Users of each pod of an installation, the pods without any included."""
        held = self._held(config)
        return [len(held.get(name, ())) for name in self._pods(config)]

    def victims(self) -> list[dict[str, Any]]:
        """Of each installation the pod that listens for most users."""
        chosen = []
        for config in MECHANISMS:
            pods, held = self._pods(config), self._held(config)
            chosen.append(pods[max(pods, key=lambda name: len(held.get(name, ())))])
        return chosen

    def signal(self, pod: dict[str, Any], number: signal.Signals) -> list[int]:
        """Sends a signal to a pod's processes, as the machine sees them; gives their pids.

        Raises:
            DevError: none of its processes runs.
        """
        found = self._pids(pod)
        if not found:
            raise DevError(f"no process of the pod {pod['metadata']['name']} runs on {pod['spec']['nodeName']}")
        send(found, number)
        return found

    def pid(self, pod: dict[str, Any]) -> int | None:
        """One of a pod's processes, in whose network namespace the pod is; None where none runs."""
        return next(iter(self._pids(pod)), None)

    def operator(self) -> dict[str, Any] | None:
        """The operator's pod that leads; None where none does."""
        holder = self.site.get("lease", "mail-push-operator")["spec"].get("holderIdentity") or ""
        pods = self.site.get("pods", "-l", "app.kubernetes.io/component=operator")["items"]
        return next((pod for pod in pods if holder.startswith(pod["metadata"]["name"])), None)

    def _pids(self, pod: dict[str, Any]) -> list[int]:
        marks = {f"POD_UID={pod['metadata']['uid']}".encode(), f"HOSTNAME={pod['metadata']['name']}".encode()}
        return [pid for pid in self.cluster.pids(pod["spec"]["nodeName"]) if _belongs_to(pid, marks)]

    def _held(self, config: str) -> dict[str | None, list[str]]:
        held: dict[str | None, list[str]] = {}
        for name, user in self.observe().items():
            if user["spec"]["configRef"]["name"] == config and listening(user):
                held.setdefault(pod_of(user), []).append(name)
        return held

    def _pods(self, config: str) -> dict[str, dict[str, Any]]:
        return {
            name: pod
            for name, pod in sorted(self.site.listener_pods().items())
            if pod["metadata"]["labels"]["mailpush.dev/config"] == config
        }


def api_server() -> int:
    """The pid of the cluster's API server."""
    return state.processes()["apiserver"]


def send(pids: list[int], number: signal.Signals) -> None:
    """A signal to processes, whichever of them still run."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _belongs_to(pid: int, marks: set[bytes]) -> bool:
    try:
        return not marks.isdisjoint(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return False

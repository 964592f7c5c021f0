"""`make test-faults`: nothing is lost and nothing told twice, whoever is paused, cut off or away."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from dev.chaos.cuts import cut
from dev.chaos.faults import Fault
from dev.chaos.run import Chaos
from dev.chaos.scene import Scene, send
from dev.chaos.tally import Sent
from dev.demo.site import wait_for
from dev.processes.errors import DevError

PAUSE: Final = 60.0
CUT: Final = 45.0
REDIS_AWAY: Final = 30.0
DOVECOTS_OWN: Final = 6.0
"""Seconds that a delivery may take: Dovecot tries a callback twice, 2 s each; the rest is this machine's."""
WAITS: Final = 2.0
"""A delivery of so many seconds has waited for a callback."""
SOON: Final = 8.0
"""Seconds after a fault from which on no delivery begins that waits."""
API, REDIS = ("default", "kubernetes"), ("mail", "redis")


class FaultTest(Chaos):
    """Notes beside the stream which pods were away, and when they came back."""

    def __init__(self, chosen: set[str], logs: Path | None) -> None:
        faults = [
            Fault("pause60", f"a listener's processes are stopped for {PAUSE:.0f} s, and go on", self._paused),
            Fault("cut", f"a node is cut off for {PAUSE:.0f} s", self._node_cut),
            Fault("api-cut", f"a listener pod does not reach the API server for {CUT:.0f} s", self._cut(API)),
            Fault("redis-cut", f"a listener pod does not reach Redis for {CUT:.0f} s", self._cut(REDIS)),
            Fault("both-cut", f"a listener pod reaches neither for {CUT:.0f} s", self._cut(API, REDIS)),
            Fault("redis-stop", f"Redis is stopped for {REDIS_AWAY:.0f} s, and starts empty", _redis_stopped),
            Fault("redis-flush", "Redis forgets everything", _redis_flushed),
            Fault("redis-restart", "Redis is restarted, and is empty", _redis_restarted),
        ]
        super().__init__([fault for fault in faults if not chosen or fault.name in chosen], 0, logs)
        self.names = {fault.name for fault in faults}
        self._away: list[tuple[str, float]] = []
        """Addresses of pods that were away, and when each came back."""

    def _paused(self, scene: Scene) -> None:
        stopped: list[int] = []
        pods = scene.victims()
        try:
            for pod in pods:
                stopped += scene.signal(pod, signal.SIGSTOP)
            scene.watch(PAUSE)
        finally:
            self._back(pods)
            send(stopped, signal.SIGCONT)

    def _node_cut(self, scene: Scene) -> None:
        """The second node: the first has the mail site."""
        node = scene.cluster.nodes[-1]
        pods = [pod for pod in scene.site.listener_pods().values() if pod["spec"].get("nodeName") == node]
        if not pods:
            raise DevError(f"no listener pod runs on {node}")
        scene.cluster.partition(node)
        try:
            scene.watch(PAUSE)
        finally:
            self._back(pods)
            scene.cluster.heal(node)

    def _cut(self, *services: tuple[str, str]) -> Callable[[Scene], None]:
        def make(scene: Scene) -> None:
            pods = scene.victims()
            with cut(scene, pods, *services):
                scene.watch(CUT)
                self._back(pods)

        return make

    def _back(self, pods: list[dict[str, Any]]) -> None:
        self._away += [(pod["status"]["podIP"], time.time()) for pod in pods]

    def figures(self) -> dict[str, Any]:
        mails = self._stream.mails()
        total = {
            "sent": sum(mail.taken for mail in mails),
            "lost": sum(mail.lost for mail in mails),
            "doubled": sum(len(set(mail.ids)) > 1 for mail in mails),
            "repeated": sum(len(mail.ids) - len(set(mail.ids)) for mail in mails),
            "refused": sum(mail.refusal is not None for mail in mails),
            "overlaps": sum(overlaps(self._told(mail)) for mail in mails),
            "woken_unclaimed": sum(said_again(self._told(mail), self._away) for mail in mails),
        }
        events = self._witness.events()
        return {
            **total,
            "starts": sum(event.begins for event in events),
            "stops": sum(not event.begins for event in events),
            "lmtp": {
                name: {"longest_s": self._longest(name), "waiting_after_8s": self._waiting(name)}
                for name in ("pause60", "cut")
                if name in self.began
            },
            **super().figures(),
        }

    def wrong(self) -> list[str]:
        figures = self.figures()
        found = list(self._unwell)
        for key in ("overlaps", "lost", "doubled", "woken_unclaimed"):
            if figures[key]:
                found.append(f"{key}: {figures[key]}")
        for name, lmtp in figures["lmtp"].items():
            if lmtp["longest_s"] > DOVECOTS_OWN:
                found.append(f"{name}: a delivery took {lmtp['longest_s']} s")
            if lmtp["waiting_after_8s"]:
                found.append(f"{name}: {lmtp['waiting_after_8s']} deliveries that began {SOON:.0f} s later waited")
        return found

    def _told(self, mail: Sent) -> list[dict[str, Any]]:
        return self._stream.notifications.get(mail.subject, [])

    def _longest(self, fault: str) -> float:
        return round(max((mail.waited or 0.0 for mail in self._stream.mails(fault)), default=0.0), 2)

    def _waiting(self, fault: str) -> int:
        late = self.began[fault] + SOON
        return sum(mail.began >= late and (mail.waited or 0.0) >= WAITS for mail in self._stream.mails(fault))


def overlaps(told: list[dict[str, Any]]) -> bool:
    """Whether two senders have told one mail under different ids."""
    return any(
        one["id"] != other["id"] and one["from"] != other["from"]
        for number, one in enumerate(told)
        for other in told[:number]
    )


def said_again(told: list[dict[str, Any]], away: list[tuple[str, float]]) -> bool:
    """Whether a pod that was away has told a mail after its return that another had told before."""
    return any(
        one["from"] == address and one["arrived"] > back and any(other["from"] != address for other in told[:number])
        for number, one in enumerate(told)
        for address, back in away
    )


def _redis_stopped(scene: Scene) -> None:
    scene.site.kubectl("scale", "deployment/redis", "--replicas=0")
    try:
        scene.watch(REDIS_AWAY)
    finally:
        scene.site.kubectl("scale", "deployment/redis", "--replicas=1")
    wait_for("Redis is back", lambda: scene.ready("deployment/redis"))


def _redis_flushed(scene: Scene) -> None:
    scene.site.kubectl("exec", "deployment/redis", "--", "redis-cli", "flushall")


def _redis_restarted(scene: Scene) -> None:
    scene.site.kubectl("rollout", "restart", "deployment/redis")
    scene.site.kubectl("rollout", "status", "deployment/redis", "--timeout=120s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.chaos.faulttest", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="only these; all of them by default")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="copy the logs of all pods there at the end")
    arguments = parser.parse_args()
    run = FaultTest(set(arguments.faults), arguments.logs)
    if unknown := set(arguments.faults) - run.names:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return played(run)


def played(run: Chaos) -> int:
    """Plays it, says what is wrong, prints its line of JSON; the exit code."""
    try:
        run.play()
    except DevError as error:
        print(f"\nThe run failed: {error}", file=sys.stderr)
        return 1
    wrong = run.wrong()
    for one in wrong:
        print(f"WRONG: {one}", file=sys.stderr)
    print(json.dumps(run.figures()))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench-rebalance`: who moves, how long nobody owns a user, and what becomes of the mails, on real pods."""

import argparse
import itertools
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from dev.chaos.faults import Fault, killed, pod_deleted, pod_forced, rolling_restart
from dev.chaos.faulttest import played
from dev.chaos.run import Chaos
from dev.chaos.scene import Scene, api_server, send
from dev.chaos.tally import Tally
from dev.chaos.witness import Spell, slot_of, spells
from dev.cluster import network, state
from dev.demo import users
from dev.demo.mail import percentile
from dev.demo.site import Site, wait_for
from dev.demo.users import DemoUser
from dev.processes.errors import DevError

SCALES: Final = (5, 2, 3, 5, 2, 3, 5, 2, 5, 3)
"""Ten changes of the first installation, which begins with `FIRST` pods."""
FIRST: Final = 3
AWAY: Final = 60.0
PLANNED: Final = frozenset({"scale", "rolling", "delete"})
"""Here each owner is told before it ends."""
LOST: Final = frozenset({"kill", "force", "node-cut"})
STILL: Final = frozenset({"kubelet", "api"})
"""Here nobody is to move."""
MAY_REPEAT: Final = LOST
GAPS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""Upper ends of the histogram, in seconds."""


class Gap(NamedTuple):
    """Nobody has listened for a user for so many seconds; `planned`: the one before had ended in order."""

    user: str
    seconds: float
    planned: bool


class Rebalance(Chaos):
    """The stream with moves and losses, of which the witness tells who had whom."""

    def __init__(self, chosen: set[str], logs: Path | None) -> None:
        self.all = (
            Fault("scale", f"the first installation has {FIRST}, then {', '.join(map(str, SCALES))} pods", _scaled),
            Fault("rolling", "all listener pods are restarted one after the other", rolling_restart),
            Fault("kill", "a listener's processes are killed with SIGKILL", killed),
            Fault("delete", "a listener pod is deleted", pod_deleted),
            Fault("force", "a listener pod is deleted by force, without any grace", pod_forced),
            Fault("kubelet", f"a node has no kubelet for {AWAY:.0f} s", _kubelet_killed),
            Fault("node-cut", f"the node with the operator's leader is cut off for {AWAY:.0f} s", _leaders_node_cut),
            Fault("operator", "the operator is killed while slots move", _operator_killed),
            Fault("api", f"the API server does not answer for {AWAY:.0f} s", _api_server_away),
        )
        super().__init__([fault for fault in self.all if not chosen or fault.name in chosen], 0, logs)

    def options(self) -> tuple[str, ...]:
        """Two operators, of which one may stand on the node that is cut off."""
        return ("--set", "replicaCount=2", "--set", r"nodeSelector.kubernetes\.io/hostname=null")

    def prepare(self, site: Site) -> None:
        for config, pods in (("main", FIRST), ("idle", 2)):
            site.change({"listeners": {"replicas": pods, "logLevel": "debug"}}, config)
        # Else the names of all servers would be gone with the node.
        pinned = '{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"node1"}}}}}'
        site.kubectl("-n", "kube-system", "patch", "deployment", "coredns", "-p", pinned)

    def figures(self) -> dict[str, Any]:
        rows = {fault.name: self._row(fault.name) for fault in self._faults if fault.name in self.began}
        gaps = {name: list(self._gaps(name)) for name in rows}
        planned = [gap.seconds for name in PLANNED & gaps.keys() for gap in gaps[name] if gap.planned]
        lost = [gap.seconds for name in LOST & gaps.keys() for gap in gaps[name] if not gap.planned]
        totals = Tally.of(self._stream.mails())
        return {
            "planned_gap_p99_s": _rounded(percentile(planned, 0.99)),
            "crash_takeover_max_s": _rounded(max(lost, default=None)),
            "sent": totals.sent,
            "notified": totals.sent - totals.lost,
            "lost": totals.lost,
            "doubled": totals.doubled,
            "repeated": sum(row["repeated"] for name, row in rows.items() if name not in MAY_REPEAT),
            "repeated_after_losses": sum(row["repeated"] for name, row in rows.items() if name in MAY_REPEAT),
            "restarted_needlessly": sum(row["restarted_needlessly"] for name, row in rows.items() if name == "scale"),
            "moved_without_need": sum(row["moved"] for name, row in rows.items() if name in STILL),
            "users": len(users.LISTENING),
            "unwell": self._unwell,
            "by_fault": rows,
        }

    def wrong(self) -> list[str]:
        figures = self.figures()
        zero = ("lost", "doubled", "repeated", "restarted_needlessly", "moved_without_need")
        found = [*self._unwell, *(f"{key}: {figures[key]}" for key in zero if figures[key])]
        for key, most in (("planned_gap_p99_s", 1.0), ("crash_takeover_max_s", 20.0)):
            if (figures[key] or 0.0) > most:
                found.append(f"{key}: {figures[key]}")
        return found

    def _row(self, fault: str) -> dict[str, Any]:
        tally = Tally.of(self._stream.mails(fault))
        gaps = list(self._gaps(fault))
        return {
            "sent": tally.sent,
            "notified": tally.sent - tally.lost,
            "lost": tally.lost,
            "doubled": tally.doubled,
            "repeated": tally.repeated,
            "longest_lmtp_ms": tally.longest_lmtp_ms,
            "moved": sum(1 for _, one, other in self._changes(fault) if one.pod != other.pod),
            "ideal": ideal(fault),
            "restarted_needlessly": sum(1 for _, one, other in self._changes(fault) if one.life == other.life),
            "takeover_max_s": _rounded(max((gap.seconds for gap in gaps), default=None)),
            "gaps": histogram([gap.seconds for gap in gaps]),
        }

    def _changes(self, fault: str) -> Iterator[tuple[DemoUser, Spell, Spell]]:
        """The owners before and after each change of one, while the fault lasted."""
        events = self._witness.events()
        for user in users.LISTENING:
            owned = [
                spell for spell in spells(events, slot_of(user)) if spell.pod.startswith(f"mail-push-{user.config}-")
            ]
            for one, other in itertools.pairwise(owned):
                if self.began[fault] <= other.since <= self.ended[fault]:
                    yield user, one, other

    def _gaps(self, fault: str) -> Iterator[Gap]:
        for user, one, other in self._changes(fault):
            planned = one.until is not None and one.until >= self.began[fault]
            ended = one.until if planned and one.until is not None else self.began[fault]
            yield Gap(user.name, max(0.0, other.since - ended), planned)


def ideal(fault: str) -> int | None:
    """How many users of the first installation have to move, at least; None where it depends on who had how many."""
    main = sum(user.config == "main" for user in users.LISTENING)
    if fault == "scale":
        steps = zip((FIRST, *SCALES), SCALES, strict=False)
        return round(sum(main * abs(after - before) / max(before, after) for before, after in steps))
    return 0 if fault in STILL or fault == "kill" else None


def histogram(seconds: list[float]) -> dict[str, int]:
    """How many are at most so long, by upper end, each counted once; `more` are longer than all."""
    counted: Counter[str] = Counter()
    for one in seconds:
        end = next((end for end in GAPS if one <= end), None)
        counted["more" if end is None else f"{end:g}"] += 1
    return {key: counted[key] for key in (*(f"{end:g}" for end in GAPS), "more") if counted[key]}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _scaled(scene: Scene) -> None:
    for count in SCALES:
        scene.site.change({"listeners": {"replicas": count}}, "main")
        wait_for(f"{count} pods", scene.well)


def _kubelet_killed(scene: Scene) -> None:
    """Of the second node; it is started again as it was."""
    name = "kubelet2"
    pid = state.processes()[name]
    command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    send([pid], signal.SIGKILL)
    try:
        scene.watch(AWAY)
    finally:
        state.start(name, network.namespace(2), *(part.decode() for part in command))


def _leaders_node_cut(scene: Scene) -> None:
    """The second node, to which the operator's lead is brought before."""
    node = scene.cluster.nodes[-1]

    def leads_there() -> bool:
        leader = scene.operator()
        if leader is None:
            return False
        if leader["spec"]["nodeName"] == node:
            return True
        scene.site.kubectl("delete", "pod", leader["metadata"]["name"])
        return False

    wait_for(f"the operator's leader is on {node}", leads_there)
    wait_for("all is well with it", scene.well)
    scene.cluster.partition(node)
    try:
        scene.watch(AWAY)
    finally:
        scene.cluster.heal(node)


def _operator_killed(scene: Scene) -> None:
    """While a pod more gets its users."""
    leader = scene.operator()
    if leader is None:
        raise DevError("no operator leads")
    scene.site.change({"listeners": {"replicas": FIRST + 1}}, "main")
    wait_for("slots move", lambda: bool(scene.site.get("shardmap", "main")["spec"].get("moves")), 60)
    scene.signal(leader, signal.SIGKILL)
    wait_for("all is well with a pod more", scene.well)
    scene.site.change({"listeners": {"replicas": FIRST}}, "main")


def _api_server_away(scene: Scene) -> None:
    pid = api_server()
    try:
        send([pid], signal.SIGSTOP)
        time.sleep(AWAY)
    finally:
        send([pid], signal.SIGCONT)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.chaos.rebalance", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="only these; all of them by default")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="copy the logs of all pods there at the end")
    arguments = parser.parse_args()
    run = Rebalance(set(arguments.faults), arguments.logs)
    if unknown := set(arguments.faults) - {fault.name for fault in run.all}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return played(run)


if __name__ == "__main__":
    sys.exit(main())

"""A run: the demo's site, the stream of mail, the faults one after another, a table, and what they come to."""

import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dev.chaos.faults import Fault
from dev.chaos.scene import Scene
from dev.chaos.stream import Stream
from dev.chaos.tally import MECHANISMS, Sent, Tally
from dev.chaos.witness import Witness
from dev.cluster import nodes
from dev.demo import users
from dev.demo.show import chapter, table, text
from dev.demo.site import Site, as_expected, wait_for
from dev.images import image as images
from dev.images import project
from dev.processes.errors import DevError
from dev.processes.group import Group

RATE = 5.0
"""Mails a second, to all users together."""
BEFORE = 3.0
"""Seconds of mail before each fault, which count as the fault's: some are on their way when it happens."""
AFTER = 25.0
"""Seconds that are watched after a fault even if all looks well: a dead pod is noticed only when its Lease ends."""
SOON = 5.0
"""Seconds that a fault's last notifications have before its row is printed for the first time."""
BETWEEN = "between"
"""The label of the mails that are sent meanwhile."""
SLOW = 1.0
"""Seconds of a delivery from which on it is listed at the end, among the `SHOWN` slowest of its fault."""
SHOWN = 3
PATIENCE = 60.0
"""Seconds that the last notifications have at the end of the run."""
HEAD = ("FAULT", "MECHANISM", "SENT", "REFUSED", "LOST", "DOUBLED", "REPEATED", "LONGEST LMTP", "MOVED", "WELL AFTER")


class Chaos:
    """One run. The cluster and everything in it is gone after `play`.

    What runs differ in they say by `prepare` and `gather`.
    """

    def __init__(self, faults: list[Fault], busy: int, logs: Path | None) -> None:
        self._faults = faults
        self._busy = busy
        self._logs = logs
        self._unwell: list[str] = []
        self._moved: dict[str, dict[str, int]] = {}
        self._well_after: dict[str, float] = {}
        self._seconds = 0.0
        self.began: dict[str, float] = {}
        """Unix seconds at which each fault was about to be made."""
        self.ended: dict[str, float] = {}
        """Unix seconds at which all was well after it."""

    def options(self) -> tuple[str, ...]:
        """More arguments of Helm."""
        return ()

    def prepare(self, site: Site) -> None:
        """Before there are users."""

    def gather(self, scene: Scene) -> None:
        """While the cluster is still there, and all that is to come has come."""

    def play(self) -> None:
        with ExitStack() as stack:
            chapter("The demo's cluster and site")
            cluster = stack.enter_context(nodes.Cluster.up())
            site = self._site(cluster)
            lmtp, receiver = (site.address("dovecot"), 24), f"http://{site.address('webhook-receiver')}:8080/"
            loops = stack.enter_context(Group("mail-push-busy"))
            for number in range(self._busy):
                loops.start(f"loop{number}", sys.executable, "-c", "while True: pass")
            self._stream = stack.enter_context(Stream(lmtp, receiver, users.LISTENING, RATE))
            started = time.monotonic()
            self._witness = stack.enter_context(Witness(cluster))
            for fault in self._faults:
                self._one(Scene(cluster, site), fault)
            self._stream.stop()
            chapter(f"All mails are sent; the last notifications have {PATIENCE:.0f} s")
            self._stream.wait(None, PATIENCE)
            self._seconds = time.monotonic() - started
            self.gather(Scene(cluster, site))
            table(HEAD, [row for fault in self._faults for row in self._rows(fault)])
            self._show_bad()
            if self._logs:
                self._logs.mkdir(parents=True, exist_ok=True)
                for name in cluster.nodes:
                    shutil.copytree(cluster.pod_logs(name), self._logs / name, dirs_exist_ok=True)

    def _site(self, cluster: nodes.Cluster) -> Site:
        """Everything that the demo sets up, with all users listened for and spread over the pods."""
        site = Site(cluster, "mariadb")  # Redis is one of the faults: what it forgets, somebody would have to put again
        image, testbed = project.build(), images.testbed()
        cluster.load_images(image, testbed)
        site.prepare(testbed.reference)
        site.install(image.reference, *self.options())
        site.second_config()
        self.prepare(site)
        for deployment in site.servers:
            site.ready(deployment)
        site.register()
        scene = Scene(cluster, site)
        wait_for("all users are as expected", lambda: as_expected(site.push_users()))

        def even() -> bool:
            return scene.well() and all(max(s) - min(s) <= 1 for s in map(scene.spread, MECHANISMS))

        wait_for("users are spread evenly", even)
        for config in MECHANISMS:
            text(f"users per pod of {config}: {scene.spread(config)}")
        return site

    def _one(self, scene: Scene, fault: Fault) -> None:
        chapter(f"{fault.name}: {fault.what}")
        self._stream.fault = fault.name
        scene.observe()
        time.sleep(BEFORE)
        started = time.monotonic()
        self.began[fault.name] = time.time()
        try:
            fault.make(scene)
            made = time.monotonic()
            wait_for("all is well again", scene.well)
            self._well_after[fault.name] = time.monotonic() - made
            scene.watch(AFTER - (time.monotonic() - made))
            # What looked well may not have been: the fault may not have been noticed yet.
            wait_for("all is well at the end", scene.well)
        except DevError as error:
            self._unwell.append(f"{fault.name}: {error}")
        self.ended[fault.name] = time.time()
        self._moved[fault.name] = scene.moves.counts
        self._stream.fault = BETWEEN
        self._stream.wait(fault.name, SOON)
        table(HEAD, self._rows(fault))
        text(f"{time.monotonic() - started:.0f} s")

    def _rows(self, fault: Fault) -> list[tuple[object, ...]]:
        return [
            (
                *(fault.name, mechanism, tally.sent, tally.refused, tally.lost, tally.doubled, tally.repeated),
                *(f"{tally.longest_lmtp_ms} ms", self._moved[fault.name][mechanism], self._well(fault)),
            )
            for mechanism, tally in self._tallies(fault.name).items()
        ]

    def _well(self, fault: Fault) -> str:
        seconds = self._well_after.get(fault.name)
        return "never" if seconds is None else f"{seconds:.0f} s"

    def _tallies(self, fault: str) -> dict[str, Tally]:
        mails = self._stream.mails(fault)
        return {name: Tally.of(one for one in mails if one.mechanism == name) for name in MECHANISMS.values()}

    def _show_bad(self) -> None:
        """Which mails were lost, doubled or refused, and the slowest of each fault."""
        for one in self._stream.mails():
            for words, true in (
                ("lost", one.lost),
                (f"doubled ({', '.join(one.ids)})", len(set(one.ids)) > 1),
                (f"refused: {one.refusal}", one.refusal is not None),
            ):
                if true:
                    show(one, words)
        for fault in self._faults:
            slow = [one for one in self._stream.mails(fault.name) if one.taken and (one.waited or 0) > SLOW]
            for one in sorted(slow, key=lambda one: -(one.waited or 0))[:SHOWN]:
                show(one, f"taken only after {one.waited:.1f} s (one of {len(slow)} above {SLOW:.0f} s)")

    def wrong(self) -> list[str]:
        """What must not be: mails of Dovecot's users lost or doubled, and faults that the site did not get over."""
        return [
            *self._unwell,
            *(
                f"{label}: {tally.lost} mails of dovecot users lost, {tally.doubled} doubled"
                for label in (*(fault.name for fault in self._faults), BETWEEN)
                if (tally := self._tallies(label)["dovecot"]).lost or tally.doubled
            ),
        ]

    def figures(self) -> dict[str, Any]:
        return {
            "seconds": round(self._seconds),
            "rate": RATE,
            "busy": self._busy,
            "users": len(users.LISTENING),
            "unwell": self._unwell,
            "faults": [
                {
                    "fault": fault.name,
                    "mechanism": mechanism,
                    **asdict(tally),
                    "moved": self._moved[fault.name][mechanism],
                }
                for fault in self._faults
                for mechanism, tally in self._tallies(fault.name).items()
            ],
            "total": {
                name: asdict(Tally.of(one for one in self._stream.mails() if one.mechanism == name))
                for name in MECHANISMS.values()
            },
        }


def show(mail: Sent, words: str) -> None:
    clock = time.strftime("%H:%M:%S", time.gmtime(mail.began))
    text(f"{clock} {mail.fault}: {mail.subject} to {mail.user.name} ({mail.mechanism}) {words}")

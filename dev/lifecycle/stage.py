"""What the scenes do with the site: install it, deliver mails, look at Dovecot's entries and at statuses."""

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import yaml

from dev.chaos.scene import Scene
from dev.chaos.tally import MECHANISMS
from dev.cluster import nodes
from dev.demo import users
from dev.demo.mail import Mails, received
from dev.demo.show import text
from dev.demo.site import NAMESPACE, ROOT, Site, as_expected, overlay, wait_for
from dev.demo.users import DemoUser
from dev.images.image import Image
from dev.lifecycle.verdict import Verdict
from dev.processes import run
from dev.processes.errors import CommandError, DevError
from dev.programs import binaries

Helm = Literal["helm3", "helm4"]
CHART = ROOT / "charts" / "mail-push"
EXAMPLE = ROOT / "examples" / "values.yaml"
RELEASE = "mail-push"
ENTRY = "vendor.dovecot/http-notify"
MAIL_SECONDS = 60.0
"""How long a mail may take to be notified before it counts as untold; far more than any takes."""
HANG_SECONDS = 180.0
"""After which an operation counts as one that hangs."""
REASON_SECONDS = 120.0
"""How long a status may take to say what is wrong."""


class Stage:
    """The namespace `mail` of the demo's cluster, from empty to gone, as often as a scene wants."""

    def __init__(self, cluster: nodes.Cluster, image: Image, testbed: Image, verdict: Verdict) -> None:
        self.cluster = cluster
        self.site = Site(cluster)
        self.verdict = verdict
        self.remembered: dict[str, Any] = {}
        """What a trouble has changed, by its name: as it was."""
        self._image = image.reference
        self._testbed = testbed.reference

    # The site

    def helm(
        self, version: Helm, *args: str | Path, namespace: str = NAMESPACE, values: dict[str, Any] | None = None
    ) -> tuple[int, str]:
        """Exit code and what Helm printed. `values` go on top of those that `args` name."""
        done = run.quiet(
            binaries.path(version),
            *args,
            *("--namespace", namespace),
            *(("--values", "-") if values is not None else ()),
            input=None if values is None else yaml.safe_dump(values),
            env=self.site.environment,
            check=False,
            timeout=HANG_SECONDS * 3,
        )
        return done.returncode, done.stdout + done.stderr

    def install(self, version: Helm, *args: str | Path, values: dict[str, Any] | None = None) -> tuple[int, str]:
        """README's command with the example's values, the image of this checkout, and what a scene adds."""
        merged = {**overlay(self._image), **(values or {})}
        return self.helm(
            version, "install", RELEASE, CHART, "--values", EXAMPLE, *args, "--wait", "--timeout=300s", values=merged
        )

    def upgrade(self, version: Helm, values: dict[str, Any]) -> tuple[int, str]:
        merged = {**overlay(self._image), **values}
        return self.helm(
            version, "upgrade", RELEASE, CHART, "--values", EXAMPLE, "--wait", "--timeout=300s", values=merged
        )

    def recover(self) -> None:
        """The site as after the install, whatever a scene has left.

        Raises:
            DevError: it does not come.
        """
        code, printed = self.helm(
            *("helm4", "upgrade", "--install", RELEASE, CHART, "--values", EXAMPLE, "--wait", "--timeout=300s"),
            values=overlay(self._image),
        )
        if code:
            raise DevError(f"the site cannot be had again: {printed[-300:]}")
        self.site.second_config()
        self.site.register()
        self.all_as_expected()

    def image_values(self) -> dict[str, Any]:
        return overlay(self._image)

    def prepare(self) -> None:
        """Namespace, Secrets, Redis, receiver and Dovecot, which waits for the Secret that the operator makes."""
        self.site.prepare(self._testbed)

    def settle(self) -> None:
        """Once the site's servers are ready and all push users are as they should be."""
        for deployment in self.site.servers:
            self.site.ready(deployment)
        self.site.register()
        self.all_as_expected()
        self._receiver = f"http://{self.site.address('webhook-receiver')}:8080/"
        self.mails = Mails((self.site.address("dovecot"), 24), self._receiver)

    def all_as_expected(self) -> None:
        """Waits also until nobody is to move any more: a mail by IMAP that comes during a move is not found yet."""
        scene = Scene(self.cluster, self.site)

        def even() -> bool:
            spreads = [spread for config in MECHANISMS if (spread := scene.spread(config))]
            return as_expected(self.site.push_users()) and all(max(one) - min(one) <= 1 for one in spreads)

        wait_for("all users are as expected and spread evenly", even)

    # Mail

    def tell(self, what: str, listening: Iterable[DemoUser] = users.LISTENING) -> None:
        """A mail to each; whoever is not notified of it once, and alone, is counted."""
        sent = [self.mails.deliver(user) for user in listening]
        self.mails.wait(sent, MAIL_SECONDS)
        untold = [one for one in sent if not one.notifications]
        strangers = [one for one in sent for note in one.notifications if note["body"]["userId"] != one.user.user_id]
        self.verdict.add("untold", len(untold))
        self.verdict.add("strangers", len(strangers))
        names = ", ".join(one.user.name for one in (*untold, *strangers))
        self.verdict.step(f"{what}: {len(sent)} mails told", not untold and not strangers, names)

    def notified(self, user_id: int) -> list[dict[str, Any]]:
        """All notifications so far that name this user."""
        return [
            note for notes in received(self._receiver).values() for note in notes if note["body"]["userId"] == user_id
        ]

    # Dovecot's entries

    def registered(self) -> set[str]:
        """Logins with a push entry at Dovecot."""
        found = self.site.kubectl(
            *("exec", "deployment/dovecot", "--", "sh", "-c", f"grep -rl {ENTRY} /srv/attributes || true")
        )
        return {line.rpartition("/")[2] for line in found.split()}

    def no_orphans(self, what: str, expected: Iterable[str]) -> None:
        """No login but the expected ones has an entry, now or soon."""
        wanted = set(expected)
        orphans: set[str] = set()

        def none() -> bool:
            nonlocal orphans
            orphans = self.registered() - wanted
            return not orphans

        self._within(REASON_SECONDS, none)
        self.verdict.add("orphans", len(orphans))
        self.verdict.step(f"{what}: no entry is left at Dovecot", not orphans, ", ".join(sorted(orphans)))

    # Statuses

    def condition(self, type_: str, config: str = "main") -> dict[str, Any]:
        """A MailPushConfig's condition; empty where it has none."""
        conditions = self.site.get("mailpushconfig", config).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    def says(self, what: str, pattern: str, ready: bool | None = False) -> None:
        """Waits until the MailPushConfig's Ready is as it must be, and until any status says what `pattern` looks for.

        `ready=None` leaves Ready open.
        """
        greens = ready is False

        def red() -> bool:
            return self.condition("Ready").get("status") != "True"

        if greens and not self._within(REASON_SECONDS, red):
            self.verdict.add("false_greens", 1)
            self.verdict.step(f"{what}: Ready is not True", False, str(self.condition("Ready").get("message", "")))
        heard: list[str] = []

        def said() -> bool:
            heard[:] = self.words()
            return any(re.search(pattern, one) for one in heard)

        good = self._within(REASON_SECONDS, said)
        self.verdict.step(f"{what}: the reason is named", good, "" if good else " | ".join(sorted(set(heard)))[:400])

    def words(self) -> list[str]:
        """Each condition of the MailPushConfig and of its push users, as `Type=Status Reason: message`."""
        objects = [self.site.get("mailpushconfig", "main"), *self.site.push_users().values()]
        return [
            f"{one['type']}={one['status']} {one.get('reason', '')}: {one.get('message', '')}"
            for found in objects
            for one in found.get("status", {}).get("conditions", [])
        ]

    # Bounds

    def ends(self, what: str, condition: Callable[[], bool], seconds: float = HANG_SECONDS) -> bool:
        """Waits for an operation to end; counts it as hanging where it does not."""
        started = time.monotonic()
        good = self._within(seconds, condition)
        self.verdict.add("hangs", 0 if good else 1)
        return self.verdict.step(f"{what}: ends", good, f"after {time.monotonic() - started:.0f} s")

    def namespace_gone(self, name: str = NAMESPACE) -> bool:
        return not self.site.kubectl("get", "namespace", name, "--ignore-not-found", "-o", "name").strip()

    def logs(self, what: str) -> str:
        try:
            return self.site.kubectl("logs", what, "--tail=60")
        except CommandError as error:
            return str(error)

    @staticmethod
    def _within(seconds: float, condition: Callable[[], bool]) -> bool:
        try:
            wait_for("it", condition, seconds)
        except DevError:
            return False
        return True

    def show(self) -> None:
        """What the administrator sees."""
        text(self.site.kubectl("get", "mailpushconfigs,pushusers", check=False))

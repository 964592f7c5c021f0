"""The demo's story, from an empty machine to the last line of figures."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from dev.cluster import nodes
from dev.demo import users
from dev.demo.mail import Delivered, Mails, percentile
from dev.demo.show import chapter, table, text
from dev.demo.site import (
    STORAGES,
    Site,
    Store,
    as_expected,
    listening,
    pod_of,
    settled,
    wait_for,
    wrong_sources,
)
from dev.demo.users import DemoUser
from dev.images import image as images
from dev.images import project
from dev.processes.errors import DevError

MAILS_A_ROUND = 20
LOST_NODE = "node2"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description="The main job on real nodes (root).")
    parser.add_argument("--store", choices=sorted(STORAGES), default="redis", help="where stored passwords are kept")
    demo = Demo(parser.parse_args().store)
    try:
        demo.play()
    except DevError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        print("The cluster is left for a look (python -m dev kubeconfig); make demo-down removes it.", file=sys.stderr)
        return 1
    for fault in demo.faults():
        print(f"WRONG: {fault}", file=sys.stderr)
    for delay in demo.delays():
        print(f"SLOW: {delay}", file=sys.stderr)
    print(json.dumps(demo.figures()))
    return 1 if demo.faults() else 0


class Demo:
    """One run: chapter by chapter, remembering what the figures need."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.wrong: list[str] = []
        self.slowest_change = 0.0

    def play(self) -> None:
        self.build()
        self.install()
        self.register()
        self.mails = Mails((self.site.address("dovecot"), 24), f"http://{self.site.address('webhook-receiver')}:8080/")
        self.sources()
        self.explain()
        self.change_allowed_clients()
        self.ask_pushusers()
        self.first_round()
        self.lose_a_node()
        self.second_round()
        self.node_comes_back()

    def build(self) -> None:
        chapter("A Kubernetes cluster with two nodes")
        self.cluster = nodes.Cluster.up()
        self.site = Site(self.cluster, self.store)
        chapter("The image, from the project's Dockerfile")
        self.image, self.testbed = project.build(), images.testbed()
        self.cluster.load_images(self.image, self.testbed)

    def install(self) -> None:
        stores = "Redis, MariaDB" if self.store == "mariadb" else "Redis"
        chapter(f"{stores}, Dovecot and a webhook receiver; then Mail Push by Helm with examples/values.yaml")
        self.site.prepare(self.testbed.reference)
        self.site.install(self.image.reference)
        self.site.second_config()
        for deployment in self.site.servers:
            self.site.ready(deployment)
        text(self.site.kubectl("get", "nodes,pods", "-o", "wide"))
        chapter("mail-push.properties, as an OX node would read it")
        written = settled(lambda: self.site.get("configmap", "mail-push-main-properties"), bool)
        text(written["data"]["mail-push.properties"])

    def register(self) -> None:
        chapter(f"kubectl apply: {len(users.USERS)} push users")
        self.site.register()
        wait_for(
            f"{len(users.LISTENING)} users are listened for, and the others have their reasons",
            self.everybody_is_as_expected,
        )
        text(self.site.kubectl("get", "pushusers"))
        # A registration moves nobody for a minute: until then the users are where their slots are.
        wait_for("users are spread evenly", self.spread_evenly)
        text("\n" + self.site.kubectl("get", "mailpushconfigs,shardmaps"))
        text(f"users per pod of main: {self.spread}")

    def sources(self) -> None:
        chapter(f"Where the passwords come from: a master user, Secrets of the users, the storage ({self.store})")
        found = settled(self.site.push_users, lambda found: not wrong_sources(found), seconds=120)
        rows = {user: found[user.name]["status"].get("credentials", {}) for user in users.LISTENING}
        table(
            ("USER", "SOURCE", "LAST WORKED"),
            [(user.name, said.get("source", "-"), said.get("lastWorked", "-")) for user, said in rows.items()],
        )
        self.wrong += wrong_sources(found)

    def explain(self) -> None:
        chapter("kubectl mailpush explain: why a user is not listened for, and why another is")
        for user in (users.DENIED, users.USERS[0]):
            self.explain_one(user)

    def explain_one(self, user: DemoUser) -> None:
        text(f"\n$ kubectl mailpush explain {user.context_id} {user.user_id}")
        expected = 0 if user.listens else 1
        code, printed = settled(
            lambda: self.site.explain(user.context_id, user.user_id), lambda answer: answer[0] == expected
        )
        text(printed)
        if code != expected:
            self.wrong.append(f"explain says of {user.name} what is not so (exit code {code})")

    def change_allowed_clients(self) -> None:
        chapter(f"allowedClients is changed: {users.DENIED.name} is listened for, and then not any more")
        before = self.site.lives()
        allowed = self.site.get("mailpushconfig", "main")["spec"]["allowedClients"]
        for patterns, listens in (([*allowed, *users.DENIED.clients], True), (allowed, False)):
            self.site.change({"allowedClients": patterns})

            def changed(wanted: bool = listens) -> bool:
                return listening(self.site.push_users()[users.DENIED.name]) is wanted

            seconds = wait_for(f"the user {'listens' if listens else 'is denied'}", changed)
            text(f"allowedClients: {', '.join(patterns)}: the user has changed after {seconds:.1f} s")
            self.slowest_change = max(self.slowest_change, seconds)
        wait_for("all users are as they were", self.everybody_is_as_expected)
        if self.site.lives() != before:
            self.wrong.append("a change of allowedClients has restarted pods")

    def ask_pushusers(self) -> None:
        chapter("pushusers, as on an OX node: the operator lists all listeners, a listener pod its own")
        operator, pod = "deployment/mail-push", "mail-push-main-0"
        self.pushusers(
            operator,
            "--list",
            good=lambda printed: printed.count("true") == len(users.LISTENING),
            else_wrong=f"pushusers does not list {len(users.LISTENING)} listeners",
        )
        self.pushusers(pod, "--list")
        self.pushusers(operator, "-l")
        self.pushusers(operator, "-r", "-c", "1", "-u", "3", "-i", users.TABLET)
        self.pushusers(
            operator,
            "-l",
            good=lambda printed: users.TABLET not in printed,
            else_wrong="pushusers lists a client that it has deleted",
        )
        wait_for("the user is listened for, as another client is left", self.everybody_is_as_expected)

    def pushusers(
        self, pod: str, *args: str, good: Callable[[str], bool] = lambda _: True, else_wrong: str = ""
    ) -> None:
        """Asks until the answer is good: it shows what a watch has brought so far."""
        text(f"\n{pod} $ pushusers {' '.join(args)}")
        printed = settled(lambda: self.site.pushusers(pod, *args), good)
        text(printed)
        if not good(printed):
            self.wrong.append(else_wrong)

    def first_round(self) -> None:
        chapter(f"{MAILS_A_ROUND} mails by LMTP, and two that must stay silent")
        self.first = self.deliver(MAILS_A_ROUND)
        self.silent = [self.mails.deliver(user) for user in users.SILENT]
        self.mails.wait(self.first)
        self.report(self.first)

    def lose_a_node(self) -> None:
        chapter(f"{LOST_NODE} is cut off for good")
        pods = self.site.listener_pods()
        self.lost = {name for name, pod in pods.items() if pod["spec"].get("nodeName") == LOST_NODE}
        affected = {
            name for name, user in self.site.push_users().items() if listening(user) and pod_of(user) in self.lost
        }
        text(f"{len(affected)} users are listened for by pods there: {', '.join(sorted(affected))}")
        if not affected:
            self.wrong.append(f"no user was listened for on {LOST_NODE}, so nothing could be taken over")
        self.cluster.partition(LOST_NODE)

        def taken_over() -> bool:
            found = self.site.push_users()
            return all(listening(found[name]) and pod_of(found[name]) not in self.lost for name in affected)

        self.takeover = wait_for("the other node's pods listen for them", taken_over)
        text(f"the last of them is listened for again after {self.takeover:.1f} s")
        text(self.site.kubectl("get", "pushusers"))

    def second_round(self) -> None:
        chapter(f"{MAILS_A_ROUND} more mails, right then")
        self.second = self.deliver(MAILS_A_ROUND)
        self.mails.wait(self.second)
        self.report(self.second)

    def node_comes_back(self) -> None:
        chapter(f"{LOST_NODE} comes back")
        self.cluster.heal(LOST_NODE)

        def back() -> bool:
            found = self.site.push_users()
            held = {pod_of(user) for user in found.values() if listening(user)}
            return bool(held & self.lost) and as_expected(found)

        text(f"its pods take users again after {wait_for('its pods take users again', back):.1f} s")
        text(self.site.kubectl("get", "pushusers"))
        self.mails.wait(self.delivered)
        twice = [delivered.subject for delivered in self.delivered if len(delivered.notifications) > 1]
        text(f"\ntold twice: {', '.join(twice) or 'nothing'}")

    @property
    def delivered(self) -> list[Delivered]:
        """The mails to users who listen."""
        return self.first + self.second

    def faults(self) -> list[str]:
        """What was not as promised, in words."""
        return [
            *self.wrong,
            *(f"{one.subject} to {one.user.name} never notified" for one in self.delivered if not one.notifications),
            *(
                f"{one.subject} to {one.user.name} notified twice"
                for one in self.delivered
                if len(one.notifications) > 1
            ),
            *(f"{one.subject} to {one.user.name} notified" for one in self.silent if one.notifications),
            *(
                f"{one.subject} was not signed"
                for one in self.delivered
                if not all(n["signed"] for n in one.notifications)
            ),
            *([f"users are spread unevenly: {self.spread}"] if max(self.spread) - min(self.spread) > 1 else []),
        ]

    def delays(self) -> list[str]:
        """What took longer than promised. A busy machine may be the reason, so this alone is no failure."""
        promised = (("the takeover", self.takeover, 20), ("a change of allowedClients", self.slowest_change, 5))
        return [f"{what} took {took:.1f} s, more than {bound}" for what, took, bound in promised if took > bound]

    def figures(self) -> dict[str, Any]:
        latencies = [one.milliseconds for one in self.delivered if one.milliseconds is not None]
        p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
        return {
            "users": len(users.USERS),
            "listening": len(users.LISTENING),
            "denied": len(users.SILENT),
            "store": self.store,
            "sources": Counter(user.source for user in users.LISTENING),
            "pods": len(self.site.listener_pods()),
            "spread": self.spread,
            "mails": len(self.delivered),
            "notified": sum(bool(one.notifications) for one in self.delivered),
            "duplicates": sum(max(0, len(one.notifications) - 1) for one in self.delivered),
            "p50_ms": round(p50, 1) if p50 is not None else None,
            "p99_ms": round(p99, 1) if p99 is not None else None,
            "takeover_s": round(self.takeover, 1),
        }

    def everybody_is_as_expected(self) -> bool:
        return as_expected(self.site.push_users())

    def spread_evenly(self) -> bool:
        """Also notes the spread: what is shown and judged is the very one that was waited for."""
        found = self.site.push_users()
        counts = Counter(pod_of(user) for user in found.values() if listening(user))
        pods = self.site.listener_pods().items()  # pods without any user count too
        self.spread = [counts[name] for name, pod in pods if pod["metadata"]["labels"]["mailpush.dev/config"] == "main"]
        replicas = self.site.get("mailpushconfig", "main")["spec"]["listeners"]["replicas"]
        return as_expected(found) and len(self.spread) == replicas and max(self.spread) - min(self.spread) <= 1

    def deliver(self, count: int) -> list[Delivered]:
        return [self.mails.deliver(users.LISTENING[number % len(users.LISTENING)]) for number in range(count)]

    def report(self, delivered: list[Delivered]) -> None:
        found = self.site.push_users()
        table(
            ("MAIL", "USER", "MECHANISM", "POD", "TOLD", "AFTER"),
            [
                (
                    one.subject,
                    one.user.name,
                    found[one.user.name]["status"].get("mechanism", "-"),
                    found[one.user.name]["status"].get("pod", "-"),
                    {0: "never", 1: "once"}.get(len(one.notifications), f"{len(one.notifications)} times"),
                    f"{one.milliseconds:.0f} ms" if one.milliseconds is not None else "-",
                )
                for one in delivered
            ],
        )
        text(f"{sum(bool(one.notifications) for one in delivered)} of {len(delivered)} notified")


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"demo: {time.monotonic() - started:.0f} s", file=sys.stderr)
    sys.exit(code)

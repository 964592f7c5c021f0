"""The demo's story, from an empty machine to the last line of figures."""

import json
import sys
import time
from collections import Counter
from typing import Any

from dev import images, nodes
from dev.demo import users
from dev.demo.mail import Mails, Told, percentile
from dev.demo.show import chapter, table, text
from dev.demo.site import Site, listening, wait_for
from dev.errors import DevError

MAILS_A_ROUND = 20
LOST_NODE = "node2"


def main() -> int:
    demo = Demo()
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

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.slowest_change = 0.0

    def play(self) -> None:
        self.build()
        self.install()
        self.register()
        self.mails = Mails((self.site.address("dovecot"), 24), f"http://{self.site.address('webhook-receiver')}:8080/")
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
        self.site = Site(self.cluster)
        chapter("The image, from the project's Dockerfile")
        self.image, self.testbed = images.project(), images.testbed()
        self.cluster.load_images(self.image, self.testbed)

    def install(self) -> None:
        chapter("Redis, Dovecot and a webhook receiver; then Mail Push by Helm with examples/values.yaml")
        self.site.prepare(self.testbed.reference)
        self.site.install(self.image.reference)
        self.site.second_config()
        for deployment in ("redis", "webhook-receiver", "dovecot"):
            self.site.ready(deployment)
        text(self.site.kubectl("get", "nodes,pods", "-o", "wide"))
        chapter("mail-push.properties, as an OX node would read it")
        text(self.site.get("configmap", "mail-push-main-properties")["data"]["mail-push.properties"])

    def register(self) -> None:
        chapter(f"kubectl apply: {len(users.USERS)} push users")
        self.site.register()
        wait_for(
            f"{len(users.LISTENING)} users are listened for, and the others have their reasons",
            lambda: self.everybody_listens() and self.silent_users_have_reasons(),
            120,
        )
        text(self.site.kubectl("get", "pushusers"))
        # A registration moves nobody for a minute: until then the users are where their slots are.
        wait_for("users are spread evenly", lambda: self.everybody_listens() and self.spread_evenly(), 150)
        text("\n" + self.site.kubectl("get", "mailpushconfigs,shardmaps"))
        self.spread = self.listeners_by_pod("main")
        text(f"users per pod of main: {self.spread}")

    def explain(self) -> None:
        chapter("kubectl mailpush explain: why a user is not listened for, and why another is")
        for user, spawn in ((users.DENIED, 1), (users.USERS[0], 0)):
            text(f"\n$ kubectl mailpush explain {user.context_id} {user.user_id}")
            code, printed = self.site.explain(user.context_id, user.user_id)
            text(printed)
            if code != spawn:
                self.wrong.append(f"explain says of {user.name} what is not so (exit code {code})")

    def change_allowed_clients(self) -> None:
        chapter(f"allowedClients is changed: {users.DENIED.name} is listened for, and then not any more")
        before = self.site.lives()
        allowed = self.site.get("mailpushconfig", "main")["spec"]["allowedClients"]
        for patterns, listens in (([*allowed, *users.DENIED.clients], True), (allowed, False)):
            self.site.change({"allowedClients": patterns})

            def changed(wanted: bool = listens) -> bool:
                return listening(self.site.push_users()[users.DENIED.name]) is wanted

            seconds = wait_for(f"the user {'listens' if listens else 'is denied'}", changed, 60)
            text(f"allowedClients: {', '.join(patterns)}: the user has changed after {seconds:.1f} s")
            self.slowest_change = max(self.slowest_change, seconds)
        if self.site.lives() != before:
            self.wrong.append("a change of allowedClients has restarted pods")

    def ask_pushusers(self) -> None:
        chapter("pushusers, as on an OX node: the operator tells of all listeners, a listener pod of its own")
        operator, pod = "deployment/mail-push", "mail-push-main-0"
        everybody = self.pushusers(operator, "--list")
        self.pushusers(pod, "--list")
        self.pushusers(operator, "-l")
        self.pushusers(operator, "-r", "-c", "1", "-u", "3", "-i", users.TABLET)
        wait_for("the user is listened for, as another client is left", self.everybody_listens, 60)
        if everybody.count("true") != len(users.LISTENING):
            self.wrong.append(f"pushusers does not list {len(users.LISTENING)} listeners")
        if users.TABLET in self.pushusers(operator, "-l"):
            self.wrong.append("pushusers lists a client that it has deleted")

    def pushusers(self, pod: str, *args: str) -> str:
        text(f"\n{pod} $ pushusers {' '.join(args)}")
        printed = self.site.pushusers(pod, *args)
        text(printed)
        return printed

    def first_round(self) -> None:
        chapter(f"{MAILS_A_ROUND} mails by LMTP, and two that must stay silent")
        self.first = self.deliver(MAILS_A_ROUND)
        self.silent = [self.mails.deliver(user) for user in users.SILENT]
        self.mails.wait(self.first, 30)
        self.report(self.first)

    def lose_a_node(self) -> None:
        chapter(f"{LOST_NODE} is cut off for good")
        pods = self.site.listener_pods()
        self.lost = {name for name, pod in pods.items() if pod["spec"].get("nodeName") == LOST_NODE}
        affected = {
            name
            for name, user in self.site.push_users().items()
            if listening(user) and user["status"].get("pod") in self.lost
        }
        text(f"{len(affected)} users are listened for by pods there: {', '.join(sorted(affected))}")
        self.cluster.partition(LOST_NODE)

        def taken_over() -> bool:
            found = self.site.push_users()
            return all(listening(found[name]) and found[name]["status"]["pod"] not in self.lost for name in affected)

        self.takeover = wait_for("the other node's pods listen for them", taken_over, 90)
        text(f"the last of them is listened for again after {self.takeover:.1f} s")
        text(self.site.kubectl("get", "pushusers"))

    def second_round(self) -> None:
        chapter(f"{MAILS_A_ROUND} more mails, right then")
        self.second = self.deliver(MAILS_A_ROUND)
        self.mails.wait(self.second, 30)
        self.report(self.second)

    def node_comes_back(self) -> None:
        chapter(f"{LOST_NODE} comes back")
        self.cluster.heal(LOST_NODE)

        def back() -> bool:
            held = Counter(user["status"].get("pod") for user in self.site.push_users().values() if listening(user))
            return any(held[pod] for pod in self.lost) and self.everybody_listens()

        text(f"its pods take users again after {wait_for('its pods take users again', back, 240):.1f} s")
        text(self.site.kubectl("get", "pushusers"))
        self.mails.collect()
        twice = [told.subject for told in self.told if len(told.notifications) > 1]
        text(f"\ntold twice: {', '.join(twice) or 'nothing'}")

    @property
    def told(self) -> list[Told]:
        """The mails to users who listen."""
        return self.first + self.second

    def faults(self) -> list[str]:
        """What was not as promised, in words."""
        return [
            *self.wrong,
            *(f"{one.subject} to {one.user.name} was never told" for one in self.told if not one.notifications),
            *(f"{one.subject} to {one.user.name} was told twice" for one in self.told if len(one.notifications) > 1),
            *(f"{one.subject} to {one.user.name} was told" for one in self.silent if one.notifications),
            *(f"{one.subject} was not signed" for one in self.told if not all(n["signed"] for n in one.notifications)),
            *([f"users are spread unevenly: {self.spread}"] if max(self.spread) - min(self.spread) > 1 else []),
        ]

    def delays(self) -> list[str]:
        """What took longer than promised. A busy machine may be the reason, so this alone is no failure."""
        promised = (("the takeover", self.takeover, 20), ("a change of allowedClients", self.slowest_change, 5))
        return [f"{what} took {took:.1f} s, more than {bound}" for what, took, bound in promised if took > bound]

    def figures(self) -> dict[str, Any]:
        latencies = [one.milliseconds for one in self.told if one.milliseconds is not None]
        p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
        return {
            "users": len(users.USERS),
            "listening": len(users.LISTENING),
            "denied": len(users.SILENT),
            "pods": len(self.site.listener_pods()),
            "spread": self.spread,
            "mails": len(self.told),
            "notified": sum(bool(one.notifications) for one in self.told),
            "duplicates": sum(max(0, len(one.notifications) - 1) for one in self.told),
            "p50_ms": round(p50, 1) if p50 is not None else None,
            "p99_ms": round(p99, 1) if p99 is not None else None,
            "takeover_s": round(self.takeover, 1),
        }

    def everybody_listens(self) -> bool:
        return sum(map(listening, self.site.push_users().values())) == len(users.LISTENING)

    def spread_evenly(self) -> bool:
        counts = self.listeners_by_pod("main")
        return max(counts) - min(counts) <= 1

    def silent_users_have_reasons(self) -> bool:
        found = self.site.push_users()
        return all(found[user.name].get("status", {}).get("reason") for user in users.SILENT)

    def listeners_by_pod(self, config: str) -> list[int]:
        """Users who are listened for, by pod of one installation; pods without any count too."""
        counts = Counter(user["status"]["pod"] for user in self.site.push_users().values() if listening(user))
        pods = self.site.listener_pods().items()
        return [counts[name] for name, pod in pods if pod["metadata"]["labels"]["mailpush.dev/config"] == config]

    def deliver(self, count: int) -> list[Told]:
        return [self.mails.deliver(users.LISTENING[number % len(users.LISTENING)]) for number in range(count)]

    def report(self, told: list[Told]) -> None:
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
                for one in told
            ],
        )
        text(f"{sum(bool(one.notifications) for one in told)} of {len(told)} told")


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"demo: {time.monotonic() - started:.0f} s", file=sys.stderr)
    sys.exit(code)

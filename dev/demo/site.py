"""Sets up the demo's mail site in the cluster: Secrets, Redis, Dovecot, the receiver, Mail Push itself, push users."""

import base64
import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from dev.cluster.pki import Authority
from dev.demo import users
from dev.processes import run
from dev.processes.errors import CommandError, DevError
from dev.programs import binaries

HERE = Path(__file__).parent / "site"
ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "mail"
ADMIN = "oxadmin"
PUSHUSERS = "/opt/open-xchange/sbin/pushusers"
PATIENCE = 300.0
"""Seconds for one thing to come true; only so that a demo in which it never does comes to an end."""

Answer = TypeVar("Answer")


class Cluster(Protocol):
    """What the demo needs of a cluster."""

    @property
    def kubeconfig(self) -> Path: ...


class Site:
    """The namespace `mail` of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.kubeconfig = cluster.kubeconfig

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> str:
        return run.quiet(
            binaries.path("kubectl"), "-n", NAMESPACE, *args, input=input, check=check, env=self.environment
        ).stdout

    def get(self, kind: str, *args: str) -> Any:
        return json.loads(self.kubectl("get", kind, "-o", "json", *args))

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(objects))

    def prepare(self, testbed: str) -> None:
        """Namespace, Secrets, Redis, the receiver and Dovecot (which starts once the operator made its Secret)."""
        self.kubectl("create", "namespace", NAMESPACE)
        authority = Authority.new("Demo CA")
        dovecot = authority.issue("dovecot", names=("dovecot", f"dovecot.{NAMESPACE}", f"dovecot.{NAMESPACE}.svc"))
        master = secrets.token_urlsafe(16)
        self.admin_password = secrets.token_urlsafe(16)
        passwords = {user: secrets.token_urlsafe(12) for user in users.USERS}
        spare = f"{users.SPARE}:{{PLAIN}}{secrets.token_urlsafe(12)}\n"
        self.apply(
            secret("dovecot-ca", {"ca.crt": authority.pair.certificate.decode()}, use="ca"),
            secret("dovecot-tls", {"tls.crt": dovecot.certificate.decode(), "tls.key": dovecot.key.decode()}),
            secret("mail-master", {"password": master}, use="master-password"),
            secret("admin", {"login": ADMIN, "password": self.admin_password}, use="admin"),
            secret("webhook", {"secret": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()}, use="webhook"),
            secret(
                "dovecot-accounts",
                {
                    "users": "".join(f"{user.login}:{{PLAIN}}{password}\n" for user, password in passwords.items())
                    + spare,
                    "master-users": f"mailpush:{{PLAIN}}{master}\n",
                },
            ),
            *(
                secret(f"password-{user.user_id}", {"password": password}, use="user-password", user=user.name)
                for user, password in passwords.items()
                if user.own_password
            ),
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "site"},
                "data": {name: (HERE / name).read_text() for name in ("dovecot.conf", "receiver.py")},
            },
        )
        self.kubectl("apply", "-f", "-", input=(HERE / "site.yaml").read_text().replace("@TESTBED@", testbed))

    def install(self, image: str, *more: str, release: str = "mail-push") -> None:
        """Helm install with examples/values.yaml and an overlay of image and place only."""
        run.quiet(
            binaries.path("helm4"),
            "upgrade",
            "--install",
            release,
            ROOT / "charts" / "mail-push",
            "--namespace",
            NAMESPACE,
            "--values",
            ROOT / "examples" / "values.yaml",
            "--values",
            "-",
            "--wait",
            "--timeout",
            f"{PATIENCE:.0f}s",
            *more,
            input=yaml.safe_dump(overlay(image)),
            env=self.environment,
        )

    def second_config(self) -> None:
        self.kubectl("apply", "--validate=strict", "-f", str(HERE / "second.yaml"))

    def register(self) -> None:
        self.kubectl("apply", "--validate=strict", "-f", "-", input=users.manifests_of(users.USERS))

    def pushusers(self, pod: str, *args: str) -> str:
        """What the command prints in a pod (or `deployment/...`); the password goes by standard input."""
        command = (PUSHUSERS, *args, "-A", ADMIN, "--adminpass-file", "-")
        return self.kubectl("exec", "-i", pod, "--", *command, input=self.admin_password)

    def explain(self, context_id: int, user_id: int) -> tuple[int, str]:
        """Exit code and text of `kubectl mailpush explain`."""
        command = Path(sys.executable).with_name("kubectl-mailpush")
        arguments = ("explain", "-n", NAMESPACE, str(context_id), str(user_id))
        done = run.quiet(command, *arguments, check=False, env=self.environment)
        return done.returncode, done.stdout + done.stderr

    def change(self, spec: dict[str, Any], config: str = "main") -> None:
        """Changes fields of a MailPushConfig."""
        self.kubectl("patch", "mailpushconfig", config, "--type=merge", "-p", json.dumps({"spec": spec}))

    def ready(self, deployment: str) -> None:
        self.kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={PATIENCE:.0f}s")

    def address(self, service: str) -> str:
        """The Service's ClusterIP: the machine reaches it by way of a node."""
        address: str = self.get("service", service)["spec"]["clusterIP"]
        return address

    def push_users(self) -> dict[str, dict[str, Any]]:
        return {item["metadata"]["name"]: item for item in self.get("pushusers")["items"]}

    def listener_pods(self) -> dict[str, dict[str, Any]]:
        found = self.get("pods", "-l", "app.kubernetes.io/component=listener")["items"]
        return {item["metadata"]["name"]: item for item in found}

    def lives(self) -> dict[str, tuple[str, int]]:
        """UID and restarts of each listener pod."""
        return {
            name: (
                pod["metadata"]["uid"],
                sum(one["restartCount"] for one in pod["status"].get("containerStatuses", ())),
            )
            for name, pod in self.listener_pods().items()
        }

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to reach the cluster."""
        return {"KUBECONFIG": str(self.kubeconfig)}


def overlay(image: str) -> dict[str, Any]:
    """The chart's values for the image `registry/repository:tag`, and for the operator's place."""
    repository, tag = image.rsplit(":", 1)
    registry, repository = repository.split("/", 1)
    return {
        "image": {"registry": registry, "repository": repository, "tag": tag, "pullPolicy": "Never"},
        "nodeSelector": {"kubernetes.io/hostname": "node1"},
    }


def secret(name: str, data: dict[str, str], use: str = "", user: str = "") -> dict[str, Any]:
    """With the label that lets Mail Push use it for `use`, and the PushUser whose password it holds."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "labels": {"mailpush.dev/use": use} if use else {},
            "annotations": {"mailpush.dev/push-users": user} if user else {},
        },
        "stringData": data,
    }


def listening(user: dict[str, Any]) -> bool:
    conditions = user.get("status", {}).get("conditions", [])
    return any(c["type"] == "Listening" and c["status"] == "True" for c in conditions)


def pod_of(user: dict[str, Any]) -> str | None:
    """The pod that listens for a PushUser, or did."""
    pod: str | None = user.get("status", {}).get("pod")
    return pod


def as_expected(found: dict[str, dict[str, Any]]) -> bool:
    """Whether just those are listened for who should be, and the others say why not."""
    return all(
        listening(found[user.name]) is user.listens
        and (user.listens or found[user.name].get("status", {}).get("reason") == user.reason)
        for user in users.USERS
    )


def wait_for(what: str, condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Seconds that it took. A condition whose command fails is looked at again: a busy API server may not answer once.

    Raises:
        DevError: it did not come true in time.
    """
    start = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - start
            trouble = ""
        except CommandError as error:
            trouble = f"; {error}"
        if time.monotonic() - start > seconds:
            raise DevError(f"after {seconds:.0f} s still not: {what}{trouble}")
        time.sleep(0.2)


def settled(ask: Callable[[], Answer], good: Callable[[Answer], bool], seconds: float = 60) -> Answer:
    """The first good answer, or the last one after so many seconds: who asks says what is wrong with it.

    Raises:
        DevError: the command failed each time.
    """
    answers: list[Answer] = []

    def asked() -> bool:
        answers.append(ask())
        return good(answers[-1])

    try:
        wait_for("an answer", asked, seconds)
    except DevError:
        if not answers:
            raise
    return answers[-1]

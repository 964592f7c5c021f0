"""Sets up the demo's mail site in the cluster: Secrets, Redis, Dovecot, the receiver, Mail Push itself, push users."""

import base64
import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar

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

KUBECTL_MAILPUSH = Path(sys.executable).with_name("kubectl-mailpush")

Store = Literal["redis", "mariadb"]
STORAGES: Final[dict[Store, dict[str, Any]]] = {
    "redis": {"rdb": False},
    "mariadb": {
        "rdb": True,
        "database": {
            "url": "mysql://mariadb:3306/mailpush",
            "username": "mailpush",
            "passwordSecretRef": {"name": "database", "key": "password"},
            "tls": "none",
        },
    },
}
"""What `credentialStorage` says of each store."""
INIT_SQL: Final = """\
CREATE DATABASE mailpush CHARACTER SET utf8mb4;
CREATE USER mailpush@'%' IDENTIFIED BY '{password}';
GRANT ALL ON mailpush.* TO mailpush@'%';
"""

Answer = TypeVar("Answer")


class Cluster(Protocol):
    """What the demo needs of a cluster."""

    @property
    def kubeconfig(self) -> Path: ...


class Site:
    """The namespace `mail` of a cluster. `store`: where the second installation keeps its users' passwords."""

    def __init__(self, cluster: Cluster, store: Store = "redis") -> None:
        self.kubeconfig = cluster.kubeconfig
        self.store = store

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> str:
        return run.quiet(
            binaries.path("kubectl"), "-n", NAMESPACE, *args, input=input, check=check, env=self.environment
        ).stdout

    def get(self, kind: str, *args: str) -> Any:
        return json.loads(self.kubectl("get", kind, "-o", "json", *args))

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(objects))

    @property
    def servers(self) -> tuple[str, ...]:
        """The Deployments of the mail site."""
        return ("redis", "webhook-receiver", "dovecot", *(("mariadb",) if self.store == "mariadb" else ()))

    def prepare(self, testbed: str) -> None:
        """Namespace, Secrets, the stores, the receiver and Dovecot (which starts once the operator made its Secret)."""
        self.kubectl("create", "namespace", NAMESPACE)
        authority = Authority.new("Demo CA")
        dovecot = authority.issue("dovecot", names=("dovecot", f"dovecot.{NAMESPACE}", f"dovecot.{NAMESPACE}.svc"))
        master = secrets.token_urlsafe(16)
        self.admin_password = secrets.token_urlsafe(16)
        self.passwords = passwords = {user: secrets.token_urlsafe(12) for user in users.USERS}
        database = secrets.token_urlsafe(16)
        spare = f"{users.SPARE}:{{PLAIN}}{secrets.token_urlsafe(12)}\n"
        self.apply(
            secret("dovecot-ca", {"ca.crt": authority.pair.certificate.decode()}, use="ca"),
            secret("dovecot-tls", {"tls.crt": dovecot.certificate.decode(), "tls.key": dovecot.key.decode()}),
            secret("mail-master", {"password": master}, use="master-password"),
            secret("passcrypt", {"passcrypt": secrets.token_urlsafe(24)}, use="passcrypt"),
            secret("database", {"password": database}, use="database"),
            secret("mariadb-init", {"init.sql": INIT_SQL.format(password=database)}),
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
        files = ("site.yaml", *(("mariadb.yaml",) if self.store == "mariadb" else ()))
        manifests = "---\n".join((HERE / name).read_text() for name in files)
        self.kubectl("apply", "-f", "-", input=manifests.replace("@TESTBED@", testbed))

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
        config = yaml.safe_load((HERE / "second.yaml").read_text())
        config["spec"]["credentialStorage"] |= STORAGES[self.store]
        self.kubectl("apply", "--validate=strict", "-f", "-", input=yaml.safe_dump(config))

    def register(self) -> None:
        """The push users, and the passwords of those whose password is stored."""
        self.kubectl("apply", "--validate=strict", "-f", "-", input=users.manifests_of(users.USERS))
        self.put_credentials()

    def put_credentials(self) -> None:
        """As a login hook would, once a listener pod of theirs takes them."""
        for user in users.STORED:
            who = (str(user.context_id), str(user.user_id), "--config", user.config, "-n", NAMESPACE)

            def put(who: tuple[str, ...] = who, password: str = self.passwords[user]) -> bool:
                run.quiet(KUBECTL_MAILPUSH, "credentials", "put", *who, input=password, env=self.environment)
                return True

            wait_for(f"the password of {user.name} is put", put)

    def pushusers(self, pod: str, *args: str) -> str:
        """What the command prints in a pod (or `deployment/...`); the password goes by standard input."""
        command = (PUSHUSERS, *args, "-A", ADMIN, "--adminpass-file", "-")
        return self.kubectl("exec", "-i", pod, "--", *command, input=self.admin_password)

    def explain(self, context_id: int, user_id: int) -> tuple[int, str]:
        """Exit code and text of `kubectl mailpush explain`."""
        arguments = ("explain", "-n", NAMESPACE, str(context_id), str(user_id))
        done = run.quiet(KUBECTL_MAILPUSH, *arguments, check=False, env=self.environment)
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
        """What a command needs to reach the cluster: kubectl's plugin runs kubectl itself."""
        path = f"{binaries.path('kubectl').parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {"KUBECONFIG": str(self.kubeconfig), "PATH": path}


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


def wrong_sources(found: dict[str, dict[str, Any]]) -> list[str]:
    """Which users who are listened for have credentials of another source than expected, in words."""
    said = {user: found[user.name].get("status", {}).get("credentials", {}).get("source") for user in users.LISTENING}
    return [
        f"the credentials of {user.name} come from {source}, not from {user.source}"
        for user, source in said.items()
        if source != user.source
    ]


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

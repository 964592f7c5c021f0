"""A whole mail site on the control plane, with every process real; only the kubelet is this file.

The operator and the listeners run as they do in pods: started from the pod template that the operator wrote, with the
ServiceAccounts and the rights of the chart. Each pod has a loopback address of its own, and another leads to it as its
DNS name would.
"""

import base64
import json
import os
import random
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from dev.processes import run
from dev.processes.errors import DevError
from dev.processes.group import Group, alive
from dev.programs import binaries
from dev.services import Dovecot, Redis, WebhookReceiver
from dev.services.oauth import OAuth
from dev.services.releases import Version
from mailpush import names
from mailpush.sharding.shardmap import PodRef
from tests.cluster.conftest import ROOT
from tests.sites.forward import Forward
from tests.sites.namespace import Namespace, wait_for
from tests.sites.spread import even, spread

CLIENT = "open-xchange-mobile-api-facade"
CALLBACK_LOGIN, CALLBACK_PASSWORD = "dovecot", "callback-password"
MAIL_PUSH = Path(sys.executable).parent / "mail-push"
PATIENCE = 120.0
"""Seconds after which a wait is in vain: a busy machine is slow to start half a dozen programs."""


@dataclass
class PodProcess:
    """One listener process with a pod's identity."""

    name: str
    uid: str
    process: str
    pid: int


SAME = ("callback", "ca", "webhook", "admin", "redis", "passcrypt", "database", "oauth")
USES = {"doveadm": "doveadm", "master": "master-password", **{name: name for name in SAME}}


class MailSite:
    """The MailPushConfig `main` with Dovecot, Redis and a webhook receiver."""

    def __init__(
        self,
        namespace: Namespace,
        *,
        replicas: int = 3,
        dovecot: Version = "2.3",
        failure_delay: float = 0,
        redis_password: str | None = None,
        oauth: OAuth | None = None,
        sessions: int = 1,
    ) -> None:
        self.namespace = namespace
        self.replicas = replicas
        self.spec: dict[str, Any] = {}
        """Further fields of the MailPushConfig, set before `install`."""
        self.values: dict[str, Any] = {}
        """Further values of the chart."""
        self.operator_environment: dict[str, str] = {}
        self.group = Group("mail-push-site")
        self.network = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}"
        self.pods: dict[str, PodProcess] = {}
        self.outages: list[tuple[datetime, datetime]] = []
        """From when to when there was no API server that knows all its rules."""
        self._starts = 0
        self._forwards: dict[tuple[int, int], Forward] = {}
        self.receiver = WebhookReceiver.start()
        self.redis = Redis.launch(password=redis_password)
        self.dovecot = Dovecot.launch(
            [self.callback_url(0)], version=dovecot, failure_delay=failure_delay, oauth=oauth, sessions=sessions
        )

    # -- places

    def address(self, ordinal: int) -> str:
        """The loopback address that stands for a pod's DNS name: it leads to the last pod of that ordinal."""
        return f"{self.network}.1{ordinal}"

    def callback_url(self, ordinal: int) -> str:
        """What Dovecot is told, in place of the callback Service: always the same pod, whoever owns the user."""
        login = f"{CALLBACK_LOGIN}:{CALLBACK_PASSWORD}"
        return f"http://{login}@{self.address(ordinal)}:{names.CALLBACK_PORT}{names.CALLBACK_PATH}"

    # -- the operator

    def install(self) -> None:
        """The chart's objects by Helm (its Jobs never run without a kubelet), then the operator as a process."""
        values = {
            "crds": {"install": False},
            "fullnameOverride": f"mp-{self.namespace.name}",
            "image": {"registry": "docker.io", "repository": "mail-push/mail-push", "tag": "test"},
            **self.values,
        }
        run.quiet(
            binaries.path("helm4"),
            *("install", "mail-push", ROOT / "charts" / "mail-push"),
            *("--namespace", self.namespace.name, "--no-hooks", "--values", "-"),
            input=yaml.safe_dump(values),
            env={"KUBECONFIG": str(self.namespace.plane.kubeconfig)},
        )
        self.secret("callback", login=CALLBACK_LOGIN, password=CALLBACK_PASSWORD)
        self.secret("master", password=self.dovecot.master_password)
        self.secret("ca", **{"ca.crt": self.dovecot.ca_file.read_text()})
        self.secret("webhook", secret="whsec_" + base64.b64encode(b"k" * 32).decode())
        self.start_operator()
        self.namespace.apply(json.dumps(self.manifest()))

    def start_operator(self) -> None:
        """Starts it as the Deployment's container, with the ServiceAccount's own token."""
        deployment = self.namespace.list("deployments")[0]
        spec = deployment["spec"]["template"]["spec"]
        environment = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"] if "value" in entry}
        token = self.namespace.plane.kubeconfig_for_service_account(self.namespace.name, spec["serviceAccountName"])
        self._starts += 1
        self.operator = f"operator-{self._starts}"
        self._operator_pid = self.group.start(
            self.operator,
            MAIL_PUSH,
            "operator",
            env={
                **environment,
                "POD_NAME": self.operator,
                "POD_NAMESPACE": self.namespace.name,
                "MAILPUSH_LISTEN": "127.0.0.1",
                "MAILPUSH_HEALTH_PORT": "0",
                "KUBECONFIG": str(token),
                **self.operator_environment,
            },
        )

    def kill_operator(self) -> None:
        self.group.stop(self.operator, grace=0)

    def operator_runs(self) -> bool:
        return alive(self._operator_pid)

    def wait_leading(self) -> None:
        """Until the operator that was started last leads."""
        self.wait_for(f"{self.operator} leads", lambda: self.operator in json.dumps(self.namespace.list("leases")))

    @contextmanager
    def without_api(self) -> Iterator[None]:
        """The API server is away for as long as the block runs, and after it ready again."""
        plane, since = self.namespace.plane, datetime.now(UTC)
        plane.stop_apiserver()
        try:
            yield
        finally:
            plane.start_apiserver()
            # One that has just started refuses what it has not read the roles of; the log of that comes a little later.
            self.outages.append((since, datetime.now(UTC) + timedelta(seconds=10)))

    def in_outage(self, line: str) -> bool:
        """Whether a line of a log was written while there was no API server to count on."""
        at = datetime.fromisoformat(json.loads(line)["timestamp"]) if line.startswith("{") else None
        return at is not None and any(start <= at <= end for start, end in self.outages)

    def manifest(self) -> dict[str, Any]:
        return {
            "apiVersion": names.API_VERSION,
            "kind": "MailPushConfig",
            "metadata": {"name": "main"},
            "spec": {
                "allowedClients": [f"{CLIENT}*"],
                "packages": {"status": {"open-xchange-push-dovecot": "enabled"}},
                "mailAccess": {
                    "passwordSource": "global",
                    "masterPasswordSecretRef": {"name": "master", "key": "password"},
                    "masterUser": {"name": self.dovecot.master_user},
                    "servers": [
                        {
                            "name": "default",
                            "host": self.dovecot.host,
                            "port": self.dovecot.imap_port,
                            "security": "starttls",
                            "caSecretRef": {"name": "ca", "key": "ca.crt"},
                        }
                    ],
                },
                "callback": {"authSecretRef": {"name": "callback"}},
                "redis": {"url": self.redis.url},
                "transports": {
                    "webhooks": [
                        {
                            "name": "devices",
                            "url": self.receiver.url,
                            "secretRef": {"name": "webhook", "key": "secret"},
                            "timeoutMilliseconds": 5000,
                        }
                    ]
                },
                "listeners": {"replicas": self.replicas},
                **self.spec,
            },
        }

    def secret(self, name: str, **data: str) -> None:
        self.namespace.apply(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {
                        "name": name,
                        "labels": {names.USE_LABEL: USES.get(name, names.USER_PASSWORD)},
                        "annotations": {names.PUSH_USERS_ANNOTATION: names.push_user_name("main", 1, 3)},
                    },
                    "stringData": data,
                }
            )
        )

    # -- pods, with this file for a kubelet

    def start_pods(self) -> None:
        self.wait_for("the StatefulSet's pods", lambda: len(self._pod_objects()) == self.replicas)
        for name in sorted(self._pod_objects()):
            self.start_pod(name)

    def start_pod(self, name: str) -> PodProcess:
        """Starts the container of the Pod object that has this name now."""
        pod = self._pod_objects()[name]
        uid, spec = pod["metadata"]["uid"], pod["spec"]
        self._starts += 1
        process = f"{name}-{self._starts}"
        folder = self.group.folder / f"{name}-{uid}"
        container = spec["containers"][0]
        directories = {
            mount["mountPath"]: self._volume(folder, mount["name"], spec["volumes"])
            for mount in container["volumeMounts"]
        }
        fields = {"metadata.name": name, "metadata.uid": uid, "metadata.namespace": self.namespace.name}
        environment = {
            entry["name"]: entry["value"] if "value" in entry else fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
            for entry in container.get("env", [])
            if "value" in entry or entry["valueFrom"].get("fieldRef", {}).get("fieldPath") in fields
        }
        address = f"{self.network}.{100 + self._starts}"
        self._lead(int(name.rsplit("-", 1)[1]), address)
        token = self.namespace.plane.kubeconfig_for_service_account(
            self.namespace.name, spec["serviceAccountName"], pod=name
        )
        own_token = token.with_name(f"{process}.conf")
        shutil.copy(token, own_token)
        pid = self.group.start(
            process,
            MAIL_PUSH,
            "listener",
            env={
                **environment,
                "MAILPUSH_PROPERTIES_DIR": str(directories[names.PROPERTIES_DIRECTORY]),
                "MAILPUSH_INTERNAL_DIR": str(directories[names.INTERNAL_KEY_DIRECTORY]),
                "MAILPUSH_JOURNAL_DIR": str(directories[names.JOURNAL_DIRECTORY]),
                "MAILPUSH_LISTEN": address,
                "MAILPUSH_PEER_URL": f"http://{self.network}.1{{ordinal}}:{names.INTERNAL_PORT}",
                "KUBECONFIG": str(own_token),
            },
        )
        self.pods[name] = PodProcess(name, uid, process, pid)
        return self.pods[name]

    def _lead(self, ordinal: int, address: str) -> None:
        for port in (names.CALLBACK_PORT, names.INTERNAL_PORT):
            if (ordinal, port) not in self._forwards:
                self._forwards[ordinal, port] = Forward(self.address(ordinal), port, (address, port))
            self._forwards[ordinal, port].target = (address, port)

    def signal(self, name: str, which: signal.Signals) -> None:
        os.kill(self.pods[name].pid, which)

    def runs(self, process: PodProcess) -> bool:
        return alive(process.pid)

    def log(self, name: str) -> str:
        return self.group.read_log(self.pods[name].process)

    def _pod_objects(self) -> dict[str, Any]:
        selector = ",".join(f"{key}={value}" for key, value in names.listener_selector("main").items())
        return {pod["metadata"]["name"]: pod for pod in self.namespace.list("pods", selector)}

    def _volume(self, folder: Path, name: str, volumes: list[dict[str, Any]]) -> Path:
        """What a kubelet would mount: files of ConfigMaps and Secrets, or an empty folder."""
        directory = folder / name
        directory.mkdir(parents=True, exist_ok=True)
        volume = next(volume for volume in volumes if volume["name"] == name)
        for source in volume.get("projected", {}).get("sources", []) or [volume]:
            if "configMap" in source:
                found = self._mounted("configmap", source["configMap"]["name"])
                for key, text in found["data"].items():
                    (directory / key).write_text(text)
            elif "secret" in source:
                found = self._mounted("secret", source["secret"].get("name") or source["secret"]["secretName"])
                for key, text in found["data"].items():
                    (directory / key).write_bytes(base64.b64decode(text))
        return directory

    def _mounted(self, kind: str, name: str) -> dict[str, Any]:
        """A kubelet waits for what it is to mount: others make it, and a new namespace's CA comes when it comes."""
        found: dict[str, Any] = self.wait_for(f"{kind} {name}", lambda: self.namespace.get(kind, name))
        return found

    # -- users and mail

    def register(self, *user_ids: int, clients: tuple[str, ...] = (CLIENT,), **spec: Any) -> None:
        self.namespace.apply(
            *(
                json.dumps(
                    {
                        "apiVersion": names.API_VERSION,
                        "kind": "PushUser",
                        "metadata": {"name": names.push_user_name("main", 1, number)},
                        "spec": {
                            "configRef": {"name": "main"},
                            "contextId": 1,
                            "userId": number,
                            "clients": list(clients),
                            "login": f"u{number}",
                            **spec,
                        },
                    }
                )
                for number in user_ids
            )
        )

    def users(self) -> dict[int, dict[str, Any]]:
        """Statuses of the push users by user id."""
        return {item["spec"]["userId"]: item.get("status", {}) for item in self.namespace.list("pushusers")}

    def wait_listening(self, *user_ids: int, without: frozenset[str] = frozenset(), seconds: float = PATIENCE) -> None:
        """Until pods other than `without` listen for all of these users."""

        def all_listen() -> bool:
            found = self.users()
            return all(
                condition(found[number], "Listening") == "True" and found[number].get("pod") not in without
                for number in user_ids
            )

        self.wait_for(f"users {user_ids} are listened for", all_listen, seconds)

    def wait_spread(self, *user_ids: int) -> dict[str, list[int]]:
        """Until these users are spread evenly over all pods and nothing is on its way; the users by pod.

        A registration alone moves nobody for a minute, so it may take that long where nobody has waited for it yet.
        """

        pods = [PodRef(pod.name, pod.uid) for pod in self.pods.values()]

        def settled() -> dict[str, list[int]]:
            by_pod = spread(self.namespace, pods, user_ids)
            return by_pod if even(by_pod) else {}

        by_pod: dict[str, list[int]] = self.wait_for(f"users {user_ids} are spread evenly", settled, 60 + PATIENCE)
        return by_pod

    def wait_for(self, what: str, found: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """As wait_for, and where it is in vain the error holds all that is to be seen of the site."""
        try:
            return wait_for(what, found, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._state()}\ntold: {self.told()}\n{self.logs()}") from None

    def _state(self) -> str:
        try:
            shard_map = self.namespace.get("shardmap", "main") or {}
            return f"{self.users()}\nmap: {json.dumps(shard_map.get('status', {}), indent=1)}"
        except DevError as error:
            return f"no API: {error}"

    def told(self) -> list[tuple[str, str]]:
        """Subject and webhook-id of each notification so far, in the order of arrival."""
        return [
            (json.loads(one.body)["data"].get("subject", ""), one.headers["webhook-id"])
            for one in self.receiver.received
        ]

    def wait_told(self, *subjects: str, seconds: float = PATIENCE) -> None:
        self.wait_for(f"{subjects} are told", lambda: set(subjects) <= {told for told, _ in self.told()}, seconds)

    def told_once(self, subjects: list[str], seconds: float = PATIENCE) -> None:
        """Waits until the webhook has heard of each subject, and finds none that it has heard of twice."""
        self.wait_told(*subjects, seconds=seconds)
        counts = Counter(subject for subject, _ in self.told())
        assert {subject: counts[subject] for subject in subjects} == dict.fromkeys(subjects, 1)

    def logs(self) -> str:
        """The ends of all logs, for a failed test."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.group.folder.glob("*.log"))
        )

    def raw_callback(self, body: bytes, *, authorization: str | None, ordinal: int = 0) -> int:
        """The HTTP status that a callback gets."""
        head = [
            f"PUT {names.CALLBACK_PATH} HTTP/1.1",
            "Host: callback",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        if authorization:
            head.append(f"Authorization: Basic {base64.b64encode(authorization.encode()).decode()}")
        with socket.create_connection((self.address(ordinal), names.CALLBACK_PORT), timeout=30) as connection:
            connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            return int(connection.recv(64).split()[1])

    def close(self) -> None:
        self.dovecot.close()
        self.group.close()
        for forward in self._forwards.values():
            forward.close()
        self.redis.close()
        self.receiver.close()


def condition(status: dict[str, Any], kind: str) -> str | None:
    """The status of a condition, None where there is none."""
    return next((one["status"] for one in status.get("conditions", []) if one["type"] == kind), None)

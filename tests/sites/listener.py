"""Real listener processes on the control plane, with real Dovecot, Redis and receiver; the operator is this file.

It writes what the operator would: configuration, Pods, Leases and the ShardMap, so that a test can make any state.
"""

import json
import os
import random
import signal
import sys
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dev.processes.group import Group, alive
from dev.services import Dovecot, Redis, WebhookReceiver
from mailpush import names
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.properties import secrets
from mailpush.properties.render import RenderedConfig, render
from mailpush.sharding.leases import LeaseState, parse_lease
from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap
from mailpush.sharding.slots import SLOTS, slot_of
from tests.sites.namespace import Namespace, wait_for

CLIENT = "open-xchange-mobile-api-facade"
LOGIN, PASSWORD = "dovecot", "callback-password"
KEY = b"0123456789abcdef0123456789abcdef"
MAIL_PUSH = Path(sys.executable).parent / "mail-push"
CONFIG_UID = "7a4b1c9e-0000-4000-8000-000000000001"


class ListenerSite:
    """The MailPushConfig `main` without its operator."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.group = Group("mail-push-listeners")
        self.network = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}"
        self.receiver = WebhookReceiver.start()
        self.redis = Redis.launch()
        self.dovecot = Dovecot.launch([self.callback_url(0), self.callback_url(1)])
        self.secrets: dict[str, str] = {}
        """More of them, by the path of the field that names each."""
        self.map: ShardMap = ShardMap.empty()
        self.pods: dict[int, PodRef] = {}
        self.pids: dict[str, int] = {}
        self._starts = 0

    # -- places

    def address(self, ordinal: int) -> str:
        return f"{self.network}.1{ordinal}"

    def callback_url(self, ordinal: int) -> str:
        return f"http://{LOGIN}:{PASSWORD}@{self.address(ordinal)}:{names.CALLBACK_PORT}{names.CALLBACK_PATH}"

    def metric(self, ordinal: int, name: str) -> float:
        """The sum of the samples of a metric of one pod."""
        url = f"http://{self.address(ordinal)}:{names.HEALTH_PORT}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    # -- configuration

    def configure(self, **changes: Any) -> RenderedConfig:
        """Writes ConfigMap and Secret as the operator does, and gives what it wrote."""
        spec = MailPushConfigSpec.model_validate(self.spec() | changes)
        resolved = secrets.ResolvedSecrets(
            KEY,
            {
                secrets.MASTER_PASSWORD: self.dovecot.master_password,
                secrets.server_ca("default"): self.dovecot.ca_file.read_text(),
                secrets.CALLBACK_LOGIN: LOGIN,
                secrets.CALLBACK_PASSWORD: PASSWORD,
                secrets.webhook_secret("devices"): "whsec_" + "a2tr" * 8,
                **self.secrets,
            },
        )
        rendered = render(spec, resolved, "main")
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": names.secrets_name("main")},
            "stringData": dict(rendered.secret_files),
        }
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": names.properties_configmap_name("main"),
                "annotations": {
                    names.CONFIG_HASH_ANNOTATION: rendered.config_hash,
                    names.SECRETS_HASH_ANNOTATION: rendered.secrets_hash,
                },
            },
            "data": dict(rendered.files),
        }
        self.namespace.apply(json.dumps(secret), json.dumps(config_map))
        self.rendered = rendered
        return rendered

    def spec(self) -> dict[str, Any]:
        server = {
            "name": "default",
            "host": self.dovecot.host,
            "port": self.dovecot.imap_port,
            "security": "starttls",
            "caSecretRef": {"name": "ca", "key": "ca.crt"},
        }
        webhook = {
            "name": "devices",
            "url": self.receiver.url,
            "secretRef": {"name": "webhook", "key": "secret"},
            "timeoutMilliseconds": 5000,
        }
        return {
            "allowedClients": [f"{CLIENT}*"],
            "packages": {"status": {"open-xchange-push-dovecot": "enabled"}},
            "mailAccess": {
                "passwordSource": "global",
                "masterPasswordSecretRef": {"name": "master", "key": "password"},
                "masterUser": {"name": self.dovecot.master_user},
                "servers": [server],
            },
            "redis": {"url": self.redis.url},
            "transports": {"webhooks": [webhook]},
        }

    def secret(self, name: str, *, permitted: bool = True, **data: str) -> None:
        """A user's Secret."""
        kind = names.CREDENTIALS_SECRET_TYPE if permitted else "Opaque"
        metadata = {"name": name, "annotations": {names.PUSH_USERS_ANNOTATION: names.push_user_name("main", 1, 3)}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": data}
        self.namespace.apply(json.dumps(secret))

    # -- pods

    def pod(self, ordinal: int) -> PodRef:
        """Makes the Pod object, which stays Pending, and its Lease."""
        name = f"{names.statefulset_name('main')}-{ordinal}"
        container = {"name": "listener", "image": "docker.io/mail-push/mail-push:test"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": names.listener_labels("main")},
            "spec": {
                "containers": [container],
                "serviceAccountName": "listener",
                "automountServiceAccountToken": False,
            },
        }
        # An own one: the namespace's default comes late where the controller-manager has lost its API server lately.
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "listener"}}
        self.namespace.apply(json.dumps(account), json.dumps(pod))
        found = self.namespace.get("pod", name)
        assert found is not None
        self.pods[ordinal] = PodRef(name, found["metadata"]["uid"])
        if self.namespace.get("lease", name) is None:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "labels": names.listener_labels("main")},
                "spec": {"leaseDurationSeconds": 15},
            }
            self.namespace.apply(json.dumps(lease))
        return self.pods[ordinal]

    def start(self, ordinal: int, *, uid: str | None = None, address: str | None = None) -> str:
        """Starts a listener with the pod's identity, or with another UID; gives the process's name."""
        pod = self.pods[ordinal]
        uid = uid or pod.uid
        self._starts += 1
        process = f"{pod.name}-{self._starts}"
        folder = self.group.folder / uid
        for name, files in {
            "etc": self.rendered.directory,
            "internal": {names.INTERNAL_KEY_FILE: KEY.decode(), names.HASH_KEY_FILE: KEY.decode()},
            "journal": {},
        }.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                (folder / name / file).write_text(text)
        environment = {
            "MAILPUSH_CONFIG": "main",
            "MAILPUSH_CONFIG_UID": CONFIG_UID,
            "POD_NAME": pod.name,
            "POD_UID": uid,
            "POD_NAMESPACE": self.namespace.name,
            "MAILPUSH_PROPERTIES_DIR": str(folder / "etc"),
            "MAILPUSH_INTERNAL_DIR": str(folder / "internal"),
            "MAILPUSH_JOURNAL_DIR": str(folder / "journal"),
            "MAILPUSH_LISTEN": address or self.address(ordinal),
            "MAILPUSH_PEER_URL": f"http://{self.network}.1{{ordinal}}:{names.INTERNAL_PORT}",
            "KUBECONFIG": str(self.namespace.plane.kubeconfig),
        }
        self.pids[process] = self.group.start(process, MAIL_PUSH, "listener", env=environment)
        return process

    def signal(self, process: str, which: signal.Signals) -> None:
        assert alive(self.pids[process]), self.log(process)
        os.kill(self.pids[process], which)

    def exit_code(self, process: str, seconds: float = 120) -> int:
        """Waits for its end."""
        wait_for(f"{process} ends", lambda: not alive(self.pids[process]), seconds)
        code = self.group.stop(process)
        assert code is not None
        return code

    def log(self, process: str) -> str:
        return self.group.read_log(process)

    # -- what the operator writes

    def lease(self, ordinal: int) -> LeaseState:
        found = self.namespace.get("lease", self.pods[ordinal].name)
        assert found is not None
        return parse_lease(found)

    def holder(self, ordinal: int) -> str:
        found = self.namespace.get("lease", self.pods[ordinal].name) or {}
        return str(found.get("spec", {}).get("holderIdentity") or "")

    def fence(self, ordinal: int) -> None:
        """P9."""
        patch = {
            "metadata": {"annotations": {"mailpush.dev/floor": str(self.map.epoch + 1)}},
            "spec": {"holderIdentity": ""},
        }
        self.namespace.kubectl("patch", "lease", self.pods[ordinal].name, "--type=merge", "-p", json.dumps(patch))

    def assign(self, owner: dict[int, int] | int, moves: Iterable[Move] = ()) -> None:
        """Writes the next map: all slots to one pod, or those of users 1:n to the pods that `owner` names for them."""
        places = {ordinal: place for place, ordinal in enumerate(sorted(self.pods))}
        owners = [places[owner]] * SLOTS if isinstance(owner, int) else [NONE] * SLOTS
        if isinstance(owner, dict):
            for user, ordinal in owner.items():
                owners[slot_of(1, user)] = places[ordinal]
        pods = tuple(self.pods[ordinal] for ordinal in sorted(self.pods))
        self.map = ShardMap(self.map.epoch + 1, False, pods, tuple(owners), tuple(moves))
        shard_map = {
            "apiVersion": names.API_VERSION,
            "kind": "ShardMap",
            "metadata": {"name": "main"},
            "spec": self.map.to_spec(),
        }
        self.namespace.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(shard_map))

    def register(self, *user_ids: int, clients: tuple[str, ...] = (CLIENT,), **spec: Any) -> None:
        self.namespace.apply(*(json.dumps(self.push_user(number, clients, **spec)) for number in user_ids))

    @staticmethod
    def push_user(number: int, clients: tuple[str, ...], **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": names.API_VERSION,
            "kind": "PushUser",
            "metadata": {
                "name": names.push_user_name("main", 1, number),
                "labels": {names.CONFIG_LABEL: "main", names.SLOT_LABEL: str(slot_of(1, number))},
            },
            "spec": {
                "configRef": {"name": "main"},
                "contextId": 1,
                "userId": number,
                "clients": list(clients),
                "login": f"u{number}",
                **spec,
            },
        }

    # -- what is to be seen

    def status(self, number: int) -> dict[str, Any]:
        found = self.namespace.get("pushuser", names.push_user_name("main", 1, number)) or {}
        status: dict[str, Any] = found.get("status", {})
        return status

    def wait_status(self, number: int, seconds: float = 120, **wanted: Any) -> None:
        def fits() -> bool:
            status = self.status(number)
            return all(status.get(name) == value for name, value in wanted.items())

        try:
            wait_for(f"user {number} says {wanted}", fits, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status(number)}\n{self.logs()}") from None

    def told(self) -> list[str]:
        """Subjects of all notifications, in the order of their arrival."""
        return [json.loads(one.body)["data"].get("subject", "") for one in self.receiver.received]

    def wait_told(self, *subjects: str, seconds: float = 120) -> None:
        try:
            wait_for(f"{subjects} are told", lambda: set(subjects) <= set(self.told()), seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\ntold: {self.told()}\n{self.logs()}") from None

    def told_in_all(self, *subjects: str, pods: tuple[int, ...]) -> None:
        """Waits until each is told and `pods`, which are all that run, have nothing left to do; finds no other told."""
        assert self._told_when_calm(subjects, pods) == list(subjects), self.logs()

    def told_in_any_order(self, *subjects: str, pods: tuple[int, ...]) -> None:
        """As `told_in_all`."""
        assert sorted(self._told_when_calm(subjects, pods)) == sorted(subjects), self.logs()

    def _told_when_calm(self, subjects: tuple[str, ...], pods: tuple[int, ...]) -> list[str]:
        def calm(pod: int) -> bool:
            return self.metric(pod, "mailpush_handover_pending") + self.metric(pod, "mailpush_notifications_open") == 0

        self.wait_told(*subjects)
        # A delivery returns when all pods have the mail. Twice, since a pod may have handed over to one seen before it,
        # and the count of open notifications follows a turn of the loop later.
        wait_for("nothing is left to do", lambda: all(calm(pod) for _ in range(2) for pod in pods))
        return self.told()

    def logs(self) -> str:
        return "\n".join(
            f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.group.folder.glob("*.log"))
        )

    def close(self) -> None:
        self.dovecot.close()
        self.group.close()
        self.redis.close()
        self.receiver.close()

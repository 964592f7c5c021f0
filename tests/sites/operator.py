"""The operator as a real process on the real control plane, with pods that only keep their Leases.

There is no kubelet, so the StatefulSet's Pod objects stay Pending; `Pods` renews their Leases and acks the ShardMap as
a listener does (protocol P3 to P7), without any listener.
"""

import asyncio
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev.cluster.controlplane import ControlPlane
from dev.processes.group import Group
from mailpush import names
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.sharding.leases import Holder, lease_annotations, parse_lease
from mailpush.sharding.ownership import Ownership
from mailpush.sharding.shardmap import PodRef, ShardMap, ShardMapError
from tests.sites.namespace import Namespace, wait_for

MAIL_PUSH = Path(sys.executable).parent / "mail-push"
IMAGE = "docker.io/mail-push/mail-push:test"
CLIENT = "open-xchange-mobile-api-facade"


class Pods:
    """Keeps the Leases of the Pod objects that exist, four times a second, until told to leave a pod alone."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._stop = threading.Event()
        self.silent: set[str] = set()
        """These do not renew."""
        self.deaf: set[str] = set()
        """These renew, but do not look at the ShardMap, so they release nothing."""
        self.config_hash = "simulated"
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    async def _run(self) -> None:
        async with await Kube.connect(self._namespace.plane.kubeconfig) as kube:
            owned: dict[str, Ownership] = {}
            while not self._stop.is_set():
                try:
                    await self._round(kube, owned)
                except (KubeError, ShardMapError):
                    pass  # a broken map is followed by nobody
                await asyncio.sleep(0.25)

    async def _round(self, kube: Kube, owned: dict[str, Ownership]) -> None:
        selector = f"{names.CONFIG_LABEL}=main"
        pods, _ = await kube.list(resources.POD, self._namespace.name, label_selector=selector)
        maps, _ = await kube.list(resources.SHARD_MAP, self._namespace.name)
        leases, _ = await kube.list(resources.LEASE, self._namespace.name, label_selector=selector)
        by_name = {lease["metadata"]["name"]: lease for lease in leases}
        for pod in pods:
            ref = PodRef(pod["metadata"]["name"], pod["metadata"]["uid"])
            if ref.name not in by_name or ref.name in self.silent:
                continue
            try:
                await self._keep(kube, ref, maps, by_name, owned)
            except KubeError:
                continue  # another wrote: look again in the next round

    async def _keep(
        self,
        kube: Kube,
        ref: PodRef,
        maps: list[dict[str, Any]],
        by_name: dict[str, dict[str, Any]],
        owned: dict[str, Ownership],
    ) -> None:
        lease = by_name[ref.name]
        state = parse_lease(lease)
        if not state.held_by(ref.uid):
            owned[ref.uid] = Ownership(ref, state)
            state = state.taken_by(Holder(ref.name, ref.uid, "simulated"))
        ownership = owned.setdefault(ref.uid, Ownership(ref, state))
        for found in maps if ref.name not in self.deaf else ():
            ownership.observe_map(found["metadata"]["uid"], ShardMap.from_spec(found["spec"]))
        for giver in ownership.givers():
            ownership.observe_lease(giver, parse_lease(by_name[giver]) if giver in by_name else None)
        ownership.stopped(ownership.to_stop())
        ownership.started(ownership.to_start())
        state = state.with_ack(ownership.ack())
        annotations = lease_annotations(state) | {
            "mailpush.dev/capable": "true",
            "mailpush.dev/config-hash": self.config_hash,
            "mailpush.dev/reason": "",
            "mailpush.dev/counts": '{"listening": 1}',
        }
        renewed = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        spec = {"leaseDurationSeconds": 15, "holderIdentity": str(state.holder), "renewTime": renewed}
        metadata = {**lease["metadata"], "annotations": (lease["metadata"].get("annotations") or {}) | annotations}
        await kube.replace(
            resources.LEASE,
            self._namespace.name,
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec},
        )


class OperatorSite:
    """One namespace with an operator and, after `start_pods`, with pods."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.group = Group("mail-push-operators")
        self._starts = 0
        self.pids: dict[str, int] = {}
        self.pods: Pods | None = None
        self.operator = ""

    def start(self, **environment: str) -> str:
        """Starts an operator and gives the process's name."""
        self._starts += 1
        process = f"operator-{self._starts}"
        self.pids[process] = self.group.start(
            process,
            MAIL_PUSH,
            "operator",
            env={
                "POD_NAME": process,
                "POD_NAMESPACE": self.namespace.name,
                "MAILPUSH_IMAGE": IMAGE,
                "MAILPUSH_LISTEN": "127.0.0.1",
                "MAILPUSH_HEALTH_PORT": "0",
                "KUBECONFIG": str(self.namespace.plane.kubeconfig),
                **environment,
            },
        )
        return process

    def start_pods(self) -> Pods:
        self.pods = Pods(self.namespace)
        return self.pods

    def kill(self, process: str) -> None:
        """As kill -9."""
        self.group.stop(process, grace=0)

    def stop(self, process: str) -> int | None:
        """As a kubelet stops a pod; the exit code."""
        return self.group.stop(process, grace=30)

    def log(self, process: str) -> list[dict[str, Any]]:
        """Its log, one dictionary a line."""
        lines = self.group.read_log(process).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, process: str, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log(process) if line.get("event") == event]

    def health(self, process: str, path: str) -> int:
        """The status of a GET at the health port."""
        port = self.logged(process, "health_serves")[-1]["port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def secret(self, name: str, *, permitted: bool = True, **data: str) -> None:
        labels = {names.USE_LABEL: "master-password.redis" if permitted else "callback"}
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}}
        self.namespace.apply(json.dumps({**manifest, "stringData": data}))

    def config(self, name: str = "main", **spec: Any) -> None:
        """A MailPushConfig that is valid unless told otherwise."""
        whole: dict[str, Any] = {
            "packages": {"status": {"open-xchange-push-dovecot": "enabled"}},
            "mailAccess": {
                "passwordSource": "global",
                "masterPasswordSecretRef": {"name": "master", "key": "password"},
                "servers": [{"host": "dovecot"}],
            },
            "listeners": {"replicas": 2},
            **spec,
        }
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": "MailPushConfig",
            "metadata": {"name": name},
            "spec": {key: value for key, value in whole.items() if value is not None},
        }
        self.namespace.apply(json.dumps(manifest))

    def register(self, *user_ids: int, config: str = "main", **spec: Any) -> None:
        self.namespace.apply(*(json.dumps(self.push_user(number, config, **spec)) for number in user_ids))

    @staticmethod
    def push_user(number: int, config: str = "main", **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": names.API_VERSION,
            "kind": "PushUser",
            "metadata": {"name": names.push_user_name(config, 1, number)},
            "spec": {
                "configRef": {"name": config},
                "contextId": 1,
                "userId": number,
                "clients": [CLIENT],
                "login": f"u{number}",
                **spec,
            },
        }

    def listener_says(self, number: int, status: str, reason: str) -> None:
        """As the owning pod writes it."""
        condition = {
            "type": "Listening",
            "status": status,
            "reason": reason,
            "message": "as the pod says",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        body = {
            "apiVersion": names.API_VERSION,
            "kind": "PushUser",
            "metadata": {"name": f"main-1-{number}"},
            "status": {"conditions": [condition], "mechanism": "dovecot", "pod": "mail-push-main-0"},
        }
        manager = ("--server-side", "--force-conflicts", f"--field-manager={names.LISTENER_MANAGER}")
        self.namespace.kubectl("apply", *manager, "--subresource=status", "-f", "-", input=json.dumps(body))

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """A condition of an object, empty where it has none."""
        found = self.namespace.get(kind, name) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == type_), {})

    def wait_condition(self, kind: str, name: str, type_: str, **wanted: str) -> dict[str, Any]:
        """Waits until the condition says what is wanted."""
        last: dict[str, Any] = {}

        def fits() -> bool:
            last.clear()
            last.update(self.condition(kind, name, type_))
            return all(last.get(key) == value for key, value in wanted.items())

        try:
            wait_for(f"{kind} {name}: {type_} {wanted}", fits)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {last}") from None
        return last

    def epoch(self) -> int:
        found = self.namespace.get("shardmap", "main")
        return 0 if found is None else int(found["spec"]["epoch"])

    def shard_map(self) -> ShardMap | None:
        found = self.namespace.get("shardmap", "main")
        return None if found is None else ShardMap.from_spec(found["spec"])

    def owners(self) -> set[str]:
        """Names of the pods that own slots; empty as long as a slot has no owner or moves, or a map is restored."""
        shard_map = self.shard_map()
        if (
            shard_map is None
            or shard_map.restoring
            or shard_map.moves
            or any(owner is None for owner in shard_map.owner_refs())
        ):
            return set()
        return {owner.name for owner in shard_map.owner_refs() if owner is not None}

    def close(self) -> None:
        if self.pods is not None:
            self.pods.close()
        self.group.close()


@contextmanager
def running(plane: ControlPlane, name: str) -> Iterator[OperatorSite]:
    """An operator in a namespace of its own, with the MailPushConfig `main` reconciled."""
    role = "mail-push-listener"
    plane.kubectl("create", "clusterrole", role, "--verb=get", "--resource=pods")  # may be there
    plane.kubectl("create", "namespace", name, check=True)
    site = OperatorSite(Namespace(plane, name))
    try:
        site.secret("master", password="the-master-password")
        site.operator = site.start()
        site.config()
        site.wait_condition("mpc", "main", "ConfigurationValid", status="True")
        wait_for("the StatefulSet", lambda: site.namespace.get("statefulset", "mail-push-main"))
        yield site
    finally:
        site.close()
        plane.kubectl("delete", "namespace", name, "--wait=false")

"""The chart's Jobs on a control plane without nodes: a kubelet's part for their pods, as far as Helm waits for it."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.cluster.controlplane import ControlPlane
from tests.chart.conftest import process_environment, wait_until_allowed

MAIL_PUSH = Path(sys.executable).with_name("mail-push")


@dataclass
class Jobs:
    """Runs each container of a Job's pod as a process, with the pod's ServiceAccount, and tells the pod's end."""

    plane: ControlPlane
    namespace: str
    folder: Path
    done: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)
    """What each container came to, by its name: the last of that name."""

    def run_job(self, name: str) -> dict[str, subprocess.CompletedProcess[str]]:
        """Runs the containers of a Job that is in the cluster, as its pod would."""
        job = json.loads(self._kubectl("get", "job", name, "-o", "json"))
        self._run_pod(job["spec"]["template"]["spec"])
        return self.done

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs what comes meanwhile."""
        stop = threading.Event()
        failures: list[BaseException] = []

        def loop() -> None:
            try:
                while not stop.wait(0.3):
                    self._round()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            for failure in failures:
                raise failure

    def _round(self) -> None:
        found = json.loads(self._kubectl("get", "pods", "-l", "batch.kubernetes.io/job-name", "-o", "json"))["items"]
        for pod in found:
            if pod["status"]["phase"] != "Pending" or "deletionTimestamp" in pod["metadata"]:
                continue
            phase = "Succeeded" if self._run_pod(pod["spec"]) else "Failed"
            patch = json.dumps({"status": {"phase": phase}})
            name = pod["metadata"]["name"]
            # The pod may be gone by now, with its Job.
            self.plane.kubectl(
                "-n", self.namespace, "patch", "pod", name, "--subresource=status", "--type=merge", "-p", patch
            )

    def _run_pod(self, spec: dict[str, Any]) -> bool:
        account = spec["serviceAccountName"]
        user = f"system:serviceaccount:{self.namespace}:{account}"
        wait_until_allowed(self.plane, user, "patch", "pushusers.mailpush.dev", namespace=self.namespace)
        kubeconfig = self.plane.kubeconfig_for_service_account(self.namespace, account)
        for container in spec["containers"]:
            arguments = [argument.replace("/config/", f"{self._mounted(spec)}/") for argument in container["args"]]
            self.done[container["name"]] = subprocess.run(
                [MAIL_PUSH, *arguments],
                env=process_environment() | {"KUBECONFIG": str(kubeconfig)},
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
        return all(self.done[container["name"]].returncode == 0 for container in spec["containers"])

    def _mounted(self, spec: dict[str, Any]) -> Path:
        for volume in spec["volumes"]:
            if name := volume.get("configMap", {}).get("name"):
                for file, text in json.loads(self._kubectl("get", "configmap", name, "-o", "json"))["data"].items():
                    (self.folder / file).write_text(text)
        return self.folder

    def _kubectl(self, *arguments: str) -> str:
        return self.plane.kubectl("-n", self.namespace, *arguments, check=True).stdout

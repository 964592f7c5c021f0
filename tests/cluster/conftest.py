"""A real API server for the tests of this folder: one control plane, one namespace a test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from tests.sites.namespace import Namespace, wait_for

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


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[Namespace]:
    name = f"test-{next(_numbers)}"
    control_plane.kubectl("create", "namespace", name, check=True)
    yield Namespace(control_plane, name)
    control_plane.kubectl("delete", "namespace", name, "--wait=false")

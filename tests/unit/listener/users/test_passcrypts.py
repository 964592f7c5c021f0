"""What the API says of passcrypts elsewhere: by Leases those of pods, by the ConfigMap that of the operator."""

from typing import Any

import pytest

from mailpush.kube.client import Object
from mailpush.kube.errors import UnreachableError
from mailpush.kube.resources import CONFIG_MAP, LEASE, Resource
from mailpush.listener.users.passcrypts import KubePasscrypts, PasscryptsUnknownError
from mailpush.sharding.leases import Holder, LeaseState, lease_annotations


class Api:
    """Leases and a ConfigMap; `down`: it does not answer."""

    def __init__(self) -> None:
        self.leases: list[Object] = []
        self.annotations: dict[str, str] | None = {}
        self.down = False

    def add(self, pod: str, *, held: bool = True, **state: Any) -> None:
        holder = Holder(pod, "uid", "n") if held else None
        self.leases.append(
            {
                "metadata": {"name": pod, "annotations": lease_annotations(LeaseState(holder=holder, **state))},
                "spec": {"holderIdentity": str(holder) if holder else None},
            }
        )

    async def list(self, resource: Resource, namespace: str, **options: Any) -> tuple[list[Object], str]:
        assert (resource, namespace, options["label_selector"]) == (LEASE, "mail", "mailpush.dev/config=main")
        self._answer()
        return self.leases, "1"

    async def get(self, resource: Resource, namespace: str, name: str, **_: Any) -> Object:
        assert (resource, namespace, name) == (CONFIG_MAP, "mail", "mail-push-main-properties")
        self._answer()
        return {"metadata": {"name": name, "annotations": self.annotations}}

    def _answer(self) -> None:
        if self.down:
            raise UnreachableError("no answer")


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def passcrypts(api: Api) -> KubePasscrypts:
    return KubePasscrypts(api, "mail", "main", "l-0")  # type: ignore[arg-type]


async def test_pods_that_live_and_show_another_or_none_differ(api: Api, passcrypts: KubePasscrypts) -> None:
    api.add("l-3", passcrypt="old", draining=True)
    api.add("l-0", passcrypt="old")  # this very one, whose Lease is a moment behind
    api.add("l-1", passcrypt="new")
    api.add("l-2")  # it begins
    api.add("l-4", held=False, passcrypt="old")  # it has ended, or was found dead
    assert await passcrypts.differing("new") == ["l-2", "l-3"]


async def test_pods_that_live_and_keep_passwords_elsewhere_are_named(api: Api, passcrypts: KubePasscrypts) -> None:
    api.add("l-0", kept="ClusterMemory")
    api.add("l-1", kept="Database")
    api.add("l-2", kept="ClusterMemory")
    api.add("l-3")  # of an older version, or it begins
    api.add("l-4", held=False)
    assert await passcrypts.keeping_elsewhere("Database") == ["l-2", "l-3"]


@pytest.mark.parametrize(
    ("annotations", "given"),
    [(None, True), ({}, True), ({"mailpush.dev/passcrypt": "new"}, True), ({"mailpush.dev/passcrypt": "old"}, False)],
)
async def test_the_operators_is_what_counts_where_it_tells_it(
    api: Api, passcrypts: KubePasscrypts, annotations: dict[str, str] | None, given: bool
) -> None:
    api.annotations = annotations
    assert await passcrypts.is_given("new") is given


async def test_an_api_that_does_not_answer_is_no_agreement(api: Api, passcrypts: KubePasscrypts) -> None:
    api.down = True
    for asking in (passcrypts.differing("new"), passcrypts.is_given("new")):
        with pytest.raises(PasscryptsUnknownError, match="cannot be read from the Kubernetes API"):
            await asking

"""Two PushUsers of one user: Dovecot has one registration for both."""

import asyncio
from typing import Any, cast

import pytest

from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError, NotFoundError, UnreachableError
from mailpush.kube.resources import PUSH_USER, SHARD_MAP, Resource
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.siblings import Siblings
from mailpush.listener.users.user import User
from mailpush.listener.users.user_listener import UserListener
from tests.sites.fakekube import FakeKube, Finds
from tests.unit.listener.people import FakeOwner, FakeSite, push_user, user


class Namespace(Finds):
    """Two MailPushConfigs, `main` and `other`, and these PushUsers."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.users = {body["metadata"]["name"]: body for body in bodies}
        self.configs = ["main", "other"]
        self.fail: KubeError | None = None
        self.lists = 0

    async def list(self, resource: Resource, _namespace: str) -> tuple[list[dict[str, Any]], str]:
        assert resource is SHARD_MAP
        self.lists += 1
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        return [{"metadata": {"name": name}} for name in self.configs], "1"

    async def get(self, resource: Resource, _namespace: str, name: str) -> dict[str, Any]:
        assert resource is PUSH_USER
        if name not in self.users:
            raise NotFoundError(404, "NotFound", name)
        return self.users[name]

    def siblings(self) -> Siblings:
        return Siblings(cast("Kube", self), "ns", "main", clock=lambda: 100.0)


def other(number: int = 3, **changes: Any) -> dict[str, Any]:
    metadata = {"uid": "of-the-other"} | changes.pop("metadata", {})
    return push_user(number, config="other", metadata=metadata, **changes)


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        (other(), True),
        (push_user(), False),
        (other(4), False),
        (other(suspend=True), False),
        (other(clients=[]), False),
        (other(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), False),
        ({"metadata": {"name": "other-1-3"}, "spec": {}}, False),
    ],
)
async def test_only_a_living_push_user_of_the_same_user_needs_the_registration(
    body: dict[str, Any], needs: bool
) -> None:
    assert await Namespace(body).siblings().need(user()) is needs


async def test_where_all_users_are_denied_at_once_the_api_server_is_asked_little() -> None:
    namespace = Namespace()
    siblings = namespace.siblings()
    for number in range(1, 100):
        assert not await siblings.need(user(number))
    assert namespace.lists == 1


async def test_users_who_are_denied_at_the_same_moment_share_one_look() -> None:
    namespace = Namespace()
    siblings = namespace.siblings()
    needs = await asyncio.gather(*(siblings.need(user(number)) for number in range(1, 1000)))
    assert (any(needs), namespace.lists) == (False, 1)


async def test_a_look_that_fails_fails_once_for_all_who_wait_for_it_and_the_next_one_is_another() -> None:
    namespace = Namespace(other())
    namespace.fail = UnreachableError("no API")
    siblings = namespace.siblings()
    found = await asyncio.gather(*(siblings.need(user()) for _ in range(3)), return_exceptions=True)
    assert ([type(one) for one in found], namespace.lists) == ([UnreachableError] * 3, 1)
    namespace.fail = None
    assert await siblings.need(user())


class Scene:
    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.namespace = Namespace(*bodies)
        self.fake = FakeSite()
        owner = FakeOwner()
        self.outcomes = owner.outcomes
        self.one = UserListener(
            (1, 3),
            7,
            owner,
            self.namespace.siblings(),
            Credentials(UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: 0.0)),
        )

    async def reconcile(self, who: User) -> float | None:
        return await self.one.reconcile(who, self.fake.site())

    @property
    def unregistered(self) -> int:
        return self.fake.dovecot.listeners[0].unregistered


DELETED = user(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["mailpush.dev/unregister"]})


async def test_a_user_who_goes_over_to_another_config_stays_registered() -> None:
    scene = Scene(push_user(), other())
    await scene.reconcile(user())
    await scene.reconcile(DELETED)
    assert (scene.unregistered, scene.fake.dovecot.running) == (0, [])
    assert scene.outcomes[-1].reason == "Unregistered"  # so that the operator lets the object go


async def test_so_does_one_who_is_denied_here_and_wanted_there() -> None:
    scene = Scene(push_user(), other())
    await scene.reconcile(user())
    await scene.reconcile(user(suspend=True))
    assert (scene.unregistered, scene.fake.dovecot.running, scene.outcomes[-1].reason) == (0, [], "Suspended")


async def test_as_long_as_nobody_can_say_who_needs_it_nothing_is_taken_away() -> None:
    scene = Scene(push_user())
    await scene.reconcile(user())
    scene.namespace.fail = UnreachableError("no API")
    assert await scene.reconcile(DELETED) is not None
    assert (scene.unregistered, scene.outcomes[-1].reason) == (0, "UnregisterFailed")
    scene.namespace.fail = None
    await scene.reconcile(DELETED)
    assert (scene.unregistered, scene.outcomes[-1].reason) == (1, "Unregistered")

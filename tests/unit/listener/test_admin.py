"""A pod's admin endpoint: what it tells, that it changes nothing, and that it stops nothing."""

import socket
from asyncio import to_thread
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from dev.cluster.pki import Authority
from mailpush.admin.errors import AdminError
from mailpush.admin.routes import LISTENERS
from mailpush.cli.pushusers.client import ServerError, Target
from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.listener.admin import PodAdmin, PodUsers
from mailpush.properties.admin import CERTIFICATE, KEY, LOGIN, PASSWORD
from mailpush.properties.format import dump
from mailpush.properties.settings import Settings
from tests.unit.listener.people import CLIENT, FILES, push_user, settings


class Api:
    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = objects
        self.asked: list[str | None] = []
        self.down = False

    async def pages(
        self, resource: object, namespace: str, *, label_selector: str | None = None
    ) -> AsyncIterator[tuple[Sequence[dict[str, Any]], str]]:
        if self.down:
            raise UnreachableError("no answer")
        self.asked.append(label_selector)
        for one in self.objects:
            yield [one], "1"


class Supervisor:
    """It listens for two users."""

    def listening(self) -> list[tuple[int, int]]:
        return [(1, 3), (1, 4)]


def pod_users(api: Api) -> PodUsers:
    return PodUsers(cast("Kube", api), "mail", "main", Supervisor())


def with_admin(**properties: str) -> Settings:
    keys = {"login": LOGIN, "password": PASSWORD, "certificate": CERTIFICATE, "key": KEY}
    content = dump({keys[name]: value for name, value in properties.items()}, "test")
    return settings(FILES | {"mail-push-admin.properties": content})


async def ask(admin: PodAdmin, **changes: Any) -> dict[str, Any]:
    target = Target("127.0.0.1", admin.port, "oxadmin", **{"password": "secret", "timeout": 60, **changes})
    return await to_thread(target.request, "GET", LISTENERS)


async def test_it_tells_what_runs_here_and_who_is_registered_anywhere() -> None:
    api = Api(
        push_user(3, clients=["a", "b"]),
        push_user(9),
        push_user(10, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    )
    users = pod_users(api)
    assert [tuple(one) for one in await users.listeners()] == [(1, 3, True), (1, 4, True)]
    assert [tuple(one) for one in await users.registrations()] == [(1, 3, "a"), (1, 3, "b"), (1, 9, CLIENT)]
    assert api.asked == ["mailpush.dev/config=main"]


async def test_it_changes_nothing_and_says_when_the_api_is_away() -> None:
    api = Api(push_user(3))
    with pytest.raises(AdminError, match="ask the operator") as refused:
        await pod_users(api).unregister(1, 3, CLIENT)
    assert refused.value.status == 403
    api.down = True
    with pytest.raises(AdminError, match="cannot be read"):
        await pod_users(api).registrations()
    assert await pod_users(api).listeners(), "what runs here is known all the same"


async def test_the_settings_say_who_is_let_in_and_over_what() -> None:
    admin = PodAdmin(pod_users(Api()), settings())
    try:
        await admin.start("127.0.0.1", 0)
        with pytest.raises(ServerError, match="Authentication failed"):
            await ask(admin)
        await admin.use(with_admin(login="oxadmin", password="secret"))
        assert await ask(admin)
        pair = Authority.new("ours").issue("pod")
        tls = {"certificate": pair.certificate.decode(), "key": pair.key.decode()}
        await admin.use(with_admin(login="oxadmin", password="secret", **tls))
        with pytest.raises(ServerError):
            await ask(admin)  # it talks TLS only
        await admin.use(with_admin(login="oxadmin", password="secret", certificate=tls["certificate"]))
        with pytest.raises(ServerError):
            await ask(admin)  # half a pair changes nothing
    finally:
        await admin.close()


async def test_a_port_that_is_taken_stops_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = PodAdmin(pod_users(Api()), settings())
        await admin.start("127.0.0.1", taken.getsockname()[1])
        await admin.use(with_admin(login="oxadmin", password="secret"))
        await admin.close()

"""What the operator's admin endpoint answers, and what it changes."""

import asyncio
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from dev.cluster.pki import Authority
from mailpush import names
from mailpush.admin.errors import AdminError
from mailpush.admin.routes import LISTENERS
from mailpush.cli.pushusers.client import ServerError, Target
from mailpush.controller import admin
from mailpush.controller.admin import ClusterUsers, OperatorAdmin
from mailpush.controller.users.record import UserName
from mailpush.controller.users.store import UserStore
from mailpush.controller.wakes import Wakes
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, NotFoundError, UnreachableError
from mailpush.work.queue import WorkQueue
from tests.unit.controller.builders import OPERATOR, Keys


def push_user(number: int, *clients: str, config: str = "main", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"{config}-1-{number}",
            "namespace": "mail",
            "uid": f"uid-{number}",
            "resourceVersion": "7",
            **more.get("metadata", {}),
        },
        "spec": {"configRef": {"name": config}, "contextId": 1, "userId": number, "clients": list(clients)},
        "status": {
            "conditions": [
                {
                    "type": "Listening",
                    "status": more.get("listening", "True"),
                    "reason": "Registered",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ]
        },
    }


class Api:
    """Objects with resourceVersions. `meanwhile` changes an object before the next write arrives."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {one["metadata"]["name"]: copy.deepcopy(one) for one in objects}
        self.meanwhile: list[list[str]] = []
        self.down = False

    async def get(self, resource: object, namespace: str, name: str) -> dict[str, Any]:
        if self.down:
            raise UnreachableError("no answer")
        if name not in self.objects:
            raise NotFoundError(404, "NotFound", name)
        return copy.deepcopy(self.objects[name])

    def _check(self, name: str, version: str) -> None:
        found = self.objects[name]["metadata"]
        if self.meanwhile:
            self.objects[name]["spec"]["clients"] = self.meanwhile.pop()
            found["resourceVersion"] = str(int(found["resourceVersion"]) + 1)
        if version != found["resourceVersion"]:
            raise ConflictError(409, "Conflict", name)

    async def merge_patch(self, resource: object, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self._check(name, body["metadata"]["resourceVersion"])
        self.objects[name]["spec"] |= body["spec"]
        return self.objects[name]

    async def delete(self, resource: object, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        self._check(name, resource_version)
        assert self.objects.pop(name)["metadata"]["uid"] == uid


class Scene:
    def __init__(self, *objects: dict[str, Any], listed: bool = True) -> None:
        self.api = Api(*objects)
        kube = cast("Kube", self.api)
        book = UserStore(kube, ("mail",), cast("WorkQueue[UserName]", Keys()), Wakes())
        (reflector,) = book.reflectors()
        for one in objects:
            book._changed("ADDED", copy.deepcopy(one))
        if listed:
            reflector.listed.set()
        self.users = ClusterUsers(kube, ("mail",), book)

    def clients(self, number: int) -> list[str] | None:
        found = self.api.objects.get(f"main-1-{number}")
        return None if found is None else found["spec"]["clients"]


async def test_listening_users_are_listed_and_every_client_of_all() -> None:
    deleting = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [names.FINALIZER]}
    scene = Scene(
        push_user(3, "a", "b"), push_user(4, "a", listening="False"), push_user(5, "c", metadata=deleting), push_user(6)
    )
    assert [tuple(one) for one in await scene.users.listeners()] == [(1, 3, True), (1, 5, True), (1, 6, True)]
    assert [tuple(one) for one in await scene.users.registrations()] == [(1, 3, "a"), (1, 3, "b"), (1, 4, "a")]
    assert not await scene.users.unregister(1, 5, "c"), "it is on its way already"


async def test_one_of_two_clients_goes_and_the_last_takes_the_user_along() -> None:
    scene = Scene(push_user(3, "a", "b"))
    assert await scene.users.unregister(1, 3, "a")
    assert scene.clients(3) == ["b"]
    assert await scene.users.unregister(1, 3, "b")
    assert scene.clients(3) is None


@pytest.mark.parametrize(
    ("context", "user", "client"), [(1, 3, "A"), (1, 3, ""), (1, 4, "a"), (2, 3, "a"), (-1, -1, "a")]
)
async def test_what_is_not_registered_is_not_deleted(context: int, user: int, client: str) -> None:
    scene = Scene(push_user(3, "a"))
    assert not await scene.users.unregister(context, user, client)
    assert scene.clients(3) == ["a"]


async def test_what_another_registers_meanwhile_is_kept() -> None:
    scene = Scene(push_user(3, "a"))
    scene.api.meanwhile = [["a", "new"]]
    assert await scene.users.unregister(1, 3, "a")
    assert scene.clients(3) == ["new"]


async def test_a_user_that_keeps_changing_is_given_up() -> None:
    scene = Scene(push_user(3, "a"))
    scene.api.meanwhile = [["a"]] * 100
    with pytest.raises(AdminError, match="try again"):
        await scene.users.unregister(1, 3, "a")
    assert scene.clients(3) == ["a"]


async def test_the_same_user_of_two_installations_is_not_guessed_at() -> None:
    scene = Scene(push_user(3, "a"), push_user(3, "a", config="idle", metadata={"uid": "other"}))
    with pytest.raises(AdminError, match="mail/idle-1-3, mail/main-1-3") as refused:
        await scene.users.unregister(1, 3, "a")
    assert refused.value.status == 409


async def test_nothing_is_told_before_all_is_known_nor_promised_while_the_api_is_down() -> None:
    with pytest.raises(AdminError, match="not read"):
        await Scene(listed=False).users.listeners()
    scene = Scene(push_user(3, "a"))
    scene.api.down = True
    with pytest.raises(AdminError, match="operator's log"):
        await scene.users.unregister(1, 3, "a")


async def test_the_operators_endpoint_takes_a_changed_secret_and_opens_once_its_certificate_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "LOOK_SECONDS", 0.01)
    login, tls = tmp_path / "login", tmp_path / "tls"
    login.mkdir()
    (login / "login").write_text("oxadmin\n")
    (login / "password").write_text("first\n")
    settings = replace(OPERATOR, listen="127.0.0.1", admin_port=0, admin_directory=login, admin_tls_directory=tls)
    kube = cast("Kube", Api())
    book = UserStore(kube, ("mail",), cast("WorkQueue[UserName]", Keys()), Wakes())
    next(book.reflectors()).listed.set()
    authority = Authority.new("ours")
    pair = authority.issue("operator", names=("127.0.0.1",))
    with capture_logs() as logs:
        running = asyncio.create_task(OperatorAdmin(kube, settings, book).run())
        try:
            await said(logs, "admin_cannot_serve")
            tls.mkdir()
            (tls / "tls.key").write_bytes(pair.key)
            (tls / "tls.crt").write_bytes(pair.certificate)
            (tmp_path / "ca").write_bytes(authority.pair.certificate)
            port = (await said(logs, "admin_serves"))["port"]
            target = Target("127.0.0.1", port, "oxadmin", "first", 60, tls=True, ca_file=str(tmp_path / "ca"))
            assert await asyncio.to_thread(target.request, "GET", LISTENERS) == {"listeners": []}
            (login / "password").write_text("second\n")
            target = replace(target, password="second")
            await answered(target)
        finally:
            running.cancel()
            await asyncio.wait([running])
    # Once, although it was tried again and again; or twice, where it was looked at between the two files.
    assert len([line for line in logs if line["event"] == "admin_cannot_serve"]) <= 2


async def said(logs: list[Any], event: str) -> Any:
    async with asyncio.timeout(30):
        while True:
            if found := next((line for line in logs if line["event"] == event), None):
                return found
            await asyncio.sleep(0.01)


async def answered(target: Target) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await asyncio.to_thread(target.request, "GET", LISTENERS)
            except ServerError:
                await asyncio.sleep(0.01)
            else:
                return

"""PushUsers that go while the mail server still calls for them."""

import asyncio
import copy
from contextlib import suppress
from typing import Any

import pytest

from mailpush import names
from mailpush.controller.users import leftovers as module
from mailpush.controller.users.leftovers import LeftOvers
from mailpush.controller.users.owner_lost import abandoned_verdicts
from mailpush.controller.users.record import UserName, UserRecord
from mailpush.kube.errors import ForbiddenError, UnreachableError
from mailpush.kube.leftovers import entries_of
from tests.unit.controller.builders import Others
from tests.unit.kube.test_leftovers import OneObject

NAME = UserName("mail", "main-1-3")
LEFT = {"x": {"server": "default", "address": "imap.example:993", "login": "anton", "value": "3@1"}}


def push_user(registrations: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "mail", "name": "main-1-3", "uid": "u", "resourceVersion": "1"},
        "spec": {"configRef": {"name": "main"}, "contextId": 1, "userId": 3, "clients": ["c"]},
        "status": {"registrations": LEFT if registrations is None else registrations},
    }


class Api(OneObject):
    """The ConfigMap, and a PushUser."""

    def __init__(self) -> None:
        super().__init__()
        self.user: dict[str, Any] | None = push_user()
        self.fail: list[Exception] = []
        self.written = asyncio.Event()

    def _store(self, body: Any) -> Any:
        self.written.set()
        return super()._store(body)

    async def find(self, resource: Any, namespace: str | None, name: str, **more: Any) -> Any:
        if self.fail:
            raise self.fail.pop()
        if resource.plural == names.PUSH_USERS:
            return copy.deepcopy(self.user)
        return await super().find(resource, namespace, name, **more)

    def logins(self) -> list[str]:
        return [entry.login for entry in entries_of(self.body)]


class Scene:
    def __init__(self) -> None:
        self.api = Api()
        self.events = Others()
        self.it = LeftOvers(self.api, ("mail",), self.events)  # type: ignore[arg-type]

    async def until_noted(self) -> None:
        task = asyncio.create_task(self.it.run())
        try:
            async with asyncio.timeout(60):
                await self.api.written.wait()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_user_who_is_let_go_with_a_registration_is_noted_first_and_told() -> None:
    scene = Scene()
    await scene.it.keep(NAME)
    assert scene.api.logins() == ["anton"]
    (event,) = scene.events.events
    assert (event.reason, event.type) == ("RegistrationLeft", "Warning")
    assert "anton" in event.note


async def test_a_user_without_one_leaves_nothing() -> None:
    scene = Scene()
    scene.api.user = push_user({})
    await scene.it.keep(NAME)
    scene.it.gone(NAME, push_user({}))
    scene.api.user = None
    await scene.it.keep(NAME)
    assert (scene.api.body, scene.events.events) == (None, [])


async def test_what_cannot_be_noted_now_keeps_the_user() -> None:
    scene = Scene()
    scene.api.fail = [UnreachableError("no API")]
    with pytest.raises(UnreachableError):
        await scene.it.keep(NAME)


async def test_where_nothing_may_be_written_nobody_hangs() -> None:
    scene = Scene()

    async def refuse(*_: Any, **__: Any) -> Any:
        raise ForbiddenError(403, "Forbidden", "the namespace is being terminated")

    scene.api.create = refuse  # type: ignore[method-assign]
    await scene.it.keep(NAME)
    assert scene.api.logins() == []


async def test_a_user_who_is_gone_at_once_is_noted_as_soon_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    scene = Scene()
    scene.it.gone(NAME, push_user())
    scene.api.fail = [UnreachableError("no API")] * 3
    await scene.until_noted()
    assert scene.api.logins() == ["anton"]


def test_without_a_config_a_registered_user_says_that_the_server_still_calls() -> None:
    said = [(one.type, one.status) for one in abandoned_verdicts(UserRecord.of(push_user()))]
    assert said == [("RegistrationLeft", "True")]
    assert abandoned_verdicts(UserRecord.of(push_user({}))) == ()

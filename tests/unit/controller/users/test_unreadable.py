"""PushUsers that the API server took and that our models refuse: a condition says so."""

from typing import Any

from tests.unit.controller.users.test_duplicates import CLIENT, Scene

NAME = "main-1-3"


def broken(scene: Scene, clients: Any = ("a\vb",), **status: Any) -> None:
    """What a definition of another version let in."""
    scene.user(3, 1, **status)
    body = scene.api.users[NAME]
    body["metadata"]["generation"] += 1
    body["spec"]["clients"] = list(clients)
    scene.api.put(body)


async def test_a_condition_says_what_cannot_be_read_without_its_value_and_is_written_once() -> None:
    scene = Scene()
    broken(scene)
    await scene.settle()
    status = scene.api.users[NAME]["status"]
    (accepted,) = status["conditions"]
    assert (accepted["type"], accepted["status"], accepted["reason"]) == ("Accepted", "False", "SpecUnreadable")
    assert accepted["observedGeneration"] == scene.api.users[NAME]["metadata"]["generation"]
    assert "clients.0" in accepted["message"]
    assert "a\vb" not in accepted["message"]
    assert status["reason"] == "SpecUnreadable"
    version = scene.api.version
    scene.restart()
    await scene.settle()
    assert scene.api.version == version


async def test_once_it_can_be_read_it_is_decided_on_as_any_other() -> None:
    scene = Scene()
    broken(scene)
    await scene.settle()
    scene.api.users[NAME]["spec"]["clients"] = [CLIENT]
    scene.api.put(scene.api.users[NAME])
    await scene.settle()
    assert scene.said(NAME) == ("Accepted", None)
    assert scene.store.unreadable(next(name for name, _ in scene.store.all())) is None


async def test_nothing_is_written_for_one_that_is_gone_or_whose_namespace_ends() -> None:
    scene = Scene()
    broken(scene)
    scene.world.ending.add("mail")
    before = scene.api.version
    await scene.settle()
    scene.world.ending.clear()
    scene.store._changed("DELETED", scene.api.users[NAME])
    await scene.settle()
    assert scene.api.version == before

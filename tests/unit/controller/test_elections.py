"""Leadership in several namespaces: all of them or none."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from mailpush.controller.assembly import assemble
from mailpush.controller.election import LeadershipLostError
from mailpush.controller.elections import Elections
from mailpush.controller.environment import OperatorSettings
from mailpush.http.health import Pulse
from mailpush.kube.client import Object
from mailpush.kube.errors import ConflictError, NotFoundError
from mailpush.kube.resources import Resource
from tests.sites.fakekube import Finds


class OneElection:
    """An election that is won and lost when the test says so."""

    def __init__(self) -> None:
        self.won, self.lost = asyncio.Event(), asyncio.Event()
        self.asked = self.held = self.released = False

    async def lead(self) -> None:
        self.asked = True
        await self.won.wait()

    async def hold(self) -> None:
        self.held = True
        try:
            await self.lost.wait()
            raise LeadershipLostError("gone")
        finally:
            self.held = False

    async def release(self) -> None:
        self.released = True


def composed(elections: Sequence[OneElection]) -> Elections:
    return Elections(elections)  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_it_leads_once_all_are_won_and_renews_the_first_while_it_waits_for_the_second() -> None:
    first, second = OneElection(), OneElection()
    leading = asyncio.create_task(composed([first, second]).lead())
    await settled()
    assert (first.asked, second.asked) == (True, False), (
        "in order: two candidates never wait for each other in a circle"
    )
    first.won.set()
    await settled()
    assert (first.held, second.asked, leading.done()) == (True, True, False)
    second.won.set()
    await asyncio.wait_for(leading, 5)
    await settled()
    assert first.held
    assert second.held


@pytest.mark.parametrize("which", [0, 1])
async def test_one_that_is_lost_ends_it_and_the_others_are_let_go(which: int) -> None:
    both = [OneElection(), OneElection()]
    for one in both:
        one.won.set()
    elections = composed(both)
    await elections.lead()
    holding = asyncio.create_task(elections.hold())
    both[which].lost.set()
    with pytest.raises(LeadershipLostError):
        await asyncio.wait_for(holding, 5)
    await settled()
    assert [one.held for one in both] == [False, False]
    await elections.release()
    assert all(one.released for one in both)


async def test_one_that_is_lost_while_another_is_waited_for_ends_it() -> None:
    first, second = OneElection(), OneElection()
    first.won.set()
    leading = asyncio.create_task(composed([first, second]).lead())
    await settled()
    first.lost.set()
    with pytest.raises(LeadershipLostError):
        await asyncio.wait_for(leading, 5)


async def test_who_is_stopped_while_it_waits_holds_nothing_more() -> None:
    first, second = OneElection(), OneElection()
    first.won.set()
    leading = asyncio.create_task(composed([first, second]).lead())
    await settled()
    assert first.held
    leading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leading
    await settled()
    assert not first.held


class Leases(Finds):
    """An API server with nothing but Leases."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Object] = {}
        self.reads: Counter[str] = Counter()

    async def get(self, _resource: Resource, namespace: str, name: str, **_: Any) -> Object:
        self.reads[namespace] += 1
        if (namespace, name) not in self.found:
            raise NotFoundError(404, "NotFound", name)
        return self.found[namespace, name]

    async def create(self, _resource: Resource, namespace: str, body: Object, **_: Any) -> Object:
        if (namespace, body["metadata"]["name"]) in self.found:
            raise ConflictError(409, "AlreadyExists", "it is there")
        return self._store(namespace, body)

    async def replace(self, _resource: Resource, namespace: str, body: Object, **_: Any) -> Object:
        return self._store(namespace, body)

    def _store(self, namespace: str, body: Object) -> Object:
        place = (namespace, body["metadata"]["name"])
        version = str(int(self.found.get(place, {"metadata": {}})["metadata"].get("resourceVersion", "0")) + 1)
        self.found[place] = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
        return self.found[place]


@pytest.mark.parametrize(
    ("first", "second"), [(("mail",), ("mail",)), (("mail", "a"), ("mail",)), (("mail",), ("post", "mail"))]
)
async def test_two_releases_never_lead_in_one_namespace(
    first: tuple[str, ...], second: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were elected by Leases of their releases' names, each in its own namespace: so both led."""
    monkeypatch.setattr("mailpush.controller.election.STANDBY_EVERY", 0)
    api = Leases()

    def elections(namespaces: tuple[str, ...], own: str) -> Elections:
        settings = OperatorSettings(namespaces, own, "image", identity=own)
        return assemble(api, settings, Pulse()).election  # type: ignore[arg-type]

    one, other = elections(first, "mail"), elections(second, "post")
    await asyncio.wait_for(one.lead(), 5)
    waiting = asyncio.create_task(other.lead())
    looks = api.reads["mail"]
    while api.reads["mail"] < looks + 10 and not waiting.done():
        await settled()
    assert not waiting.done()
    assert {namespace for namespace, _ in api.found} >= set(first)
    waiting.cancel()
    one._let_go()

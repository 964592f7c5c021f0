"""The list of registrations that nobody is left to take away."""

import asyncio
import copy
import json
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.kube import leftovers
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ConflictError, NotFoundError
from mailpush.kube.leftovers import MOST_BYTES, LeftOver, entries_of, left_by, lines_of
from tests.sites.fakekube import Finds

ONE = LeftOver("main", 1, 3, "default", "imap.example:993", "anton", "3@1", None, "2026-01-01T00:00:00Z")


class OneObject(Finds):
    """A ConfigMap, or none; `meanwhile` is done by another between a read and the next write."""

    def __init__(self) -> None:
        self.body: Object | None = None
        self.version = 0
        self.requests = 0
        self.meanwhile: list[LeftOver] = []

    async def get(self, _resource: Any, _namespace: str, name: str, **_: Any) -> Object:
        self.requests += 1
        await asyncio.sleep(0)
        if self.body is None:
            raise NotFoundError(404, "NotFound", name)
        return copy.deepcopy(self.body)

    async def create(self, _resource: Any, _namespace: str, body: Object, **_: Any) -> Object:
        return await self._write(body)

    async def replace(self, _resource: Any, _namespace: str, body: Object, **_: Any) -> Object:
        return await self._write(body)

    async def _write(self, body: Object) -> Object:
        self.requests += 1
        if self.meanwhile:
            entry = self.meanwhile.pop()
            self._store({**body, "data": {leftovers.LINES: "".join(f"{line}\n" for line in lines_of([entry])[0])}})
            raise ConflictError(409, "Conflict", "another wrote first")
        if self.body is not None and body["metadata"].get("resourceVersion") != str(self.version):
            raise ConflictError(409, "Conflict", "another wrote first")
        return self._store(body)

    def _store(self, body: Object) -> Object:
        self.version += 1
        self.body = copy.deepcopy(body)
        self.body["metadata"]["resourceVersion"] = str(self.version)
        return self.body

    async def change(self, **changes: list[LeftOver]) -> int:
        return await leftovers.change(cast("Kube", self), "ns", **changes)


async def test_what_is_added_by_several_is_kept_and_nothing_stands_there_twice() -> None:
    kube = OneObject()
    other, third = replace(ONE, user_id=4), replace(ONE, login="berta")
    assert await kube.change(add=[]) == 0
    assert kube.body is None, "nothing to say, no object"
    assert await kube.change(add=[ONE]) == 1
    kube.meanwhile = [other]
    assert await kube.change(add=[third]) == 2
    assert entries_of(kube.body) == [other, third]
    before = kube.version
    assert await kube.change(add=[replace(third, since="later")]) == 2
    assert kube.version == before
    assert await kube.change(remove=[third]) == 1
    assert entries_of(kube.body) == [other]


async def test_a_conflict_that_never_ends_is_given_up() -> None:
    kube = OneObject()
    kube.meanwhile = [replace(ONE, user_id=number) for number in range(100, 200)]
    with pytest.raises(ConflictError):
        await kube.change(add=[ONE])
    assert kube.requests <= 2 * leftovers.TRIES


def test_a_push_user_that_goes_leaves_what_its_status_remembers_and_no_secret() -> None:
    spec = {"configRef": {"name": "main"}, "contextId": 1, "userId": 3, "credentialsSecretRef": {"name": "of-three"}}
    one = {"server": "default", "address": "imap.example:993", "login": "anton", "value": "3@1"}
    (entry,) = left_by({"spec": spec, "status": {"registrations": {"x": one}}}, ONE.since)
    assert entry == replace(ONE, secret="of-three")
    assert left_by({"spec": spec, "status": {}}, ONE.since) == []
    assert left_by({"metadata": {"name": "as a list showed it"}}, ONE.since) == []


def test_a_line_that_is_not_ours_is_passed_over() -> None:
    (line,), _ = lines_of([ONE])
    text = f"[]\nnonsense\n{{}}\n{line}\n" + json.dumps({"newer": 1})
    assert entries_of({"data": {leftovers.LINES: text}}) == [ONE]


@given(st.lists(st.text(min_size=1, max_size=60), max_size=20), st.integers(0, 4000))
def test_the_list_has_its_bound_in_bytes_and_the_last_stay(logins: list[str], more: int) -> None:
    entries = [replace(ONE, login=login) for login in logins]
    entries += [replace(ONE, user_id=number + 1, login="x" * 512) for number in range(more)]
    lines, dropped = lines_of(entries)
    assert sum(len(line.encode("utf-8", "replace")) + 1 for line in lines) <= MOST_BYTES
    assert len(lines) + dropped == len(entries)
    assert [LeftOver.of_line(line) for line in lines] == entries[dropped:]
    assert not dropped or more > 500

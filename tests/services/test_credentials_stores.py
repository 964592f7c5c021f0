"""The credential storages, all by the same tests: what one does every other does too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailpush.credentials.limits import LARGEST_ID
from mailpush.credentials.storage import CredentialStorage, Entry, UserKey
from tests.services.storages import KINDS, Servers, opened


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("stores")) as servers:
        yield servers


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def storage(servers: Servers, kind: str) -> AsyncIterator[CredentialStorage]:
    async with opened(servers, kind) as storage:
        yield storage


async def everything(storage: CredentialStorage, limit: int = 1000) -> list[Entry]:
    entries: list[Entry] = []
    while page := await storage.page(entries[-1].key if entries else None, limit):
        entries += page
    return entries


async def test_what_is_put_is_got_and_another_put_takes_its_place(storage: CredentialStorage) -> None:
    assert await storage.get((1, 3)) is None
    first = Entry(1, 3, "a b$==", 7, 8, 9)
    await storage.put(first)
    assert await storage.get((1, 3)) == first
    second = Entry(1, 3, "c", 10)
    await storage.put(second)
    await storage.put(second)
    assert await storage.get((1, 3)) == second
    assert await storage.count() == 1
    assert await storage.get((3, 1)) is None


# What a collation may take for the same, and what a protocol may swallow.
ALIKE = ("AbC=", "abc=", "AbC= ", " AbC=", "AbC=\t", "AbC", "", "\\", "\\\\", "'", '"', "%", "_", "\n", "a" * 512)


@pytest.mark.parametrize("stored", ALIKE)
async def test_a_password_is_replaced_where_it_stands_byte_by_byte(storage: CredentialStorage, stored: str) -> None:
    await storage.put(Entry(1, 3, stored))
    for other in ALIKE:
        if other != stored:
            assert not await storage.replace(Entry(1, 3, other), Entry(1, 3, "new")), other
            assert await storage.get((1, 3)) == Entry(1, 3, stored)
    assert await storage.replace(Entry(1, 3, stored, 5, 6, 7), Entry(1, 3, stored, worked=4))
    assert await storage.replace(Entry(1, 3, stored), Entry(1, 3, stored, worked=4))  # what stands there is no failure
    assert await storage.get((1, 3)) == Entry(1, 3, stored, worked=4)
    assert not await storage.replace(Entry(1, 4, stored), Entry(1, 4, "new"))
    assert await storage.count() == 1


async def test_pages_are_in_the_order_of_context_and_user(storage: CredentialStorage) -> None:
    keys = [(c, u) for c in (1, 2, 9, 10, LARGEST_ID) for u in (1, 2, 9, 10, 11, 99, 100, LARGEST_ID)]
    for context, user in reversed(keys):
        await storage.put(Entry(context, user, f"{context}-{user}"))
    for limit in (1, 7, len(keys), 1000):
        assert [entry.key for entry in await everything(storage, limit)] == keys
    assert [entry.key for entry in await storage.page((2, 5), 3)] == [(2, 9), (2, 10), (2, 11)]
    assert await storage.page((LARGEST_ID, LARGEST_ID), 3) == []
    assert await storage.count() == len(keys)
    found = await storage.get_many([*keys, (5, 5), (-1, 3), (2**40, 1)])
    assert found == {key: Entry(*key, f"{key[0]}-{key[1]}") for key in keys}
    assert await storage.get_many([]) == {}


async def test_a_deletion_says_whether_there_was_one(storage: CredentialStorage) -> None:
    await storage.put(Entry(1, 3, "a"))
    assert not await storage.delete((1, 4))
    assert await storage.delete((1, 3))
    assert not await storage.delete((1, 3))
    assert await storage.page(None, 10) == []


async def test_a_note_is_set_only_in_place_of_what_stood_there(storage: CredentialStorage) -> None:
    assert await storage.note("key-check") is None
    assert not await storage.set_note("key-check", "a", "b")
    assert await storage.set_note("key-check", None, "a")
    assert not await storage.set_note("key-check", None, "b")
    assert not await storage.set_note("key-check", "A", "b")
    assert not await storage.set_note("key-check", "a ", "b")
    assert await storage.set_note("key-check", "a", "a")
    assert await storage.set_note("key-check", "a", "")
    assert await storage.note("key-check") == ""
    assert not await storage.set_note("key-check", None, "b")
    assert await storage.set_note("key-check", "", "x" * 4096)
    assert await storage.note("Key-check") is None
    assert await storage.set_note("key-check", "x" * 4096, None)
    assert await storage.note("key-check") is None
    assert await storage.set_note("key-check", None, None)


async def test_what_fits_nowhere_is_refused_without_the_password(storage: CredentialStorage) -> None:
    good = Entry(1, 3, "a")
    await storage.put(good)
    for bad in (
        Entry(1, 3, "S3cret" * 100),
        Entry(1, 3, "S3crét"),
        Entry(1, 2**31, "S3cret"),
        Entry(1, 3, "S3cret", -1),
    ):
        for attempt in (storage.put(bad), storage.replace(good, bad)):
            with pytest.raises(ValueError, match=r"most|times") as failure:
                await attempt
            assert "S3cr" not in str(failure.value)
    for name, text in (("", "a"), ("n" * 65, "a"), ("n", "S3cret" * 1000)):
        with pytest.raises(ValueError, match="note") as failure:
            await storage.set_note(name, None, text)
        assert "S3cret" not in str(failure.value)
    assert await everything(storage) == [good]


async def test_of_many_who_replace_the_same_one_does(storage: CredentialStorage) -> None:
    await storage.put(Entry(1, 3, "old"))
    done = await asyncio.gather(*(storage.replace(Entry(1, 3, "old"), Entry(1, 3, f"new-{n}")) for n in range(40)))
    assert sum(done) == 1
    stands = await storage.get((1, 3))
    assert stands is not None
    assert stands.password == f"new-{done.index(True)}"
    noted = await asyncio.gather(*(storage.set_note("n", None, str(n)) for n in range(40)))
    assert sum(noted) == 1
    assert await storage.note("n") == str(noted.index(True))


async def test_two_thousand_entries_come_page_by_page_while_others_are_put(storage: CredentialStorage) -> None:
    wanted = {(n % 7 + 1, n): Entry(n % 7 + 1, n, "p" * 100) for n in range(1, 2001)}
    pending = iter(wanted.values())

    async def put_all() -> None:
        for entry in pending:
            await storage.put(entry)

    await asyncio.gather(*(put_all() for _ in range(8)))
    seen: list[UserKey] = []
    while page := await storage.page(seen[-1] if seen else None, 300):
        seen += (entry.key for entry in page)
        await storage.put(Entry(1, 5000 + len(seen), "late"))
    # Of so much no test may print a difference: that takes minutes.
    assert all(first < second for first, second in pairwise(seen))
    assert not set(wanted).difference(seen)
    found = await storage.get_many(list(wanted))
    assert [key for key in wanted if found.get(key) != wanted[key]][:3] == []


# -- as a dictionary does

KEYS = st.tuples(st.integers(1, 3), st.integers(1, 3))
PASSWORDS = st.sampled_from(("a", "A", "a ", "b$c=="))
ENTRIES = st.builds(Entry, st.integers(1, 3), st.integers(1, 3), PASSWORDS, st.integers(0, 3), st.integers(0, 3))
NOTES = st.none() | st.sampled_from(("", "x", "X"))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), ENTRIES),
        st.tuples(st.just("replace"), ENTRIES, PASSWORDS, st.integers(0, 3)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("page"), st.none() | KEYS, st.integers(1, 4)),
        st.tuples(st.just("get_many"), st.lists(KEYS, max_size=5)),
        st.tuples(st.just("set_note"), st.sampled_from(("n", "N")), NOTES, NOTES),
    ),
    max_size=30,
)


class Model:
    """A storage as it is meant."""

    def __init__(self) -> None:
        self.entries: dict[UserKey, Entry] = {}
        self.notes: dict[str, str] = {}

    def put(self, entry: Entry) -> None:
        self.entries[entry.key] = entry

    def replace(self, old: Entry, password: str, refused: int) -> bool:
        now = self.entries.get(old.key)
        if now is None or now.password != old.password:
            return False
        self.entries[old.key] = replace(old, password=password, refused=refused)
        return True

    def delete(self, key: UserKey) -> bool:
        return self.entries.pop(key, None) is not None

    def page(self, after: UserKey | None, limit: int) -> list[Entry]:
        return [self.entries[key] for key in sorted(self.entries) if after is None or key > after][:limit]

    def get_many(self, keys: list[UserKey]) -> dict[UserKey, Entry]:
        return {key: self.entries[key] for key in keys if key in self.entries}

    def set_note(self, name: str, old: str | None, new: str | None) -> bool:
        if self.notes.get(name) != old:
            return False
        self.notes = {key: text for key, text in {**self.notes, name: new}.items() if text is not None}
        return True


async def does(storage: CredentialStorage, name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "replace":
        old, password, refused = arguments
        return await storage.replace(old, replace(old, password=password, refused=refused))
    return await getattr(storage, name)(*arguments)


async def wipe(storage: CredentialStorage) -> None:
    for entry in await everything(storage):
        assert await storage.delete(entry.key)
    for name in ("n", "N"):
        await storage.set_note(name, await storage.note(name), None)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_it_does_as_a_dictionary_does(storage: CredentialStorage, steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    await wipe(storage)
    for name, *arguments in steps:
        assert await does(storage, name, tuple(arguments)) == getattr(model, name)(*arguments), name
        assert await storage.count() == len(model.entries)
    assert await everything(storage) == model.page(None, 100)
    assert {name: await storage.note(name) for name in model.notes} == model.notes

"""What the collector looks at in a process with very many users."""

import gc
from collections.abc import Iterator

import pytest

from mailpush.work.garbage import LongLived


class Node:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.me = self
        self.one = [self]


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def looked_at(found: object) -> bool:
    """Whether a collection looks at the object."""
    return any(one is found for one in gc.get_objects())


def test_what_comes_to_stay_is_looked_at_until_enough_has_come() -> None:
    long_lived, kept = LongLived(every=3), []
    for number in range(3):
        kept.append(Node())
        assert looked_at(kept[0])
        assert number == len(kept) - 1
        long_lived.came()
    assert not any(looked_at(one) for one in kept)
    kept.append(Node())
    assert looked_at(kept[3])
    long_lived.came()
    assert looked_at(kept[3])


def test_garbage_of_lately_is_collected_and_not_frozen() -> None:
    collected: list[str] = []

    class Noted(Node):
        def __del__(self) -> None:
            collected.append("gone")

    Noted()
    LongLived().freeze()
    assert collected == ["gone"]


def test_what_is_frozen_is_freed_when_nobody_refers_to_it_any_more() -> None:
    collected: list[str] = []

    class Plain:
        def __del__(self) -> None:
            collected.append("gone")

    kept = [Plain()]
    LongLived().freeze()
    kept.clear()
    assert collected == ["gone"]

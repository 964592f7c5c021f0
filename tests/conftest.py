"""How the tests share two processes: a file stays in one, and those on real nodes are one after another in one."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
FIRST = ("nodes", "cluster")
"""Folders with the longest tests, longest first: what is left at the end is short, so that both processes end alike."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(group(item)))


def group(item: pytest.Item) -> str:
    """Real nodes fit on a machine once only; the tests of other files may run beside each other."""
    return "nodes" if item.get_closest_marker("nodes") else str(item.path.relative_to(HERE))


def rank(name: str) -> int:
    folder = name.split("/", maxsplit=1)[0]
    return FIRST.index(folder) if folder in FIRST else len(FIRST)

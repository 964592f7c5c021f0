"""How the tests share three processes: a file stays in one, and those on real nodes are one after another in one.

Real nodes fit on a machine once only. pytest-xdist's own groups go by the mark `xdist_group`, which its version 3.8
does not see under pytest 9.
"""

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

NODES: Final = ("tests/nodes/", "tests/dev/test_dev_nodes.py")
FIRST: Final = (*NODES, "tests/cluster/")
"""The longest tests begin first: what is left at the end is short, so that all processes end alike."""


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    def _split_scope(self, nodeid: str) -> str:
        return "nodes" if nodeid.startswith(NODES) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("nodes") and not item.nodeid.startswith(NODES):
            raise pytest.UsageError(f"{item.nodeid} needs real nodes: its file belongs into tests/nodes")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    return next((rank for rank, start in enumerate(FIRST) if nodeid.startswith(start)), len(FIRST))

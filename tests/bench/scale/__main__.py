"""`make bench-scale`: the parts that are named, or all, on one control plane. The last line is JSON."""

import asyncio
import json
import os
from types import MappingProxyType
from typing import Final

import click

from tests.bench.scale import leases, listener, operator, writes
from tests.bench.scale.rig import Figures, rig, say

PARTS: Final = MappingProxyType(
    {"operator": operator.run, "writes": writes.run, "leases": leases.run, "listener": listener.run}
)
"""In this order: the operator's part makes the users."""


async def measured(users: int, parts: tuple[str, ...]) -> Figures:
    figures: Figures = {"users": users}
    async with rig(users) as it:
        for name, run in PARTS.items():
            if name in parts:
                say(f"--- {name}")
                figures |= await run(it)
    return figures | {"cores": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)}


@click.command()
@click.option("--users", default=100_000, show_default=True, type=click.IntRange(min=100))
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
def main(users: int, parts: tuple[str, ...]) -> None:
    """Measures PARTS (default: all) with so many PushUsers."""
    print(json.dumps(asyncio.run(measured(users, parts or tuple(PARTS)))))


if __name__ == "__main__":
    main()

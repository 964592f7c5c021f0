"""What is mounted on this machine."""

from pathlib import Path
from typing import NamedTuple


class Mount(NamedTuple):
    """One line of /proc/mounts."""

    point: Path
    kind: str
    options: frozenset[str]


def mounts() -> list[Mount]:
    """All of them, in the order in which they were mounted."""
    lines = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [Mount(Path(fields[1]), fields[2], frozenset(fields[3].split(","))) for fields in lines]


def mounts_below(*folders: Path) -> list[Path]:
    """Mount points in or at one of the folders, the latest first: the order to take them away in."""
    return [one.point for one in reversed(mounts()) if any(one.point.is_relative_to(folder) for folder in folders)]

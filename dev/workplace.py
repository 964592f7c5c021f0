"""Temporary folders of builds. Their names hold the builder's pid, so that what a killed one left is known as such."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dev import memory, state
from dev.processes import alive

DISK: Final = Path("/var/tmp")
SHARED_MEMORY: Final = Path("/dev/shm")
_PREFIX: Final = "mail-push-build-"
_PLENTY: Final = 8 * 2**30  # bytes of memory to build in


@contextmanager
def temporary(place: Path = DISK) -> Iterator[Path]:
    """A new folder, for root alone, that is gone afterwards."""
    forget_killed()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place) as folder:
        yield Path(folder)


def forget_killed(places: tuple[Path, ...] = (DISK, SHARED_MEMORY)) -> None:
    """Removes the folders of builders that are gone."""
    for folder in (found for place in places for found in place.glob(f"{_PREFIX}*")):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if not (pid.isdigit() and alive(int(pid))) and not state.mounts_below(folder):
            shutil.rmtree(folder, ignore_errors=True)


def roomy() -> Path:
    """Memory where there is plenty of it, for a build writes and removes gigabytes; else the disk."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = [fields for fields in mounts if fields[1] == str(SHARED_MEMORY)]
    usable = bool(found) and found[-1][2] == "tmpfs" and "noexec" not in found[-1][3].split(",")
    if usable and min(memory.available(), shutil.disk_usage(SHARED_MEMORY).free) >= _PLENTY:
        return SHARED_MEMORY
    return DISK

"""Temporary folders of builds. Their names hold the builder's pid, so that what a killed one left is known as such."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dev.processes import memory
from dev.processes.group import alive
from dev.processes.mounts import mounts, mounts_below

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
        if not (pid.isdigit() and alive(int(pid))) and not mounts_below(folder):
            shutil.rmtree(folder, ignore_errors=True)


def roomy() -> Path:
    """Memory where there is plenty of it, for a build writes and removes gigabytes; else the disk."""
    found = [mount for mount in mounts() if mount.point == SHARED_MEMORY]
    usable = bool(found) and found[-1].kind == "tmpfs" and "noexec" not in found[-1].options
    if usable and min(memory.available(), shutil.disk_usage(SHARED_MEMORY).free) >= _PLENTY:
        return SHARED_MEMORY
    return DISK

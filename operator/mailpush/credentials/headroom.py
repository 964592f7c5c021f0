"""How much memory a key may take in this pod: a row that asks for all of it would end one pod after the other."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from mailpush.credentials.forms import LIMITS, Limits

CGROUP: Final = Path("/sys/fs/cgroup")
FILES: Final = ("memory.max", "memory/memory.limit_in_bytes")
"""Of cgroup v2 and v1, as a container sees its own."""
SHARE: Final = 4
FLOOR: Final = 64 * 1024
"""KiB; OX's parameters take 15 MiB."""


def pod_limits(cgroup: Path = CGROUP) -> Limits:
    """LIMITS, with at most a quarter of the container's memory limit where it has one."""
    for name in FILES:
        with suppress(OSError, ValueError):  # v2 says "max" where there is none
            limit = int((cgroup / name).read_text()) // 1024
            return replace(LIMITS, memory=min(LIMITS.memory, max(FLOOR, limit // SHARE)))
    return LIMITS

"""How much memory the machine has left."""

from pathlib import Path


def available() -> int:
    """Bytes that can be used without swapping."""
    return bytes_available(Path("/proc/meminfo").read_text())


def bytes_available(meminfo: str) -> int:
    """MemAvailable of /proc/meminfo, in bytes; 0 where there is none."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0

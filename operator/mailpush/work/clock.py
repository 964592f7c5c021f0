"""The clock of rights (protocol P5): it also runs while the machine sleeps, so a woken process knows it is late."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


def boottime() -> float:
    """Seconds since boot, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

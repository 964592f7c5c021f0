"""How fast, and when again."""

import random


def backoff(failures: int, first: float, longest: float) -> float:
    """Seconds before the next try after `failures` failures in a row (1 or more): doubled each time, with jitter.

    The jitter is from half to the whole, so that users who failed together do not come back together.
    """
    exponent = min(failures - 1, 30)
    return min(longest, first * 2.0**exponent) * random.uniform(0.5, 1.0)  # noqa: S311

"""Sets of slots as text that a person can read: `0-9,17`."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from mailpush.sharding.slots import SLOTS

_PART: Final = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def format_ranges(numbers: Iterable[int]) -> str:
    """The numbers in ascending order, neighbours joined: {0, 1, 2, 17} is `0-2,17`; nothing is the empty text."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in _runs(sorted(set(numbers))))


def parse_ranges(text: str, limit: int = SLOTS) -> frozenset[int]:
    """The numbers of a text made by `format_ranges`.

    Raises:
        ValueError: a part is no number and no range, a range runs backwards, or a number is `limit` or more.
    """
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part[:40]!r} is neither a number nor a range such as 0-9")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise ValueError(f"the range {part!r} runs backwards; write {last}-{first}")
        if last >= limit:
            raise ValueError(f"{part!r} goes beyond {limit - 1}, the last slot")
        numbers.update(range(first, last + 1))
    return frozenset(numbers)


def _runs(ascending: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in ascending:
        if first is not None and last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last

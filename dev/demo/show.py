"""How the demo speaks to the person who watches it."""

import sys
import time
from collections.abc import Sequence

_started = time.monotonic()


def chapter(title: str) -> None:
    """A heading with the time since the start."""
    seconds = int(time.monotonic() - _started)
    print(f"\n=== {seconds // 60}:{seconds % 60:02d}  {title}", flush=True)


def text(lines: str) -> None:
    print(lines.rstrip("\n"), flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as kubectl prints them."""
    cells = [list(map(str, head)), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()

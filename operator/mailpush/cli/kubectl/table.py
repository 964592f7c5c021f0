"""Columns for people."""

from collections.abc import Sequence

GAP = "   "


def columns(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines, each cell as wide as the widest of its column. Numbers stand to the right."""
    texts = [tuple(heading), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(heading))]
    right = [bool(rows) and all(isinstance(row[place], int) for row in rows) for place in range(len(heading))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if on_right else cell.ljust(width)
            for cell, width, on_right in zip(row, widths, right, strict=True)
        ]
        return GAP.join(cells).rstrip()

    return [line(row) for row in texts]

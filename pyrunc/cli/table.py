"""Columns for people, as runc lays them out."""

from __future__ import annotations

_LEAST_WIDTH, _GAP = 12, 3


def layout(rows: list[list[str]]) -> str:
    """A line per row. A column is as wide as its longest cell and a gap, and never below 12; the last one is
    not padded."""
    widths = [max(_LEAST_WIDTH, _GAP + max(map(len, column))) for column in zip(*rows, strict=True)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + row[-1] + "\n"
        for row in rows
    )

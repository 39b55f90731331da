"""Numbers to words: medians, ratios, tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

Samples = Mapping[str, Sequence[float]]  # runtime -> what was measured


def ratios(samples: Samples) -> dict[str, float]:
    """Of each median to that of the first runtime which has any."""
    middles = {name: median(values) for name, values in samples.items() if values}
    base = next(iter(middles.values()), 0.0)
    return {name: middle / base for name, middle in middles.items()} if base else {}


def describe(values: Sequence[float], digits: int = 1) -> str:
    """Median, and the minimum in parentheses."""
    if not values:
        return "-"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown, with columns that a person can read as they are."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def compare(what: str, measured: Mapping[str, Samples], digits: int = 1) -> str:
    """A row for each operation, a column for each runtime, then their ratios to the first."""
    names = list(next(iter(measured.values())))
    rows = []
    for operation, samples in measured.items():
        found = ratios(samples)
        cells = [describe(samples[name], digits) for name in names]
        rows.append([operation, *cells, *(f"{found[n]:.2f}" if n in found else "-" for n in names[1:])])
    return table([what, *names, *(f"{name}/{names[0]}" for name in names[1:])], rows)

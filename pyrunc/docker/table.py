"""Lists: `--format`'s templates, "table …", "json", "raw"; and columns as Docker's, text when piped.

A row is a dict: what a template may name, to its text (or to a method). A listing has the columns of the
default table as (name, header); further headers are for the names that only templates ask for.
"""

from __future__ import annotations

from pyrunc.docker.output import emit, is_coloured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeAlias

    Row: TypeAlias = dict[str, Any]

_LEAST_WIDTH, _PADDING = 10, 3
_BOLD, _GREEN, _RED, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r"}


def make_template(text: str) -> Any:
    """A gotemplate.Template. The module is imported now: most calls need none."""
    evaluate: Any = __import__("pyrunc.docker.gotemplate.evaluate", fromlist=("",))
    for escape, plain in _ESCAPES.items():
        text = text.replace(escape, plain)
    return evaluate.Template(text)


def to_json(value: Any) -> str:
    functions: Any = __import__("pyrunc.docker.gotemplate.functions", fromlist=("",))
    return str(functions.to_json(value))


def show_list(
    rows: Iterable[Row],
    columns: Sequence[tuple[str, str]],
    form: str = "",
    headers: dict[str, Any] | None = None,
    *,
    quiet: str = "",
) -> None:
    """`form`: of --format; `quiet`: the one column that -q shows."""
    if quiet and form in ("", "table"):
        emit("".join(f"{row[quiet]}\n" for row in rows))
    elif form in ("", "table"):
        cells = [[str(row[name]) for name, _ in columns] for row in rows]
        _show_table([header for _, header in columns], cells)
    elif form == "json":
        emit("".join(to_json(dict(sorted(row.items()))) + "\n" for row in rows))
    elif form.startswith("table"):
        _show_template_table(form.removeprefix("table").lstrip(), rows, {**dict(columns), **(headers or {})})
    else:
        template = make_template(form)
        emit("".join(template.apply(row) + "\n" for row in rows))


def _show_template_table(form: str, rows: Iterable[Row], headers: dict[str, Any]) -> None:
    template = make_template(form)
    heads = template.apply(headers).split("\t")
    _show_table(heads, [template.apply(row).split("\t") for row in rows])


def _show_table(headers: list[str], rows: list[list[str]]) -> None:
    emit(lay_out([headers, *rows], paint if is_coloured() else None))


def lay_out(
    lines: list[list[str]],
    paint: Callable[[str, int, str], str] | None = None,
    *,
    least_width: int = _LEAST_WIDTH,
) -> str:
    """Columns as wide as their widest cell, of at least `least_width`, three blanks between them; the last
    of a line is not filled."""
    widths: dict[int, int] = {}
    for line in lines:
        for column, cell in enumerate(line[:-1]):
            widths[column] = max(widths.get(column, least_width), len(cell) + _PADDING)
    made = []
    for number, line in enumerate(lines):
        for column, cell in enumerate(line):
            last = column == len(line) - 1
            blanks = "" if last else " " * (widths[column] - len(cell))
            made.append((paint(cell, number, lines[0][column]) if paint else cell) + blanks)
        made.append("\n")
    return "".join(made)


def paint(cell: str, number: int, header: str) -> str:
    """A cell on a terminal: headers are bold, a state has its colour."""
    if number == 0:
        return f"{_BOLD}{cell}{_PLAIN}"
    if header in ("STATUS", "STATE"):
        colour = _state_colour(cell.lower())
        return f"{colour}{cell}{_PLAIN}" if colour else cell
    return cell


def _state_colour(cell: str) -> str:
    if cell.startswith("up") or cell == "running":
        return _RED if "(unhealthy)" in cell else _YELLOW if "paused" in cell else _GREEN
    if cell.startswith("exited") and not cell.startswith("exited (0)"):
        return _RED
    return _YELLOW if cell.startswith(("restarting", "paused")) else ""

"""pyrunc logs: what a container with a shim has said."""

from __future__ import annotations

from time import time_ns

from pyrunc.cli.main import Settings, emit
from pyrunc.cli.shims import require
from pyrunc.errors import INVALID, PyruncError
from pyrunc.files import write_all
from pyrunc.options import TEXT, Command, Flag, Operand, parse_duration
from pyrunc.shim.logreader import Entry, Follower, parse_time, read
from pyrunc.shim.protocol import SETTINGS_FILE
from pyrunc.shim.settings import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="logs",
    summary="Print what a container of `run --shim` has said.",
    description="TIME is as in 2026-01-31T12:00:00Z, or a time span before now, as 10m.",
    flags=(
        Flag(name="follow", short="f", summary="Go on until the container has ended."),
        Flag(name="tail", short="n", kind=TEXT, default="all", placeholder="N", summary="Last N lines only."),
        Flag(name="since", kind=TEXT, placeholder="TIME", summary="Nothing that is older."),
        Flag(name="timestamps", short="t", summary="With the time of each line."),
    ),
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc logs --tail 20 --follow web", "pyrunc logs --since 10m -t web"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    directory = require(settings, given["container"])
    log = load(f"{directory}/{SETTINGS_FILE}").log
    tail, since = _parse_tail(given["tail"]), _parse_since(given["since"])
    entries = Follower(directory, log, tail=tail).entries() if given["follow"] else read(log, tail=tail)
    for entry in entries:
        if not since or parse_time(entry.time) >= since:
            _show(entry, with_time=given["timestamps"])
    return 0


def _parse_tail(text: str) -> int:
    if text != "all" and not (text.isascii() and text.isdigit()):
        raise PyruncError(INVALID, "invalid value for tail", text, "it is a number, or all")
    return -1 if text == "all" else int(text)


def _parse_since(text: str) -> int:
    try:
        return (
            time_ns() - int(parse_duration(text) * 1e9)
            if text[-1:].isalpha() and "T" not in text
            else (parse_time(text) if text else 0)
        )
    except ValueError:
        raise PyruncError(INVALID, "invalid value for since", text) from None


def _show(entry: Entry, *, with_time: bool) -> None:
    text = entry.time.encode() + b" " + entry.text if with_time else entry.text
    if entry.stream == 1:
        emit(text.decode("utf-8", "surrogateescape"))
    else:
        write_all(2, text)

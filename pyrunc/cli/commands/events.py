"""pyrunc events: what a container uses, and when it ran out of memory, as lines of JSON."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.cli.main import Settings, emit
from pyrunc.errors import INVALID, PyruncError
from pyrunc.options import DURATION, Command, Flag, Operand
from pyrunc.runtime.events import read_stats, watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="events",
    summary="Show what a container uses, and when it ran out of memory.",
    flags=(
        Flag(name="interval", kind=DURATION, default=5.0, placeholder="SPAN", summary="How often."),
        Flag(name="stats", summary="Show the figures once, then leave."),
    ),
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc events --stats web", "pyrunc events --interval 1m30s web"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    if given["interval"] <= 0:
        raise PyruncError(INVALID, "duration interval must be greater than 0")
    name = given["container"]
    if given["stats"]:
        figures = read_stats(settings.state_root, name)
        emit(jsonio.dumps({"type": "stats", "id": name, "data": figures}) + "\n")
        return 0
    for event in watch(settings.state_root, name, given["interval"]):
        emit(jsonio.dumps(event) + "\n")
    return 0

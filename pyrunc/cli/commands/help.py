"""pyrunc help: what `--help` shows."""

from __future__ import annotations

from pyrunc.cli import face
from pyrunc.cli.main import Settings, find
from pyrunc.options import Command, Operand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="help",
    summary="Show help, for all or for one command.",
    operands=(Operand(name="command", required=False, completes="command"),),
    examples=("pyrunc help run",),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    face.show_help(find(given["command"]).COMMAND.name if given["command"] else "")
    return 0

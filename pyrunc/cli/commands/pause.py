"""pyrunc pause: freeze every process of a container."""

from __future__ import annotations

from pyrunc.cli.main import Settings, ask_shim
from pyrunc.options import Command, Operand
from pyrunc.runtime.pause import pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="pause",
    summary="Freeze the processes of a container.",
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc pause web",),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    if not ask_shim(settings, given["container"], "pause"):
        pause(settings.state_root, given["container"])
    return 0

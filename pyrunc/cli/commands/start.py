"""pyrunc start: let a created container's process run its program."""

from __future__ import annotations

from pyrunc.cli.main import Settings, ask_shim
from pyrunc.options import Command, Operand
from pyrunc.runtime.start import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="start",
    summary="Start the program of a created container.",
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc create --bundle /containers/web web", "pyrunc start web"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    if not ask_shim(settings, given["container"], "start"):
        start(settings.state_root, given["container"])
    return 0

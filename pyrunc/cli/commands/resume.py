"""pyrunc resume: thaw what pause froze."""

from __future__ import annotations

from pyrunc.cli.main import Settings, ask_shim
from pyrunc.options import Command, Operand
from pyrunc.runtime.pause import resume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="resume",
    summary="Let a paused container go on.",
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc resume web",),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    if not ask_shim(settings, given["container"], "resume"):
        resume(settings.state_root, given["container"])
    return 0

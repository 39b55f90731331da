"""pyrunc resume: thaw what pause froze."""

from __future__ import annotations

from pyrunc.cli.main import Settings
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
    resume(settings.state_root, given["container"])
    return 0

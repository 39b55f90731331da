"""pyrunc restore: the other half of checkpoint, and no more there than that."""

from __future__ import annotations

from pyrunc.cli.main import Settings
from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.options import Command, Operand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="restore",
    summary="Not supported: bring back a container from a checkpoint.",
    operands=(Operand(name="words", required=False, many=True),),
    takes_anything=True,
    hidden=True,
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    raise PyruncError(UNSUPPORTED, "restore is not supported by pyrunc", hint="runc and crun can")

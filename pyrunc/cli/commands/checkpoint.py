"""pyrunc checkpoint: not there yet, and it must say so in a way that podman understands.

podman takes a `checkpoint --help` that succeeds for a promise, so no word is an option here.
"""

from __future__ import annotations

from pyrunc.cli.main import Settings
from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.options import Command, Operand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="checkpoint",
    summary="Not supported: save a running container to disk.",
    operands=(Operand(name="words", required=False, many=True),),
    takes_anything=True,
    hidden=True,
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    raise PyruncError(UNSUPPORTED, "checkpoint is not supported by pyrunc", hint="runc and crun can")

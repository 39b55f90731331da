"""pyrunc completion: a script for the shell, which asks pyrunc itself what may come next."""

from __future__ import annotations

from pyrunc.cli import face
from pyrunc.cli.main import Settings, emit
from pyrunc.errors import INVALID, PyruncError
from pyrunc.options import Command, Operand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="completion",
    summary="Print a completion script for bash, zsh or fish.",
    operands=(Operand(name="shell", completes="shell"),),
    examples=('eval "$(pyrunc completion bash)"', "pyrunc completion fish | source"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    if given["shell"] not in face.SHELLS:
        raise PyruncError(INVALID, "unknown shell", given["shell"], hint=f"one of {', '.join(face.SHELLS)}")
    emit(face.completion_script(given["shell"]))
    return 0

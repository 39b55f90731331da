"""pyrunc plan: what `run` would do, operation by operation; nothing is done."""

from __future__ import annotations

from pyrunc.cli.main import Settings, emit
from pyrunc.files import absolute
from pyrunc.options import Command, Operand
from pyrunc.runtime.plan import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="plan",
    summary="Show what `run` would do with a bundle, without doing it.",
    operands=(Operand(name="bundle", required=False, default=".", completes="file"),),
    examples=("pyrunc plan bundle/",),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    emit("".join(f"{line}\n" for line in describe(absolute(given["bundle"]))))
    return 0

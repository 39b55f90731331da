"""pyrunc wait: until a container with a shim has ended; its exit code."""

from __future__ import annotations

from pyrunc.cli.main import Settings, emit
from pyrunc.cli.shims import require
from pyrunc.options import Command, Operand
from pyrunc.shim.protocol import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="wait",
    summary="Wait until a container of `run --shim` has ended, and print its exit code.",
    description="Restarts are no end. A container that has ended long ago is remembered until it is deleted.",
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc run --detach --shim --bundle bundle/ web", "pyrunc wait web"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    emit(f"{wait(require(settings, given['container']))}\n")
    return 0

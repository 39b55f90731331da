"""pyrunc attach: our terminal, or our streams, at those of a container with a shim."""

from __future__ import annotations

from pyrunc.cli.main import Settings
from pyrunc.cli.shims import require
from pyrunc.options import TEXT, Command, Flag, Operand
from pyrunc.shim.protocol import DEFAULT_DETACH_KEYS
from pyrunc.shim.terminal import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="attach",
    summary="Attach to a container of `run --shim`: its output, and its input if it has one.",
    description="The exit code is the container's; 0 after the detach keys.",
    flags=(
        Flag(name="detach-keys", kind=TEXT, default=DEFAULT_DETACH_KEYS, placeholder="KEYS",
             summary="Keys that let go of it."),
        Flag(name="no-stdin", summary="Listen only."),
    ),
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc attach web", "pyrunc attach --detach-keys ctrl-x,q web"),
)  # fmt: skip


def main(settings: Settings, given: dict[str, Any]) -> int:
    directory = require(settings, given["container"])
    return attach(directory, detach_keys=given["detach-keys"], with_stdin=not given["no-stdin"])

"""pyrunc delete: remove what a stopped container left: its cgroups and its state."""

from __future__ import annotations

from pyrunc.cli.main import Settings
from pyrunc.options import Command, Flag, Operand
from pyrunc.runtime.delete import delete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="delete",
    summary="Remove a container that has stopped.",
    flags=(Flag(name="force", short="f", summary="Kill it first; no error if there is none by that name."),),
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc delete web", "pyrunc delete --force web"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    delete(settings.state_root, given["container"], force=given["force"])
    return 0

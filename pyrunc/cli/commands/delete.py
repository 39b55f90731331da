"""pyrunc delete: remove what a stopped container left: its cgroups and its state."""

from __future__ import annotations

import posix

from pyrunc.cli.main import SHIMS, Settings, names, shims_of
from pyrunc.options import Command, Flag, Operand
from pyrunc.runtime.delete import delete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="delete",
    summary="Remove a container that has stopped.",
    flags=(
        Flag(name="force", short="f", summary="Kill it first; no error if there is none by that name."),
        Flag(name="regex", short="r", summary="Every container whose name has what CONTAINER describes."),
    ),
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc delete web", "pyrunc delete --force web"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    for name in names(settings.state_root, given["container"], is_pattern=given["regex"]):
        shims = shims_of(settings, name)
        if shims is not None:
            shims.delete(settings, name, force=given["force"])
        elif not delete(settings.state_root, name, force=given["force"]):
            _remove_place_of_shims(settings.state_root)
    return 0


def _remove_place_of_shims(state_root: str) -> None:
    """Whoever was to make a container with the first of them may have been killed before there was one."""
    try:
        posix.rmdir(f"{state_root}/{SHIMS}")
    except OSError:
        pass  # it isn't there, or of use to others

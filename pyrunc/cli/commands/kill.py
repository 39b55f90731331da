"""pyrunc kill: send a signal to a container's init process."""

from __future__ import annotations

from pyrunc.cli.main import Settings, ask_shim, names
from pyrunc.kernel.signals import parse_signal
from pyrunc.options import Command, Flag, Operand
from pyrunc.runtime.kill import kill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="kill",
    summary="Send a signal to a container's init process.",
    description="SIGNAL is a number or a name, with or without SIG (default: TERM).",
    flags=(
        Flag(name="all", short="a", hidden=True, summary="Signal every process of the container."),
        Flag(name="regex", short="r", summary="Every container whose name has what CONTAINER describes."),
    ),
    operands=(
        Operand(name="container", completes="container"),
        Operand(name="signal", required=False, default="TERM"),
    ),
    examples=("pyrunc kill web", "pyrunc kill web HUP"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    signal = parse_signal(given["signal"])  # before any look-up: a typo is the user's, not the container's
    for name in names(settings.state_root, given["container"], is_pattern=given["regex"]):
        if not ask_shim(settings, name, "kill", signal=signal, everyone=given["all"]):
            kill(settings.state_root, name, signal, everyone=given["all"])
    return 0

"""pyrunc shim: leave a shim behind, for a container whose settings are in a directory."""

from __future__ import annotations

from pyrunc.cli.main import Settings, emit
from pyrunc.errors import PyruncError
from pyrunc.files import absolute
from pyrunc.options import Command, Operand
from pyrunc.shim import protocol
from pyrunc.shim.main import begin, launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="shim",
    summary="Start the shim of a container, by the shim.json in DIRECTORY.",
    description="For engines: `run --shim` does it by itself. The answer is a JSON document on stdout.",
    operands=(Operand(name="directory", completes="file"),),
    examples=("pyrunc shim /run/engine/containers/web",),
)


def main(_settings: Settings, given: dict[str, Any]) -> int:
    directory = absolute(given["directory"])
    try:
        launch(directory, begin(directory))
    except PyruncError as error:
        emit(protocol.encode_error(error).decode(errors="surrogateescape") + "\n")
        return 1
    emit("{}\n")
    return 0

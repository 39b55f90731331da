"""pyrunc state: what a container is doing, as the JSON document of the runtime specification."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.cli.main import Settings, emit, shims_of
from pyrunc.options import Command, Operand
from pyrunc.runtime.state import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="state",
    summary="Print a container's state as JSON.",
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc state web",),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    document = describe(settings.state_root, given["container"])
    shims = shims_of(settings, given["container"])
    if shims is not None:
        document["shim"] = shims.summary(settings, given["container"])
    emit(jsonio.dumps(document, indent=2) + "\n")
    return 0

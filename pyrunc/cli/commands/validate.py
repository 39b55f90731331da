"""pyrunc validate: everything that is wrong with a bundle, each with its place; nothing is run."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.cli.main import Settings, emit
from pyrunc.errors import INVALID, PyruncError
from pyrunc.files import absolute
from pyrunc.options import TEXT, Command, Flag, Operand
from pyrunc.runtime.validate import validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="validate",
    summary="Say what is wrong with a bundle, all at once.",
    description="The exit code is 1 if `create` would refuse it. Warnings don't count.",
    flags=(
        Flag(name="format", short="f", kind=TEXT, default="text", choices=("text", "json"), summary="How."),
    ),
    operands=(Operand(name="bundle", required=False, default=".", completes="file"),),
    examples=("pyrunc validate bundle/", "pyrunc validate --format json bundle/"),
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    if given["format"] not in ("text", "json"):
        raise PyruncError(INVALID, "invalid format option", given["format"], hint="text or json")
    findings = validate(absolute(given["bundle"]))
    levels = ["warning" if finding.is_warning else "error" for finding in findings]
    if given["format"] == "json":
        keys = ("level", "pointer", "reason")
        rows = [
            dict(zip(keys, (level, finding.pointer, finding.reason), strict=True))
            for level, finding in zip(levels, findings, strict=True)
        ]
        emit(jsonio.dumps(rows, indent=2) + "\n")
    else:
        for level, finding in zip(levels, findings, strict=True):
            emit(": ".join(part for part in (level, finding.pointer, finding.reason) if part) + "\n")
    return 1 if "error" in levels else 0

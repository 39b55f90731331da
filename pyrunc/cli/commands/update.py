"""pyrunc update: change the limits of a running container."""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.cli.main import Settings
from pyrunc.cli.units import FIELDS, document_of
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import read_once
from pyrunc.options import TEXT, Command, Flag, Operand
from pyrunc.runtime.update import update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SCHEMAS = ("l3-cache-schema", "mem-bw-schema")
COMMAND = Command(
    name="update",
    summary="Change the limits of a container.",
    description="Bytes may be given with k, m or g; -1 takes a limit away. Others stay as they are.",
    flags=(
        Flag(name="resources", short="r", kind=TEXT, placeholder="FILE",
             summary="A resources object, as JSON; - is stdin. Other options are then ignored."),
        *(Flag(name=field.flag, kind=TEXT, placeholder=field.placeholder, summary=field.summary,
               hidden=field.hidden) for field in FIELDS),
        Flag(name="l3-cache-schema", kind=TEXT, placeholder="LINE", summary="Share of L3 cache (resctrl)."),
        Flag(name="mem-bw-schema", kind=TEXT, placeholder="LINE", summary="Memory bandwidth (resctrl)."),
    ),
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc update --memory 512m --pids-limit 100 web", "pyrunc update -r limits.json web"),
)  # fmt: skip


def main(settings: Settings, given: dict[str, Any]) -> int:
    if given["resources"]:
        update(settings.state_root, given["container"], _read(given["resources"]))
        return 0
    schemas = tuple(given[name] for name in _SCHEMAS if given[name])
    for line in schemas:
        if "\n" in line:
            raise PyruncError(INVALID, "a schema of resctrl is one line", repr(line))
    update(settings.state_root, given["container"], document_of(given), schemas)
    return 0


def _read(name: str) -> dict[str, Any]:
    with doing("read resources", "stdin" if name == "-" else name):
        data = read_once(name)
    document = jsonio.loads(data, name)
    if type(document) is not dict:
        raise PyruncError(INVALID, "resources are not valid", name, "is not an object")
    return document

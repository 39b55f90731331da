"""pyrunc list: every container below the state root."""

from __future__ import annotations

import posix

from pyrunc import jsonio, log
from pyrunc.cli.main import Settings, emit
from pyrunc.cli.table import layout
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.options import TEXT, Command, Flag
from pyrunc.runtime.list import list_containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="list",
    summary="List containers.",
    flags=(
        Flag(name="format", short="f", kind=TEXT, default="table", choices=("table", "json"), summary="How."),
        Flag(name="quiet", short="q", summary="Names only."),
    ),
    examples=("pyrunc list", "pyrunc list --format json"),
)
_HEADER = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def main(settings: Settings, given: dict[str, Any]) -> int:
    if given["format"] not in ("table", "json"):
        raise PyruncError(INVALID, "invalid format option", given["format"], hint="table or json")
    if not settings.is_default_root:
        with doing("open state root", settings.state_root):
            posix.stat(settings.state_root)  # one that was named should be there; the default one may be new
    documents, warnings = list_containers(settings.state_root)
    for warning in warnings:
        log.warning(warning)
    if given["quiet"]:
        emit("".join(f"{document['id']}\n" for document in documents))
    elif given["format"] == "json":
        emit(jsonio.dumps(documents or None) + "\n")
    else:
        rows = [[str(document[name.lower()]) for name in _HEADER] for document in documents]
        emit(layout([list(_HEADER), *rows]))
    return 0

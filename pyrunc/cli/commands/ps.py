"""pyrunc ps: a container's processes, by the host's ps or as bare process ids."""

from __future__ import annotations

import posix

from pyrunc import jsonio
from pyrunc.cli.main import Settings, emit, load
from pyrunc.errors import INTERNAL, INVALID, PyruncError, doing
from pyrunc.options import TEXT, Command, Flag, Operand
from pyrunc.runtime.ps import list_processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="ps",
    summary="List the processes of a container.",
    description="Words after the container's name are options for the host's ps (default: -ef).",
    flags=(
        Flag(name="format", short="f", kind=TEXT, default="table", choices=("table", "json"), summary="How."),
    ),
    operands=(
        Operand(name="container", completes="container"),
        Operand(name="options", required=False, many=True),
    ),
    examples=("pyrunc ps web", "pyrunc ps --format json web", "pyrunc ps web -o pid,rss,args"),
    stops_at_operand=True,
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # podman calls us with no PATH at all


def main(settings: Settings, given: dict[str, Any]) -> int:
    if given["format"] not in ("table", "json"):
        raise PyruncError(INVALID, "invalid format option", given["format"], hint="table or json")
    pids = list_processes(settings.state_root, given["container"])
    if given["format"] == "json":
        emit(jsonio.dumps(pids) + "\n")
        return 0
    options = given["options"][1:] if given["options"][:1] == ["--"] else given["options"]
    environment = {**posix.environ, b"PATH": posix.environ.get(b"PATH", _PATH.encode())}
    command = ["ps", *(options or ["-ef"])]
    subprocess = load("subprocess")  # for the table alone: 11 ms
    with doing("run the host's ps"):
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise PyruncError(INTERNAL, "the host's ps failed", why=done.stderr.decode(errors="replace").strip())
    emit(rows_of(done.stdout.decode(errors="surrogateescape"), set(pids)))
    return 0


def rows_of(table: str, pids: set[int]) -> str:
    """The header, and the rows whose PID column has one of `pids`."""
    header, *rows = table.splitlines()
    if "PID" not in header.split():
        raise PyruncError(INVALID, "couldn't find PID field in ps output", hint="ask for it: -o pid,args")
    column = header.split().index("PID")
    kept = (row for row in rows if (cells := row.split())[column:] and int(cells[column]) in pids)
    return "".join(f"{line}\n" for line in (header, *kept))

"""pyr top, port, diff: small looks at one container."""

from __future__ import annotations

from pyrunc.docker.output import emit
from pyrunc.docker.table import lay_out
from pyrunc.docker.words import Verb
from pyrunc.errors import NOT_FOUND, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

TOP = Verb(name="top", summary="Show the processes of a container.", usage="CONTAINER [ps OPTIONS]", least=1,
           most=-1, stops_at_operand=True)  # fmt: skip
PORT = Verb(name="port", summary="Show where ports of a container are published.",
            usage="CONTAINER [PRIVATE_PORT[/PROTO]]", least=1, most=2)  # fmt: skip
DIFF = Verb(
    name="diff", summary="Show which files a container has changed.", usage="CONTAINER", least=1, most=1
)
_KINDS = "CAD"  # changed, added, deleted


def top(session: Session, given: dict[str, Any]) -> int:
    name, *arguments = given["words"]
    query = {"ps_args": " ".join(arguments)} if arguments else None
    found = session.get(f"/containers/{name}/top", query=query)
    emit(lay_out([found["Titles"], *(found["Processes"] or ())], least_width=20))
    return 0


def port(session: Session, given: dict[str, Any]) -> int:
    """Of one port: exit code 1 if it is not published."""
    name, *wanted = given["words"]
    ports = session.get(f"/containers/{name}/json")["NetworkSettings"]["Ports"] or {}
    if not wanted:
        lines = [
            f"{port} -> {_address(binding)}\n" for port in sorted(ports) for binding in ports[port] or ()
        ]
        emit("".join(sorted(lines)))
        return 0
    number, slash, protocol = wanted[0].partition("/")
    found = ports.get(f"{number}/{protocol if slash else 'tcp'}")
    if not found:
        raise PyruncError(NOT_FOUND, f"No public port '{wanted[0]}' published for {name}")
    emit("".join(f"{_address(binding)}\n" for binding in found))
    return 0


def _address(binding: dict[str, str]) -> str:
    address = binding["HostIp"] or "0.0.0.0"
    return f"[{address}]:{binding['HostPort']}" if ":" in address else f"{address}:{binding['HostPort']}"


def diff(session: Session, given: dict[str, Any]) -> int:
    found = session.get(f"/containers/{given['words'][0]}/changes")
    emit("".join(f"{_KINDS[one['Kind']]} {one['Path']}\n" for one in found or ()))
    return 0


COMMANDS = {"top": (TOP, top), "port": (PORT, port), "diff": (DIFF, diff)}

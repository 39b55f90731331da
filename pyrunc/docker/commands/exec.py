"""pyr exec: a further process in a container."""

from __future__ import annotations

from pyrunc.docker.attached import code_of, connect, require_terminal
from pyrunc.docker.output import complain
from pyrunc.docker.pairs import read_pairs
from pyrunc.docker.streams import terminal_size
from pyrunc.docker.words import Verb
from pyrunc.errors import PyruncError
from pyrunc.options import TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

EXEC = Verb(
    name="exec",
    summary="Run a command in a container that runs.",
    usage="[OPTIONS] CONTAINER COMMAND [ARG...]",
    examples=("pyr exec -it web sh",),
    flags=(
        Flag(name="detach", short="d", summary="Do not wait for it."),
        Flag(name="detach-keys", kind=TEXT, summary="Keys that leave it running (ctrl-p,ctrl-q)."),
        Flag(name="env", short="e", kind=TEXTS, summary="An environment variable: NAME=VALUE."),
        Flag(name="env-file", kind=TEXTS, summary="A file of them."),
        Flag(name="interactive", short="i", summary="Give it our stdin."),
        Flag(name="privileged", summary="All capabilities."),
        Flag(name="tty", short="t", summary="A terminal."),
        Flag(name="user", short="u", kind=TEXT, summary="User and group: NAME|ID[:GROUP]."),
        Flag(name="workdir", short="w", kind=TEXT, summary="Working directory."),
    ),
    least=2,
    most=-1,
    stops_at_operand=True,
)


def exec_(session: Session, given: dict[str, Any]) -> int:
    name, *command = given["words"]
    is_attached = not given["detach"]
    if is_attached:
        require_terminal(given["tty"], given["interactive"])
    rows, columns = terminal_size(1) if given["tty"] else (0, 0)
    body = {
        "User": given["user"],
        "Privileged": given["privileged"],
        "Tty": given["tty"],
        "ConsoleSize": [rows, columns] if rows else None,
        "AttachStdin": given["interactive"] and is_attached,
        "AttachStdout": is_attached,
        "AttachStderr": is_attached,
        "Detach": given["detach"],
        "DetachKeys": given["detach-keys"],
        "Env": read_pairs(given["env-file"], given["env"], looks_up=True) or None,
        "WorkingDir": given["workdir"],
        "Cmd": command,
    }
    try:
        id = session.post(f"/containers/{name}/exec", body=body)["Id"]
        if given["detach"]:
            session.post(f"/exec/{id}/start", body={"Detach": True, "Tty": given["tty"]})
            return 0
        return _run(session, given, id, body)
    except PyruncError as error:
        code = code_of(error)
        if code not in (126, 127):
            raise
        complain(str(error))
        return code


def _run(session: Session, given: dict[str, Any], id: str, asked: dict[str, Any]) -> int:
    """Signals are not passed on: they would be the container's, not this process's."""
    body = {"Detach": False, "Tty": given["tty"], "ConsoleSize": asked["ConsoleSize"]}
    with session.upgrade("POST", f"/exec/{id}/start", body=body) as peer:
        has_ended = connect(
            session,
            peer,
            is_tty=given["tty"],
            takes_input=given["interactive"],
            keys=given["detach-keys"],
            resize_path=f"/exec/{id}/resize",
        )
    return int(session.get(f"/exec/{id}/json")["ExitCode"] or 0) if has_ended else 0


COMMANDS = {"exec": (EXEC, exec_)}

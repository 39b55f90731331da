"""pyr run, create: a new container."""

from __future__ import annotations

import posix

from pyrunc.api.status import HttpError
from pyrunc.docker.attached import code_of, connect, exit_code, require_terminal
from pyrunc.docker.output import complain, line
from pyrunc.docker.request import make_request
from pyrunc.docker.runflags import CREATE_FLAGS, RUN_FLAGS
from pyrunc.docker.streams import terminal_size
from pyrunc.docker.words import PROGRAM, Misused, Verb
from pyrunc.errors import CONFLICT, NOT_FOUND, PyruncError, doing
from pyrunc.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

_USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
_PULLS = ("always", "missing", "never")
_DETACH_CODE = 0

RUN = Verb(
    name="run",
    summary="Create and run a new container from an image.",
    usage=_USAGE,
    examples=("pyr run -p 8080:80 IMAGE", "pyr run --rm -it IMAGE sh"),
    flags=(*CREATE_FLAGS, *RUN_FLAGS),
    least=1,
    most=-1,
    stops_at_operand=True,
)
CREATE = Verb(
    name="create",
    summary="Create a container, which `start` starts.",
    usage=_USAGE,
    flags=CREATE_FLAGS,
    least=1,
    most=-1,
    stops_at_operand=True,
)


def create(session: Session, given: Given) -> int:
    line(_create(session, given))
    return 0


def run(session: Session, given: Given) -> int:
    if given["detach"] and given["rm"] and given["restart"] not in ("", "no"):
        raise Misused("conflicting options: cannot specify both --restart and --rm")
    if not given["detach"]:
        try:
            require_terminal(given["tty"], given["interactive"])
        except PyruncError as error:
            complain(str(error))
            return 1
    id = _create(session, given)
    try:
        if given["detach"]:
            session.post(f"/containers/{id}/start")
            line(id)
            return 0
        return _run_attached(session, given, id)
    except PyruncError as error:
        code = code_of(error)
        text = f"Error response from daemon: {error}" if isinstance(error, HttpError) else str(error)
        hint = f"\nhint: {error.hint}" if error.hint else ""
        complain(f"{PROGRAM}: {text}{hint}\n\nRun '{PROGRAM} run --help' for more information")
        if given["rm"]:
            _discard(session, id)
        return code


def _discard(session: Session, id: str) -> None:
    """One that was not started, so that nobody else would remove it."""
    try:
        session.delete(f"/containers/{id}", query={"v": True})
    except PyruncError:
        pass  # the daemon has done so already; or it runs, and goes when it ends


def _run_attached(session: Session, given: Given, id: str) -> int:
    """The wait is asked for first: it misses nothing, however short the container's life is."""
    attached = _wanted_streams(given)
    condition = "removed" if given["rm"] else "next-exit"
    path = f"/containers/{id}"
    with session.stream("POST", f"{path}/wait", query={"condition": condition}) as waiting:
        query = {"stream": True, **attached, "detachKeys": given["detach-keys"]}
        with session.upgrade("POST", f"{path}/attach", query=query) as peer:
            has_ended = connect(
                session,
                peer,
                is_tty=given["tty"],
                takes_input=attached["stdin"],
                keys=given["detach-keys"],
                resize_path=f"{path}/resize",
                kill_path=f"{path}/kill" if given["sig-proxy"] else "",
                begin=lambda: session.post(f"{path}/start"),
            )
        return exit_code(waiting) if has_ended else _DETACH_CODE


def _wanted_streams(given: Given) -> dict[str, bool]:
    asked = [name.lower() for name in given["attach"]] or ["stdin", "stdout", "stderr"]
    wanted = {name: name in asked for name in ("stdin", "stdout", "stderr")}
    wanted["stdin"] = wanted["stdin"] and given["interactive"]
    return wanted


def _create(session: Session, given: Given) -> str:
    """The id of the new container. Raises PyruncError."""
    if given["pull"] not in _PULLS:
        RUN.refuse_value("pull", given["pull"], f"must be one of {', '.join(_PULLS)}")
    request = make_request(given)
    rows, columns = terminal_size(1) if given["tty"] else (0, 0)
    if rows:
        request["HostConfig"]["ConsoleSize"] = [rows, columns]
    cidfile = _reserve(given["cidfile"]) if given["cidfile"] else -1
    try:
        made = _ask(session, given, request)
        if cidfile >= 0:
            write_all(cidfile, made["Id"].encode())
    except BaseException:
        if cidfile >= 0:
            posix.unlink(given["cidfile"])
        raise
    for warning in made.get("Warnings") or ():
        complain(f"WARNING: {warning}")
    return str(made["Id"])


def _reserve(path: str) -> int:
    try:
        with doing("create the container id file", path):
            return posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o644)
    except PyruncError as error:
        if type(error.__cause__) is not FileExistsError:
            raise
        raise PyruncError(
            CONFLICT,
            "container ID file found, make sure the other container isn't running or delete " + path,
        ) from None


def _ask(session: Session, given: Given, request: dict[str, Any]) -> dict[str, Any]:
    query = {"name": given["name"] or None, "platform": given["platform"] or None}
    if given["pull"] == "always":
        _pull(session, given)
    try:
        made: dict[str, Any] = session.post("/containers/create", query=query, body=request)
    except PyruncError as error:
        if error.kind != NOT_FOUND or "No such image" not in str(error) or given["pull"] != "missing":
            raise
        if not given["quiet"]:
            complain(f"Unable to find image '{request['Image']}' locally")
        _pull(session, given)
        made = session.post("/containers/create", query=query, body=request)
    return made


def _pull(session: Session, given: Given) -> None:
    transfers: Any = __import__("pyrunc.docker.commands.transfers", fromlist=("",))
    transfers.pull_one(session, given["words"][0], platform=given["platform"], quiet=given["quiet"], to=2)


COMMANDS = {"run": (RUN, run), "create": (CREATE, create)}

"""pyr start, attach: containers that are there already."""

from __future__ import annotations

from pyrunc.docker.attached import connect, exit_code, require_terminal
from pyrunc.docker.commands.verbs import for_each
from pyrunc.docker.words import Verb
from pyrunc.errors import CONFLICT, INVALID, NOT_MODIFIED, PyruncError
from pyrunc.options import TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

_KEYS = Flag(name="detach-keys", kind=TEXT, summary="Keys that leave it running (ctrl-p,ctrl-q).")
_PROXY = Flag(name="sig-proxy", default=True, summary="Pass signals on to it.")
START = Verb(
    name="start",
    summary="Start containers.",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    flags=(
        Flag(name="attach", short="a", summary="Show what it says, and leave with its exit code."),
        _KEYS,
        Flag(name="interactive", short="i", summary="Give it our stdin."),
    ),
    least=1,
    most=-1,
)
ATTACH = Verb(
    name="attach",
    summary="Take part in the streams of a container that runs.",
    usage="[OPTIONS] CONTAINER",
    flags=(_KEYS, Flag(name="no-stdin", summary="Only look."), _PROXY),
    least=1,
    most=1,
)


def start(session: Session, given: Given) -> int:
    if not given["attach"] and not given["interactive"]:
        return for_each(given["words"], lambda name: session.post(f"/containers/{name}/start"))
    if len(given["words"]) > 1:
        raise PyruncError(INVALID, "you cannot start and attach multiple containers at once")
    found = session.get(f"/containers/{given['words'][0]}/json")

    def begin(path: str) -> None:
        try:
            session.post(f"{path}/start")
        except PyruncError as error:
            if error.kind != NOT_MODIFIED:
                raise

    condition = "removed" if found["HostConfig"]["AutoRemove"] else "next-exit"
    return _take_part(session, found, given, condition, given["interactive"], begin)


def attach(session: Session, given: Given) -> int:
    found = session.get(f"/containers/{given['words'][0]}/json")
    state = found["State"]
    for key, words in (("Paused", "paused container, unpause it first"), ("Restarting", "restarting container"
                       ", wait until it is running")):  # fmt: skip
        if state[key]:
            raise PyruncError(CONFLICT, f"you cannot attach to a {words}")
    if not state["Running"]:
        raise PyruncError(CONFLICT, "you cannot attach to a stopped container, start it first")
    takes_input = not given["no-stdin"] and found["Config"]["OpenStdin"]
    condition = "removed" if found["HostConfig"]["AutoRemove"] else "not-running"
    return _take_part(session, found, given, condition, takes_input, None)


def _take_part(
    session: Session, found: dict[str, Any], given: Given, condition: str, wants_input: bool, begin: Any
) -> int:
    is_tty = found["Config"]["Tty"]
    takes_input = wants_input and found["Config"]["OpenStdin"]
    require_terminal(is_tty, takes_input)
    path = f"/containers/{found['Id']}"
    query = {
        "stream": True, "stdin": takes_input, "stdout": True, "stderr": True,
        "detachKeys": given["detach-keys"] or None,
    }  # fmt: skip
    with session.stream("POST", f"{path}/wait", query={"condition": condition}) as waiting:
        with session.upgrade("POST", f"{path}/attach", query=query) as peer:
            has_ended = connect(
                session,
                peer,
                is_tty=is_tty,
                takes_input=takes_input,
                keys=given["detach-keys"],
                resize_path=f"{path}/resize",
                kill_path=f"{path}/kill" if given.get("sig-proxy", True) else "",
                begin=(lambda: begin(path)) if begin else None,
            )
        return exit_code(waiting) if has_ended else 0


COMMANDS = {"start": (START, start), "attach": (ATTACH, attach)}

"""pyr logs: what a container has said."""

from __future__ import annotations

from time import time

from pyrunc.docker.output import emit_bytes
from pyrunc.docker.streams import show_frames
from pyrunc.docker.units import epoch
from pyrunc.docker.words import Verb
from pyrunc.errors import INVALID, PyruncError
from pyrunc.options import TEXT, Flag, parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

LOGS = Verb(
    name="logs",
    summary="Show what a container has said.",
    usage="[OPTIONS] CONTAINER",
    least=1,
    most=1,
    flags=(
        Flag(name="details", summary="Further attributes; there are none."),
        Flag(name="follow", short="f", summary="Go on until it ends."),
        Flag(name="since", kind=TEXT, summary="Not what is older: 2025-01-02T13:23:37Z, or 42m."),
        Flag(name="until", kind=TEXT, summary="Not what is younger."),
        Flag(name="tail", short="n", kind=TEXT, default="all", summary="The last so many lines."),
        Flag(name="timestamps", short="t", summary="With times."),
    ),
)


def moment(text: str) -> str | None:
    """Of --since and --until, as the API has it: seconds since 1970. Raises PyruncError INVALID."""
    if not text:
        return None
    if text.replace(".", "", 1).isdigit():
        return text
    try:
        return f"{time() - parse_duration(text):.9f}"
    except ValueError:
        pass
    if len(text) < 10 or text[4] != "-":
        raise PyruncError(INVALID, f"invalid time: {text}", hint="2025-01-02T13:23:37Z, 42m or 1735824217")
    return f"{epoch(text):.9f}"


def logs(session: Session, given: dict[str, Any]) -> int:
    path = f"/containers/{given['words'][0]}"
    is_tty = session.get(f"{path}/json")["Config"]["Tty"]
    query = {
        "stdout": True,
        "stderr": True,
        "follow": given["follow"],
        "timestamps": given["timestamps"],
        "details": given["details"],
        "tail": given["tail"],
        "since": moment(given["since"]),
        "until": moment(given["until"]),
    }
    rest = b""
    with session.stream("GET", f"{path}/logs", query=query) as answer:
        for piece in answer.pieces():
            if is_tty:
                emit_bytes(piece)
            else:
                rest = show_frames(rest + piece)
    return 0


COMMANDS = {"logs": (LOGS, logs)}

"""pyr stop, restart, kill, pause, unpause, wait, rename, rm, update: one request for each container named.

One that fails does not keep the others from being asked; then the exit code is 1.
"""

from __future__ import annotations

from pyrunc.api.status import HttpError
from pyrunc.docker.output import complain, line
from pyrunc.docker.request import parse_restart
from pyrunc.docker.units import parse_bytes
from pyrunc.docker.words import REAL, Verb
from pyrunc.errors import NOT_FOUND, NOT_MODIFIED, PyruncError
from pyrunc.options import NUMBER, TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]

_MANY = "CONTAINER [CONTAINER...]"


def for_each(
    names: Iterable[str],
    do: Callable[[str], Any],
    show: Callable[[str, Any], str] | None = None,
    forgiven: str = "",
) -> int:
    """The exit code. `show`: what is printed of one that succeeded: its name, if nothing is said. `forgiven`:
    a kind of error that is told, and fails nothing."""
    code = 0
    for name in names:
        try:
            answer = do(name)
        except PyruncError as error:
            if error.kind != NOT_MODIFIED:
                complain(
                    f"Error response from daemon: {error}" if isinstance(error, HttpError) else str(error)
                )
                code = code if error.kind == forgiven else 1
                continue
            answer = None
        line(show(name, answer) if show else name)
    return code


def _verb(name: str, summary: str, *flags: Flag, usage: str = f"[OPTIONS] {_MANY}") -> Verb:
    return Verb(name=name, summary=summary, usage=usage, flags=flags, least=1, most=-1)


_SIGNAL = Flag(name="signal", short="s", kind=TEXT, summary="The signal to send.")
_TIME = Flag(name="timeout", short="t", kind=NUMBER, summary="Seconds until it is killed; -1: never.")
_TIME_OLD = Flag(name="time", kind=NUMBER, summary="As --timeout.", hidden=True)


def _ending(verb: str) -> Callable[[Session, Given], int]:
    def end(session: Session, given: Given) -> int:
        asked = [name for name in ("timeout", "time") if name in given["given"]]
        query = {"t": given[asked[0]] if asked else None, "signal": given["signal"] or None}
        return for_each(given["words"], lambda name: session.post(f"/containers/{name}/{verb}", query=query))

    return end


def _simple(verb: str) -> Callable[[Session, Given], int]:
    return lambda session, given: for_each(
        given["words"], lambda name: session.post(f"/containers/{name}/{verb}")
    )


def kill(session: Session, given: Given) -> int:
    query = {"signal": given["signal"] or None}
    return for_each(given["words"], lambda name: session.post(f"/containers/{name}/kill", query=query))


def wait(session: Session, given: Given) -> int:
    """Prints the exit codes."""
    return for_each(
        given["words"],
        lambda name: session.post(f"/containers/{name}/wait"),
        lambda _, answer: str(answer["StatusCode"]),
    )


def rename(session: Session, given: Given) -> int:
    name, new = given["words"]
    session.post(f"/containers/{name}/rename", query={"name": new})
    return 0


def remove(session: Session, given: Given) -> int:
    """With --force, one that is not there is no failure."""
    query = {"force": given["force"], "v": given["volumes"], "link": given["link"]}

    def one(name: str) -> None:
        session.delete(f"/containers/{name}", query=query)

    return for_each(given["words"], one, forgiven=NOT_FOUND if given["force"] else "")


_UPDATED = {
    "blkio-weight": "BlkioWeight", "cpu-period": "CpuPeriod", "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod", "cpu-rt-runtime": "CpuRealtimeRuntime", "cpu-shares": "CpuShares",
    "cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems", "pids-limit": "PidsLimit",
}  # fmt: skip
_UPDATED_BYTES = {"memory": "Memory", "memory-reservation": "MemoryReservation"}


def update(session: Session, given: Given) -> int:
    body = {key: given[name] for name, key in _UPDATED.items() if name in given["given"]}
    body.update({key: parse_bytes(given[name]) for name, key in _UPDATED_BYTES.items() if given[name]})
    if given["memory-swap"]:
        body["MemorySwap"] = -1 if given["memory-swap"] == "-1" else parse_bytes(given["memory-swap"])
    if given["cpus"]:
        body["NanoCpus"] = round(given["cpus"] * 1_000_000_000)
    if given["restart"]:
        body["RestartPolicy"] = parse_restart(given["restart"])

    def one(name: str) -> None:
        answer = session.post(f"/containers/{name}/update", body=body)
        for warning in (answer or {}).get("Warnings") or ():
            complain(f"WARNING: {warning}")

    return for_each(given["words"], one)


def _limit(name: str, kind: str, summary: str, short: str = "") -> Flag:
    return Flag(name=name, kind=kind, summary=summary, short=short)


_UPDATE = _verb(
    "update",
    "Change limits and the restart policy of containers.",
    _limit("blkio-weight", NUMBER, "Block I/O weight, 10 to 1000."),
    _limit("cpu-period", NUMBER, "Period of the CPU quota, in microseconds."),
    _limit("cpu-quota", NUMBER, "CPU time within a period, in microseconds."),
    _limit("cpu-rt-period", NUMBER, "Period of realtime scheduling, in microseconds."),
    _limit("cpu-rt-runtime", NUMBER, "Realtime CPU time within a period, in microseconds."),
    _limit("cpu-shares", NUMBER, "Weight among containers that want the CPU.", "c"),
    _limit("cpus", REAL, "How many CPUs it may use."),
    _limit("cpuset-cpus", TEXT, "Which CPUs."),
    _limit("cpuset-mems", TEXT, "Which memory nodes."),
    _limit("memory", TEXT, "Memory limit.", "m"),
    _limit("memory-reservation", TEXT, "Memory that it may keep when memory is short."),
    _limit("memory-swap", TEXT, "Limit of memory and swap together; -1: unlimited swap."),
    _limit("pids-limit", NUMBER, "How many processes it may have; -1: any number."),
    _limit("restart", TEXT, "When to start it again."),
)
_RM = _verb(
    "rm",
    "Remove containers.",
    Flag(name="force", short="f", summary="One that runs as well: it is killed."),
    Flag(name="link", short="l", summary="Remove a link."),
    Flag(name="volumes", short="v", summary="Its anonymous volumes as well."),
)
_RENAME = Verb(name="rename", summary="Rename a container.", usage="CONTAINER NEW_NAME", least=2, most=2)

COMMANDS = {
    "stop": (_verb("stop", "Stop containers.", _SIGNAL, _TIME, _TIME_OLD), _ending("stop")),
    "restart": (_verb("restart", "Stop containers and start them again.", _SIGNAL, _TIME, _TIME_OLD),
                _ending("restart")),
    "kill": (_verb("kill", "Send a signal to containers (KILL if none is named).", _SIGNAL), kill),
    "pause": (_verb("pause", "Pause all processes of containers.", usage=_MANY), _simple("pause")),
    "unpause": (_verb("unpause", "Let paused containers go on.", usage=_MANY), _simple("unpause")),
    "wait": (_verb("wait", "Wait for containers to end, and print their exit codes.", usage=_MANY), wait),
    "rename": (_RENAME, rename),
    "rm": (_RM, remove),
    "update": (_UPDATE, update),
}  # fmt: skip

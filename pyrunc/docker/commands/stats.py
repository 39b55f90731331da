"""pyr stats: what containers use, once or as it changes."""

from __future__ import annotations

from select import POLLIN, poll

from pyrunc import jsonio
from pyrunc.docker.output import complain, emit, is_terminal
from pyrunc.docker.table import show_list
from pyrunc.docker.units import binary_size, human_size
from pyrunc.docker.words import Verb
from pyrunc.errors import PyruncError
from pyrunc.options import TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

STATS = Verb(
    name="stats",
    summary="Show what containers use.",
    usage="[OPTIONS] [CONTAINER...]",
    most=-1,
    flags=(
        Flag(name="all", short="a", summary="Those that do not run as well."),
        Flag(name="format", kind=TEXT, summary="table, json, or a template of Go's."),
        Flag(name="no-stream", summary="Once."),
        Flag(name="no-trunc", summary="Whole ids."),
    ),
)
_COLUMNS = (
    ("ID", "CONTAINER ID"), ("Name", "NAME"), ("CPUPerc", "CPU %"), ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"), ("NetIO", "NET I/O"), ("BlockIO", "BLOCK I/O"), ("PIDs", "PIDS"),
)  # fmt: skip
_HEADERS = {"Container": "CONTAINER"}
_CLEAR = "\x1b[H\x1b[2J"


def stats(session: Session, given: dict[str, Any]) -> int:
    names = given["words"] or [
        one["Id"] for one in session.get("/containers/json", query={"all": given["all"]})
    ]
    if given["no-stream"]:
        found = [session.get(f"/containers/{name}/stats", query={"stream": "0"}) for name in names]
        _show(found, names, given)
        return 0
    return _follow(session, names, given)


def _show(found: list[dict[str, Any]], names: list[str], given: dict[str, Any]) -> None:
    rows = [make_row(one, name, is_whole=given["no-trunc"]) for one, name in zip(found, names, strict=True)]
    show_list(rows, _COLUMNS, given["format"], _HEADERS)


def _follow(session: Session, names: list[str], given: dict[str, Any]) -> int:
    """All at once: one connection each. The last numbers of one that has ended stay."""
    streams: dict[int, tuple[str, Any]] = {}
    watch = poll()
    last: dict[str, dict[str, Any]] = {}
    for name in names:
        answer = session.stream("GET", f"/containers/{name}/stats", query={"stream": "1"})
        streams[answer.fileno()] = name, answer.pieces()
        watch.register(answer.fileno(), POLLIN)
    while streams:
        for descriptor, _ in watch.poll():
            name, pieces = streams[descriptor]
            try:
                last[name] = jsonio.loads(next(pieces), "statistics")
            except StopIteration:
                watch.unregister(descriptor)
                del streams[descriptor]
            except PyruncError as error:
                complain(str(error))
                return 1
        if len(last) == len(names):
            emit(_CLEAR if is_terminal(1) else "")
            _show([last[name] for name in names], names, given)
    return 0


def make_row(one: dict[str, Any], name: str, *, is_whole: bool) -> dict[str, str]:
    """Pure. `one`: of GET /containers/…/stats; one that does not run has no numbers."""
    memory = one.get("memory_stats") or {}
    used, limit = _memory(memory), memory.get("limit") or 0
    received = sum(each.get("rx_bytes") or 0 for each in (one.get("networks") or {}).values())
    sent = sum(each.get("tx_bytes") or 0 for each in (one.get("networks") or {}).values())
    read, written = _blocks(one.get("blkio_stats") or {})
    return {
        "ID": one["id"] if is_whole else one["id"][:12],
        "Name": one.get("name", "").removeprefix("/"),
        "Container": name,
        "CPUPerc": f"{cpu_percent(one):.2f}%",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{human_size(received, 3)} / {human_size(sent, 3)}",
        "BlockIO": f"{human_size(read, 3)} / {human_size(written, 3)}",
        "PIDs": str((one.get("pids_stats") or {}).get("current") or 0),
    }


def _memory(memory: dict[str, Any]) -> int:
    """Without the page cache that can go: total_inactive_file with cgroup v1, inactive_file with v2."""
    details, usage = memory.get("stats") or {}, memory.get("usage") or 0
    inactive = details.get("total_inactive_file", details.get("inactive_file")) or 0
    return usage - inactive if inactive < usage else usage


def cpu_percent(one: dict[str, Any]) -> float:
    """Of one CPU: 200 is two of them."""
    now, before = one.get("cpu_stats") or {}, one.get("precpu_stats") or {}
    used = _total(now) - _total(before)
    system = (now.get("system_cpu_usage") or 0) - (before.get("system_cpu_usage") or 0)
    if used <= 0 or system <= 0:
        return 0.0
    return used / system * (now.get("online_cpus") or 1) * 100


def _total(stats: dict[str, Any]) -> int:
    return int((stats.get("cpu_usage") or {}).get("total_usage") or 0)


def _blocks(stats: dict[str, Any]) -> tuple[int, int]:
    sums = {"r": 0, "w": 0}
    for entry in stats.get("io_service_bytes_recursive") or ():
        operation = entry.get("op", "")[:1].lower()
        if operation in sums:
            sums[operation] += entry.get("value") or 0
    return sums["r"], sums["w"]


COMMANDS = {"stats": (STATS, stats)}

"""pyr ps: containers in a list."""

from __future__ import annotations

from time import time

from pyrunc import jsonio
from pyrunc.docker.filters import make_filters
from pyrunc.docker.table import show_list
from pyrunc.docker.units import ago, ellipsis, human_size
from pyrunc.docker.words import Verb
from pyrunc.options import NUMBER, TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

PS = Verb(
    name="ps",
    summary="List containers.",
    usage="[OPTIONS]",
    flags=(
        Flag(name="all", short="a", summary="Those that do not run as well."),
        Flag(name="filter", short="f", kind=TEXTS, summary="Only some: status=exited, name=web, label=a=b …"),
        Flag(name="format", kind=TEXT, summary="table, json, or a template of Go's: '{{.ID}} {{.Names}}'."),
        Flag(name="last", short="n", kind=NUMBER, default=-1, summary="The last so many, in any state."),
        Flag(name="latest", short="l", summary="The last one, in any state."),
        Flag(name="no-trunc", summary="Whole ids and commands."),
        Flag(name="quiet", short="q", summary="Only ids."),
        Flag(name="size", short="s", summary="Sizes of what they have written."),
    ),
)
_COLUMNS = (
    ("ID", "CONTAINER ID"), ("Image", "IMAGE"), ("Command", "COMMAND"), ("RunningFor", "CREATED"),
    ("Status", "STATUS"), ("Ports", "PORTS"), ("Names", "NAMES"),
)  # fmt: skip
_HEADERS: dict[str, Any] = {
    "CreatedAt": "CREATED AT", "Labels": "LABELS", "LocalVolumes": "LOCAL VOLUMES", "Mounts": "MOUNTS",
    "Networks": "NETWORKS", "Size": "SIZE", "State": "STATE", "Platform": "PLATFORM",
    "Label": lambda name: name,
}  # fmt: skip
_COMMAND_WIDTH, _MOUNT_WIDTH = 20, 15


def ps(session: Session, given: dict[str, Any]) -> int:
    last = 1 if given["latest"] else given["last"]
    template = given["format"]
    with_size = given["size"] or ".Size" in template
    found = session.get(
        "/containers/json",
        query={
            "all": given["all"] or last > 0,
            "limit": last if last > 0 else None,
            "size": with_size and not given["quiet"],
            "filters": make_filters(given["filter"]) or None,
        },
    )
    columns = (*_COLUMNS, ("Size", "SIZE")) if given["size"] else _COLUMNS
    now = time()
    rows = [make_row(one, now, is_whole=given["no-trunc"]) for one in found]
    show_list(rows, columns, template, _HEADERS, quiet="ID" if given["quiet"] else "")
    return 0


def make_row(one: dict[str, Any], now: float, *, is_whole: bool) -> dict[str, Any]:
    """Pure. `one`: of GET /containers/json."""
    labels = one.get("Labels") or {}
    command = one["Command"] if is_whole else ellipsis(one["Command"], _COMMAND_WIDTH)
    image = one["Image"] or "<no image>"
    if not is_whole and image.startswith("sha256:"):
        image = image[7:19]
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in one.get("Mounts") or ()]
    return {
        "ID": one["Id"] if is_whole else one["Id"][:12],
        "Image": image,
        "Command": jsonio.dumps(command),
        "CreatedAt": created_at(one["Created"]),
        "RunningFor": ago(one["Created"], now),
        "Status": one["Status"],
        "State": one["State"],
        "Ports": show_ports(one.get("Ports") or []),
        "Names": _names(one.get("Names") or [], is_whole=is_whole),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": ",".join(name if is_whole else ellipsis(name, _MOUNT_WIDTH) for name in mounts),
        "LocalVolumes": str(sum(mount.get("Driver") == "local" for mount in one.get("Mounts") or ())),
        "Networks": ",".join(sorted((one.get("NetworkSettings") or {}).get("Networks") or {})),
        "Size": _size(one),
    }


def created_at(seconds: float) -> str:
    """2025-05-30 12:07:14 +0000 UTC; in the local zone, as Go prints a time."""
    moment: Any = __import__("time")
    local = moment.localtime(seconds)
    return f"{moment.strftime('%Y-%m-%d %H:%M:%S %z', local)} {local.tm_zone}"


def _names(names: list[str], *, is_whole: bool) -> str:
    """Without their slash; without those that are links into another container."""
    plain = [name.removeprefix("/") for name in names]
    return ",".join(plain if is_whole else [name for name in plain if "/" not in name])


def _size(one: dict[str, Any]) -> str:
    written = human_size(one.get("SizeRw") or 0, 3)
    whole = one.get("SizeRootFs") or 0
    return f"{written} (virtual {human_size(whole, 3)})" if whole else written


def show_ports(ports: list[dict[str, Any]]) -> str:
    """443/tcp, 127.0.0.1:9000-9001->9000-9001/tcp, 0.0.0.0:8080->80/tcp: neighbours are one range, where they
    are not published at another number; those that are come last."""
    groups: dict[tuple[str, str], list[list[int]]] = {}
    mapped = []
    for one in sorted(ports, key=_order):
        private, public = one["PrivatePort"], one.get("PublicPort") or 0
        if public and public != private:
            mapped.append(_show_group(one.get("IP") or "", one["Type"], public, public, private, private))
            continue
        ranges = groups.setdefault((one.get("IP") or "", one["Type"]), [])
        if ranges and ranges[-1][1] + 1 == private:
            ranges[-1][1] = private
        else:
            ranges.append([private, private])
    shown = [
        _show_group(address, protocol, first if address else 0, last, first, last)
        for (address, protocol), ranges in groups.items()
        for first, last in ranges
    ]
    return ", ".join(shown + mapped)


def _order(port: dict[str, Any]) -> tuple[Any, ...]:
    return port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"]


def _show_group(address: str, protocol: str, low: int, high: int, first: int, last: int) -> str:
    inner = f"{first}-{last}" if last > first else str(first)
    if not low:
        return f"{inner}/{protocol}"
    outer = f"{low}-{high}" if high > low else str(low)
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{outer}->{inner}/{protocol}"


COMMANDS = {"ps": (PS, ps)}

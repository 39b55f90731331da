"""pyr system df: what takes up the disk."""

from __future__ import annotations

from time import time

from pyrunc.docker.commands.images import make_rows
from pyrunc.docker.commands.ps import make_row
from pyrunc.docker.output import emit
from pyrunc.docker.table import lay_out, show_list
from pyrunc.docker.units import human_size
from pyrunc.docker.words import Verb
from pyrunc.errors import INVALID, PyruncError
from pyrunc.options import TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

DF = Verb(
    name="system df",
    summary="Show what takes up the disk.",
    usage="[OPTIONS]",
    flags=(
        Flag(name="format", kind=TEXT, summary="table, json, or a template of Go's."),
        Flag(name="verbose", short="v", summary="Each image, container and volume."),
    ),
)
_COLUMNS = (
    ("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
)  # fmt: skip


def df(session: Session, given: dict[str, Any]) -> int:
    if given["verbose"] and given["format"]:
        raise PyruncError(INVALID, "--format does not go with --verbose")
    found = session.get("/system/df")
    if given["verbose"]:
        emit(_details(found))
    else:
        show_list(make_summary(found), _COLUMNS, given["format"])
    return 0


def make_summary(found: dict[str, Any]) -> list[dict[str, str]]:
    """A row for each sort of thing. Pure. `found`: of GET /system/df."""
    images, containers = found.get("Images") or [], found.get("Containers") or []
    volumes, caches = found.get("Volumes") or [], found.get("BuildCache") or []
    layers = found.get("LayersSize") or 0
    used = sum(
        one["Size"] - max(one.get("SharedSize") or 0, 0) for one in images if one.get("Containers") or 0 > 0
    )
    active = [one for one in containers if one["State"] in ("running", "paused", "restarting")]
    written = sum(one.get("SizeRw") or 0 for one in containers)
    idle = sum(one.get("SizeRw") or 0 for one in containers if one not in active)
    sizes = [(one.get("UsageData") or {}).get("Size") or 0 for one in volumes]
    counts = [(one.get("UsageData") or {}).get("RefCount") or 0 for one in volumes]
    free = sum(size for size, count in zip(sizes, counts, strict=True) if count < 1)
    cached = sum(one.get("Size") or 0 for one in caches)
    in_use = sum((one.get("Containers") or 0) > 0 for one in images)
    return [
        _row("Images", len(images), in_use, layers, max(layers - used, 0)),
        _row("Containers", len(containers), len(active), written, idle),
        _row("Local Volumes", len(volumes), sum(count > 0 for count in counts), sum(sizes), free),
        _row("Build Cache", len(caches), sum(bool(one.get("InUse")) for one in caches), cached, cached),
    ]


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> dict[str, str]:
    share = f" ({reclaimable * 100 // size}%)" if size > 0 and kind != "Build Cache" else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": human_size(size),
        "Reclaimable": human_size(reclaimable) + share,
    }


def _details(found: dict[str, Any]) -> str:
    now = time()
    images = [
        ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]
    ]
    for one in found.get("Images") or ():
        shared = max(one.get("SharedSize") or 0, 0)
        for row in make_rows(one, now, is_whole=False, with_digest=False):
            images.append(
                [row["Repository"], row["Tag"], row["ID"], row["CreatedSince"], human_size(one["Size"], 3),
                 human_size(shared), human_size(one["Size"] - shared), str(one.get("Containers") or 0)]
            )  # fmt: skip
    containers = [["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"]]
    for one in found.get("Containers") or ():
        row = make_row(one, now, is_whole=False)
        containers.append(
            [row["ID"], row["Image"], row["Command"], row["LocalVolumes"], human_size(one.get("SizeRw") or 0),
             row["RunningFor"], row["Status"], row["Names"]]
        )  # fmt: skip
    volumes = [["VOLUME NAME", "LINKS", "SIZE"]]
    for one in found.get("Volumes") or ():
        usage = one.get("UsageData") or {}
        volumes.append([one["Name"], str(usage.get("RefCount") or 0), human_size(usage.get("Size") or 0)])
    return (
        f"Images space usage:\n\n{lay_out(images)}\nContainers space usage:\n\n{lay_out(containers)}"
        f"\nLocal Volumes space usage:\n\n{lay_out(volumes)}"
    )


COMMANDS = {"system df": (DF, df)}

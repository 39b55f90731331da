"""/volumes."""

from __future__ import annotations

from pyrunc.api import bodies
from pyrunc.api.call import Empty, Json
from pyrunc.api.shapes import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class Volumes(Protocol):
        def create(
            self, name: str, *, driver: str, labels: dict[str, str], options: dict[str, str]
        ) -> Any: ...
        def get(self, name: str) -> Any: ...
        def all(self) -> list[Any]: ...
        def users(self, name: str) -> list[str]: ...
        def remove(self, name: str, *, force: bool) -> None: ...
        def prune(self, *, everything: bool, wanted: Callable[[Any], bool]) -> tuple[list[str], int]: ...
        def mountpoint(self, name: str) -> str: ...

    class Needs(Protocol):
        volumes: Volumes
        listing: Any


def shape(volumes: Volumes, volume: Any, usage: tuple[int, int] | None = None) -> dict[str, Any]:
    """`usage`: bytes, and how many containers have it."""
    made = {
        "Name": volume.name,
        "Driver": volume.driver,
        "Mountpoint": volumes.mountpoint(volume.name),
        "CreatedAt": moment(volume.created_ns),
        "Labels": volume.labels or None,
        "Options": volume.options or None,
        "Scope": "local",
    }
    if usage is not None:
        made["UsageData"] = {"Size": usage[0], "RefCount": usage[1]}
    return made


def list_volumes(engine: Needs, call: Call) -> Json:
    filters = call.filters(("dangling", "driver", "label", "name"))
    has_labels = engine.listing.label_test(filters)
    found = [volume for volume in engine.volumes.all() if has_labels(volume.labels)]
    if "name" in filters:
        found = [volume for volume in found if any(name in volume.name for name in filters["name"])]
    if "driver" in filters:
        found = [volume for volume in found if volume.driver in filters["driver"]]
    if "dangling" in filters:
        wanted = filters["dangling"][-1:] in (("true",), ("1",))
        found = [volume for volume in found if (not engine.volumes.users(volume.name)) is wanted]
    return Json(value={"Volumes": [shape(engine.volumes, volume) for volume in found], "Warnings": None})


def create(engine: Needs, call: Call) -> Json:
    wanted = call.document(bodies.VOLUME)
    made = engine.volumes.create(
        wanted.get("Name") or "",
        driver=wanted.get("Driver") or "",
        labels=wanted.get("Labels") or {},
        options=wanted.get("DriverOpts") or {},
    )
    return Json(value=shape(engine.volumes, made), status=201)


def inspect(engine: Needs, call: Call) -> Json:
    return Json(value=shape(engine.volumes, engine.volumes.get(call.names["name"])))


def remove(engine: Needs, call: Call) -> Empty:
    engine.volumes.remove(call.names["name"], force=call.is_set("force"))
    return Empty()


def prune(engine: Needs, call: Call) -> Json:
    filters = call.filters(("all", "label", "label!"))
    has_labels = engine.listing.label_test(filters)
    before_all = call.version < (1, 42)  # then, named ones went too
    removed, reclaimed = engine.volumes.prune(
        everything=before_all or filters.get("all", ("",))[-1] in ("true", "1"),
        wanted=lambda volume: has_labels(volume.labels),
    )
    return Json(value={"VolumesDeleted": removed or None, "SpaceReclaimed": reclaimed})


ROUTES: tuple[Route, ...] = (
    ("GET", "/volumes", list_volumes),
    ("POST", "/volumes/create", create),
    ("POST", "/volumes/prune", prune),
    ("GET", "/volumes/{name}", inspect),
    ("DELETE", "/volumes/{name}", remove),
)

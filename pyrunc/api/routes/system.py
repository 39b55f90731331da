"""What is asked of the daemon itself."""

from __future__ import annotations

from pyrunc.api.call import Json, Text
from pyrunc.api.router import MINIMUM_VERSION, VERSION, version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class System(Protocol):
        def version(self) -> dict[str, Any]: ...
        def info(self) -> dict[str, Any]: ...

    class Needs(Protocol):
        system: System


_NO_CACHE = (("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache"))


def ping(_: Needs, call: Call) -> Text:
    headers = (("Builder-Version", "1"), ("Swarm", "inactive"), *_NO_CACHE)
    return Text(text="" if call.request.method == "HEAD" else "OK", headers=headers)


def version(engine: Needs, _: Call) -> Json:
    api = {"ApiVersion": version_text(VERSION), "MinAPIVersion": version_text(MINIMUM_VERSION)}
    found = engine.system.version()
    for component in found["Components"]:
        if component["Name"] == "Engine":
            component["Details"].update(api)
    return Json(value={**found, **api})


def info(engine: Needs, _: Call) -> Json:
    return Json(value=engine.system.info())


def prune_builds(_: Needs, call: Call) -> Json:
    """There is no builder, and so nothing of one; `system prune` asks for it all the same."""
    call.filters(("until", "id", "parent", "type", "description", "inuse", "shared", "private", "unused-for"))
    return Json(value={"CachesDeleted": None, "SpaceReclaimed": 0})


ROUTES: tuple[Route, ...] = (
    ("POST", "/build/prune", prune_builds),
    ("GET", "/_ping", ping),
    ("HEAD", "/_ping", ping),
    ("GET", "/version", version),
    ("GET", "/info", info),
)

"""/images: listed, told of, named, taken away."""

from __future__ import annotations

from pyrunc.api import imageshapes
from pyrunc.api.call import Empty, Json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class Images(Protocol):
        def select(self, filters: dict[str, tuple[str, ...]], *, everything: bool) -> tuple[Any, ...]: ...
        def find(self, text: str, platform: str = "") -> Any: ...
        def history(self, text: str) -> tuple[Any, ...]: ...
        def tag(self, text: str, repository: str, tag: str) -> None: ...
        def remove(self, text: str, *, force: bool, prunes_parents: bool) -> tuple[Any, ...]: ...
        def prune(self, filters: dict[str, tuple[str, ...]]) -> Any: ...
        def driver(self, image: Any) -> dict[str, Any]: ...
        def uses(self) -> tuple[Any, ...]: ...
        def seconds_of(self, created: str) -> float: ...

    class Needs(Protocol):
        images: Images


LIST_FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")


def list_images(engine: Needs, call: Call) -> Json:
    filters = call.filters(LIST_FILTERS)
    if call.text("filter"):  # before API 1.41
        filters["reference"] = (*filters.get("reference", ()), call.text("filter"))
    images = engine.images.select(filters, everything=call.is_set("all"))
    used: dict[str, int] = {}
    for use in engine.images.uses():
        used[use.image_id] = used.get(use.image_id, 0) + 1
    return Json(
        value=[imageshapes.image_summary(image, containers=used.get(image.id, 0)) for image in images]
    )


def inspect(engine: Needs, call: Call) -> Json:
    image = engine.images.find(call.names["name"])
    return Json(value=imageshapes.image_inspect(image, engine.images.driver(image)))


def history(engine: Needs, call: Call) -> Json:
    items = engine.images.history(call.names["name"])
    return Json(value=imageshapes.history(items, engine.images.seconds_of))


def tag(engine: Needs, call: Call) -> Empty:
    engine.images.tag(call.names["name"], call.text("repo"), call.text("tag"))
    return Empty(status=201)


def remove(engine: Needs, call: Call) -> Json:
    removed = engine.images.remove(
        call.names["name"], force=call.is_set("force"), prunes_parents=not call.is_set("noprune")
    )
    return Json(value=[{one.action: one.name} for one in removed])


def prune(engine: Needs, call: Call) -> Json:
    pruned = engine.images.prune(call.filters(("dangling", "label", "label!", "until")))
    return Json(
        value={
            "ImagesDeleted": [{one.action: one.name} for one in pruned.removed] or None,
            "SpaceReclaimed": pruned.reclaimed_bytes,
        }
    )


ROUTES: tuple[Route, ...] = (
    ("GET", "/images/json", list_images),
    ("GET", "/images/{name*}/json", inspect),
    ("GET", "/images/{name*}/history", history),
    ("POST", "/images/{name*}/tag", tag),
    ("POST", "/images/prune", prune),
    ("DELETE", "/images/{name*}", remove),
)

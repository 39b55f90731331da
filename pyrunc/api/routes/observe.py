"""What goes on: events, statistics, processes, disk usage."""

from __future__ import annotations

import time

from pyrunc import jsonio
from pyrunc.api import imageshapes, shapes
from pyrunc.api.call import Json, Stream
from pyrunc.api.routes import volumes
from pyrunc.api.wire import has_hung_up, wait_readable
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class Needs(Protocol):
        observer: Any
        listing: Any
        containers: Any
        images: Any
        volumes: Any
        endpoints: Any
        networks: Any
        system: Any


EVENT_FILTERS = (
    "container", "daemon", "event", "image", "label", "network", "plugin", "scope", "type", "volume",
)  # fmt: skip


def events(engine: Needs, call: Call) -> Stream:
    subscription, past, until_ns = engine.observer.events(
        since=call.text("since"), until=call.text("until"), filters=call.filters(EVENT_FILTERS)
    )

    def pieces() -> Iterator[bytes]:
        with subscription:
            yield from (encode_event(event) for event in past)
            while True:
                left = (until_ns - time.time_ns()) / 1e9 if until_ns else None
                if left is not None and left <= 0:
                    return
                if not wait_readable(subscription.fileno(), call.peer, left):
                    return
                yield from (encode_event(event) for event in subscription.take())

    return Stream(pieces=pieces(), done=subscription.close)


def encode_event(event: Any) -> bytes:
    document: dict[str, Any] = {
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time_ns // 1_000_000_000,
        "timeNano": event.time_ns,
    }
    if event.kind in ("container", "image"):  # as it was before API 1.22
        old = {"status": event.action, "id": event.id}
        if event.kind == "container":
            old["from"] = event.attributes.get("image", "")
        document = {**old, **document}
    return jsonio.dumps(document).encode("utf-8", "replace") + b"\n"


def top(engine: Needs, call: Call) -> Json:
    titles, processes = engine.observer.top(call.names["name"], call.text("ps_args") or "-ef")
    return Json(value={"Titles": titles, "Processes": processes})


def stats(engine: Needs, call: Call) -> Json | Stream:
    name = call.names["name"]
    container = engine.containers.find(name)
    is_stream = call.is_set("stream", True)
    if not is_stream:
        before = None if call.is_set("one-shot") else engine.observer.sample(container)
        if before is not None:
            wait_gone(call.peer, engine.observer.interval_seconds)
        return Json(value=engine.observer.stats(container, before, engine.observer.sample(container)))

    def pieces() -> Iterator[bytes]:
        before = None
        while True:
            now = engine.observer.sample(container)
            yield jsonio.dumps(engine.observer.stats(container, before, now)).encode() + b"\n"
            before = now
            if wait_gone(call.peer, engine.observer.interval_seconds):
                return
            if engine.containers.get(container.id) is None:
                return

    return Stream(pieces=pieces())


def wait_gone(peer: int, seconds: float) -> bool:
    """Whether the client has left within that time."""
    if peer < 0:
        time.sleep(seconds)
        return False
    return not wait_readable(peer, peer, seconds) and has_hung_up(peer)


def disk_usage(engine: Needs, call: Call) -> Json:
    kinds = set(call.texts("type")) or {"container", "image", "volume", "build-cache"}
    unknown = kinds - {"container", "image", "volume", "build-cache"}
    if unknown:
        raise PyruncError(INVALID, f"unknown object type: {min(unknown)}")
    value: dict[str, Any] = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None}
    if "image" in kinds:
        usage = engine.images.disk_usage()
        shared = {image.image_id: image.shared for image in usage.images}
        used = [use.image_id for use in engine.images.uses()]
        value["LayersSize"] = usage.layers_bytes
        value["Images"] = [
            imageshapes.image_summary(
                image, containers=used.count(image.id), shared_bytes=shared.get(image.id, 0)
            )
            for image in engine.images.all()
        ]
    if "container" in kinds:
        value["Containers"] = [_container(engine, *pair) for pair in _containers(engine)]
    if "volume" in kinds:
        value["Volumes"] = [
            volumes.shape(engine.volumes, one.volume, (one.size_bytes, one.references))
            for one in engine.volumes.usage()
        ]
    value["BuildCache"] = [] if "build-cache" in kinds else None
    return Json(value=value)


def _containers(engine: Needs) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = engine.listing.containers(everything=True, limit=-1, filters={})
    return found


def _container(engine: Needs, container: Any, state: Any) -> dict[str, Any]:
    line = shapes.status_line(state, container.created_ns, time.time(), engine.listing.seconds_of)
    made = shapes.container_summary(container, state, engine.listing.image_name(container), [], {}, line)
    made["SizeRw"], made["SizeRootFs"] = engine.listing.sizes(container)
    return made


ROUTES: tuple[Route, ...] = (
    ("GET", "/events", events),
    ("GET", "/containers/{name}/top", top),
    ("GET", "/containers/{name}/stats", stats),
    ("GET", "/system/df", disk_usage),
)

"""/containers: made, listed, told of, started and ended."""

from __future__ import annotations

import time

from pyrunc.api import bodies, shapes
from pyrunc.api.call import Empty, Json, Stream
from pyrunc.api.wire import wait_readable
from pyrunc.errors import NOT_FOUND, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from pyrunc.api.call import Call
    from pyrunc.api.router import Route

    class Containers(Protocol):
        def find(self, text: str) -> Any: ...
        def state(self, container: Any) -> Any: ...
        def create(
            self,
            image: Any,
            config: dict[str, Any],
            host: dict[str, Any],
            networks: dict[str, Any],
            name: str,
        ) -> Any: ...

    class Connections(Protocol):
        def rename(self, text: str, name: str) -> None: ...

    class Runner(Protocol):
        def start(self, text: str) -> None: ...
        def remove(self, text: str, *, force: bool, volumes: bool) -> None: ...

    class Verbs(Protocol):
        def stop(self, text: str, *, timeout: int | None, signal: str) -> None: ...
        def restart(self, text: str, *, timeout: int | None, signal: str) -> None: ...
        def kill(self, text: str, signal: str) -> None: ...
        def pause(self, text: str) -> None: ...
        def unpause(self, text: str) -> None: ...
        def update(self, text: str, wanted: dict[str, Any]) -> None: ...
        def wait(
            self, text: str, condition: str, sleep: Callable[[int], bool]
        ) -> tuple[Callable[[], int | None], Callable[[], None]]: ...

    class Listing(Protocol):
        def containers(
            self, *, everything: bool, limit: int, filters: dict[str, tuple[str, ...]]
        ) -> list[tuple[Any, Any]]: ...
        def prune(self, filters: dict[str, tuple[str, ...]]) -> tuple[list[str], int]: ...
        def image_name(self, container: Any) -> str: ...
        def sizes(self, container: Any) -> tuple[int, int]: ...
        def driver(self, container: Any) -> dict[str, Any]: ...
        def seconds_of(self, moment: str) -> float: ...

    class Endpoints(Protocol):
        def of_container(self, id: str) -> list[tuple[Any, Any]]: ...
        def namespace(self, id: str) -> str: ...

    class Needs(Protocol):
        layout: Any
        connections: Connections
        containers: Containers
        runner: Runner
        verbs: Verbs
        listing: Listing
        endpoints: Endpoints
        networks: Any
        execs: Any
        images: Any


LIST_FILTERS = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name",
    "network", "publish", "since", "status", "volume",
)  # fmt: skip


def create(engine: Needs, call: Call) -> Json:
    wanted = call.document(bodies.CREATE)
    host = wanted.pop("HostConfig", None) or {}
    networking = (wanted.pop("NetworkingConfig", None) or {}).get("EndpointsConfig") or {}
    image = None
    if wanted.get("Image"):
        try:
            image = engine.images.find(wanted["Image"], call.text("platform"))
        except PyruncError as error:
            if error.kind != NOT_FOUND:
                raise
            raise PyruncError(
                NOT_FOUND, f"No such image: {engine.images.familiar(wanted['Image'])}"
            ) from error
    made = engine.containers.create(image, wanted, host, networking, call.text("name"))
    return Json(value={"Id": made.container.id, "Warnings": list(made.warnings)}, status=201)


def list_containers(engine: Needs, call: Call) -> Json:
    found = engine.listing.containers(
        everything=call.is_set("all"),
        limit=call.number("limit", -1) or -1,
        filters=call.filters(LIST_FILTERS),
    )
    networks = {network.name: network for network in engine.networks.known()}
    now = time.time()
    made = []
    for container, state in found:
        line = shapes.status_line(state, container.created_ns, now, engine.listing.seconds_of)
        one = shapes.container_summary(
            container,
            state,
            engine.listing.image_name(container),
            engine.endpoints.of_container(container.id),
            networks,
            line,
        )
        if call.is_set("size"):
            one["SizeRw"], one["SizeRootFs"] = engine.listing.sizes(container)
        made.append(one)
    return Json(value=made)


def inspect(engine: Needs, call: Call) -> Json:
    container = engine.containers.find(call.names["name"])
    state = engine.containers.state(container)
    networks = {network.name: network for network in engine.networks.known()}
    settings = shapes.network_settings(
        container,
        engine.endpoints.of_container(container.id),
        networks,
        engine.endpoints.namespace(container.id),
        state.is_running,
    )
    value = shapes.container_inspect(
        container,
        state,
        settings,
        engine.layout.container(container.id),
        engine.listing.driver(container),
        engine.execs.of_container(container.id),
    )
    if call.is_set("size"):
        value["SizeRw"], value["SizeRootFs"] = engine.listing.sizes(container)
    return Json(value=value)


def start(engine: Needs, call: Call) -> Empty:
    engine.runner.start(call.names["name"])
    return Empty()


def stop(engine: Needs, call: Call) -> Empty:
    engine.verbs.stop(call.names["name"], timeout=call.number("t"), signal=call.text("signal"))
    return Empty()


def restart(engine: Needs, call: Call) -> Empty:
    engine.verbs.restart(call.names["name"], timeout=call.number("t"), signal=call.text("signal"))
    return Empty()


def kill(engine: Needs, call: Call) -> Empty:
    engine.verbs.kill(call.names["name"], call.text("signal"))
    return Empty()


def pause(engine: Needs, call: Call) -> Empty:
    engine.verbs.pause(call.names["name"])
    return Empty()


def unpause(engine: Needs, call: Call) -> Empty:
    engine.verbs.unpause(call.names["name"])
    return Empty()


def rename(engine: Needs, call: Call) -> Empty:
    engine.connections.rename(call.names["name"], call.text("name"))
    return Empty()


def update(engine: Needs, call: Call) -> Json:
    engine.verbs.update(call.names["name"], call.document(bodies.HOST))
    return Json(value={"Warnings": []})


def remove(engine: Needs, call: Call) -> Empty:
    engine.runner.remove(call.names["name"], force=call.is_set("force"), volumes=call.is_set("v"))
    return Empty()


def prune(engine: Needs, call: Call) -> Json:
    removed, reclaimed = engine.listing.prune(call.filters(("label", "label!", "until")))
    return Json(value={"ContainersDeleted": removed or None, "SpaceReclaimed": reclaimed})


def wait(engine: Needs, call: Call) -> Stream:
    """The head goes out at once: a client starts the container when it has that."""
    waiting, done = engine.verbs.wait(
        call.names["name"], call.text("condition"), lambda fd: wait_readable(fd, call.peer)
    )
    return Stream(pieces=_waited(waiting), done=done)


def _waited(waiting: Callable[[], int | None]) -> Iterator[bytes]:
    code = waiting()
    if code is not None:
        yield f'{{"StatusCode":{code}}}\n'.encode()


ROUTES: tuple[Route, ...] = (
    ("GET", "/containers/json", list_containers),
    ("POST", "/containers/create", create),
    ("POST", "/containers/prune", prune),
    ("GET", "/containers/{name}/json", inspect),
    ("POST", "/containers/{name}/start", start),
    ("POST", "/containers/{name}/stop", stop),
    ("POST", "/containers/{name}/restart", restart),
    ("POST", "/containers/{name}/kill", kill),
    ("POST", "/containers/{name}/pause", pause),
    ("POST", "/containers/{name}/unpause", unpause),
    ("POST", "/containers/{name}/rename", rename),
    ("POST", "/containers/{name}/update", update),
    ("POST", "/containers/{name}/wait", wait),
    ("DELETE", "/containers/{name}", remove),
)

"""Containers chosen by filters, and what lists tell of them."""

from __future__ import annotations

import re
import time

from pyrunc.engine.logs import parse_moment, time_ns
from pyrunc.engine.state import EXITED, STATUSES
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, PyruncError
from pyrunc.options import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.endpoints import Endpoints
    from pyrunc.engine.images import Images
    from pyrunc.engine.model import Container
    from pyrunc.engine.networks import Networks
    from pyrunc.engine.runner import Runner
    from pyrunc.engine.state import State
    from pyrunc.image.store import Store

    Pair: TypeAlias = tuple[Container, State]
    Test: TypeAlias = Callable[[Container, State], bool]


class Listing:
    def __init__(
        self,
        store: Store,
        containers: Containers,
        images: Images,
        networks: Networks,
        endpoints: Endpoints,
        runner: Runner,
    ) -> None:
        self._store, self._containers, self._images = store, containers, images
        self._networks, self._endpoints, self._runner = networks, endpoints, runner

    def containers(
        self, *, everything: bool = False, limit: int = -1, filters: dict[str, tuple[str, ...]]
    ) -> list[Pair]:
        """The newest first. A filter for what does not run shows it without `everything`. Raises PyruncError
        INVALID for a value that can't be, NOT_FOUND for a container that is named and isn't there."""
        pairs = [(container, self._containers.last_state(container)) for container in self._containers.all()]
        tests = [self._test(name, values, pairs) for name, values in filters.items()]
        shows_all = (
            everything or limit > 0 or bool({"status", "exited", "health", "before", "since"} & {*filters})
        )
        found = [
            (container, state)
            for container, state in pairs
            if (shows_all or state.is_running) and all(test(container, state) for test in tests)
        ]
        return found[:limit] if limit > 0 else found

    def _test(self, name: str, values: tuple[str, ...], pairs: list[Pair]) -> Test:
        if name == "status":
            for value in values:
                if value not in STATUSES:
                    known = ", ".join(STATUSES)
                    raise PyruncError(INVALID, f"invalid filter 'status={value}'", hint=f"one of {known}")
            return lambda _, state: state.status in values
        if name in ("before", "since"):
            moments = [self._containers.find(value).created_ns for value in values]
            if name == "before":
                return lambda container, _: all(container.created_ns < moment for moment in moments)
            return lambda container, _: all(container.created_ns > moment for moment in moments)
        if name == "exited":
            codes = [_number(value) for value in values]
            return lambda _, state: state.status == EXITED and state.exit_code in codes
        if name == "health":
            return lambda _, state: (state.health or {}).get("Status", "none") in values
        if name == "ancestor":
            ids = {image.id for value in values for image in self._ancestors(value)}
            return lambda container, _: container.image_id in ids
        if name in ("publish", "expose"):
            return self._test_ports(name, values)
        if name == "is-task":
            return lambda _, state: not any(value in ("true", "1") for value in values)
        if name == "isolation":
            return lambda _, state: any(value in ("", "default") for value in values)
        if name == "network":
            return lambda container, _: any(
                value in (network.name, network.id)
                for network, _ in self._networks_of(container)
                for value in values
            )
        simple = _SIMPLE[name]
        return lambda container, _: simple(container, values)

    def _networks_of(self, container: Container) -> Iterable[tuple[Any, Any]]:
        yield from self._endpoints.of_container(container.id)
        wished = {container.host["NetworkMode"], *container.networks}
        yield from ((network, None) for network in self._networks.known() if network.name in wished)

    def _ancestors(self, text: str) -> Iterable[Any]:
        """Images that are it, or were made on it."""
        try:
            found = self._images.find(text)
        except PyruncError as error:
            if error.kind not in (NOT_FOUND, INVALID):
                raise
            return ()
        layers = found.config.diff_ids
        return [image for image in self._images.all() if image.config.diff_ids[: len(layers)] == layers]

    def _test_ports(self, name: str, values: tuple[str, ...]) -> Test:
        wanted = {value if "/" in value else f"{value}/tcp" for value in values}

        def published(container: Container, _: State) -> bool:
            ports = {
                f"{port.host_port}/{port.protocol}"
                for _, endpoint in self._endpoints.of_container(container.id)
                for port in endpoint.ports
            }
            return bool(wanted & ports)

        def exposed(container: Container, _: State) -> bool:
            return bool(wanted & set(container.config.get("ExposedPorts") or ()))

        return published if name == "publish" else exposed

    def prune(self, filters: dict[str, tuple[str, ...]]) -> tuple[list[str], int]:
        """Remove what does not run: ids, and bytes that were freed."""
        wanted = label_test(filters)
        until = until_ns(filters)
        removed: list[str] = []
        reclaimed = 0
        for container in self._containers.all():
            state = self._containers.state(container)
            if state.is_running or not wanted(container.labels):
                continue
            if until and container.created_ns >= until:
                continue
            size, _ = self.sizes(container)
            try:
                self._runner.remove(container.id)
            except PyruncError as error:
                if error.kind not in (CONFLICT, NOT_FOUND):  # it was started meanwhile, or is gone
                    raise
                continue
            removed.append(container.id)
            reclaimed += size
        return removed, reclaimed

    def image_name(self, container: Container) -> str:
        """As it was typed, as long as that still means this image; else the id."""
        if not container.image or container.image.startswith("sha256:"):
            return container.image_id if container.image else ""
        try:
            is_same = self._images.find(container.image).id == container.image_id
        except PyruncError:
            return container.image
        return container.image if is_same else container.image_id

    def sizes(self, container: Container) -> tuple[int, int]:
        """(written by the container, that and the image) in bytes."""
        own = self._store.snapshots.usage(container.id).bytes
        try:
            image = self._images.find(container.image_id).size if container.image_id else 0
        except PyruncError:
            image = 0
        return own, own + image

    def driver(self, container: Container) -> dict[str, Any]:
        """GraphDriver."""
        mounts = self._store.snapshots.mounts(container.id)
        if mounts.type != "overlay":
            return {"Name": "vfs", "Data": {}}
        data = {
            "ID": container.id,
            "LowerDir": ":".join(mounts.lower),
            "UpperDir": mounts.upper,
            "WorkDir": mounts.work,
            "MergedDir": self._runner.rootfs(container),
        }
        return {"Name": "overlay2", "Data": data}

    def wished_networks(self) -> set[str]:
        """Names that some container will want when it is started."""
        found = set()
        for container in self._containers.all():
            found |= {container.host["NetworkMode"], *container.networks}
        return found

    def label_test(self, filters: dict[str, tuple[str, ...]]) -> Callable[[dict[str, str]], bool]:
        return label_test(filters)

    def until_ns(self, filters: dict[str, tuple[str, ...]]) -> int:
        return until_ns(filters)

    def seconds_of(self, moment: str) -> float:
        return time_ns(moment) / 1e9


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise PyruncError(INVALID, f"invalid filter 'exited={text}'") from None


def _has_name(container: Container, values: tuple[str, ...]) -> bool:
    """A regular expression, or part of a name, with or without its slash."""
    return any(_search(value, f"/{container.name}") or _search(value, container.name) for value in values)


def _search(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def _has_volume(container: Container, values: tuple[str, ...]) -> bool:
    return any(
        value in (mount.name, mount.source, mount.destination)
        for mount in container.mounts
        for value in values
    )


_SIMPLE: dict[str, Callable[[Container, tuple[str, ...]], bool]] = {
    "id": lambda container, values: any(container.id.startswith(value) for value in values),
    "name": _has_name,
    "label": lambda container, values: all(has_label(container.labels, value) for value in values),
    "volume": _has_volume,
}


def has_label(labels: dict[str, str], text: str) -> bool:
    """`key`, or `key=value`."""
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)


def label_test(filters: dict[str, tuple[str, ...]]) -> Callable[[dict[str, str]], bool]:
    """Of `label` and `label!`."""
    wanted, unwanted = filters.get("label", ()), filters.get("label!", ())
    return lambda labels: (
        all(has_label(labels, one) for one in wanted) and not any(has_label(labels, one) for one in unwanted)
    )


def until_ns(filters: dict[str, tuple[str, ...]]) -> int:
    """Of `until`, as prune has it: a time, or a duration before now ("24h"). 0: none. Raises PyruncError
    INVALID."""
    values = filters.get("until", ())
    if not values:
        return 0
    try:
        return time.time_ns() - int(parse_duration(values[-1]) * 1e9)
    except ValueError:
        return parse_moment(values[-1])

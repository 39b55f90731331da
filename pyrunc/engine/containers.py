"""What containers there are: made, found, renamed. How one runs is `runner`'s, how it is shown the API's."""

from __future__ import annotations

import os
import secrets
import time

from pyrunc.engine import binds, hostconfig
from pyrunc.engine.model import BIND, VOLUME, Container, MountPoint, container_from, to_document
from pyrunc.engine.names import random_name, require_name
from pyrunc.engine.spec.capabilities import normalise
from pyrunc.engine.spec.process import command_of, require_security_options
from pyrunc.engine.state import State, make_state
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, PyruncError
from pyrunc.record import Record, replaced
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.engine.db import Database
    from pyrunc.engine.events import Bus
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.locks import Locks
    from pyrunc.engine.settings import Settings
    from pyrunc.engine.volumes import Volumes
    from pyrunc.image.images import Image
    from pyrunc.image.store import Store

_NAME_ATTEMPTS = 6


class Created(Record):
    container: Container
    warnings: tuple[str, ...] = ()


class Containers:
    def __init__(
        self,
        layout: Layout,
        database: Database,
        bus: Bus,
        locks: Locks,
        store: Store,
        volumes: Volumes,
        settings: Settings,
    ) -> None:
        self._layout, self._database, self._bus, self._locks = layout, database, bus, locks
        self._store, self._volumes, self.settings = store, volumes, settings
        self.live_status: Callable[[str], dict[str, Any] | None] = lambda _: None
        os.makedirs(layout.containers, 0o711, exist_ok=True)

    # --- looking ----------------------------------------------------------------------------------

    def all(self) -> list[Container]:
        """The newest first."""
        found = [container_from(row) for row in self._database.rows("containers")]
        return sorted(found, key=lambda container: container.created_ns, reverse=True)

    def get(self, id: str) -> Container | None:
        row = self._database.row("containers", id=id)
        return container_from(row) if row is not None else None

    def find(self, text: str) -> Container:
        """By id, name or the beginning of an id. Raises PyruncError NOT_FOUND, or INVALID for a beginning of
        several."""
        name = text.removeprefix("/")
        row = self._database.row("containers", id=name) or self._database.row("containers", name=name)
        if row is None and name:
            ids = self._database.keys_beginning("containers", "id", name)
            if len(ids) > 1:
                raise PyruncError(INVALID, f"multiple IDs found with provided prefix: {name}")
            row = self._database.row("containers", id=ids[0]) if ids else None
        if row is None:
            raise PyruncError(NOT_FOUND, f"No such container: {text}")
        return container_from(row)

    def state(self, container: Container) -> State:
        """As its shim has written it down by now."""
        return make_state(container, protocol.find_status(self._layout.container(container.id)))

    def last_state(self, container: Container) -> State:
        """As its shim has told it last: for lists, which would otherwise wake every shim."""
        status = self.live_status(container.id)
        return make_state(container, status) if status is not None else self.state(container)

    def update(self, container: Container) -> None:
        """Under the container's lock."""
        self._database.update("containers", to_document(container), id=container.id)

    # --- making -----------------------------------------------------------------------------------

    def create(
        self,
        image: Image | None,
        config: dict[str, Any],
        host: dict[str, Any],
        networks: dict[str, Any],
        name: str,
    ) -> Created:
        """`image` None: on nothing. Raises PyruncError; nothing is left then but volumes with a name."""
        defaults = image.config.config if image is not None else {}
        full = hostconfig.complete_config(config, defaults)
        full_host = hostconfig.complete_host(host, tuple(self.settings.runtimes), self.settings.log_driver)
        require_security_options(full_host)
        hostconfig.require_cpus(full_host, os.cpu_count() or 1)
        hostconfig.require_endpoints(networks)
        normalise((*(full_host["CapAdd"] or ()), *(full_host["CapDrop"] or ())))
        id = secrets.token_hex(32)
        if not full["Hostname"] and full_host["UTSMode"] != "host":
            full["Hostname"] = os.uname().nodename if full_host["NetworkMode"] == "host" else id[:12]
        command = command_of(full)
        container = Container(
            id=id,
            name=require_name(name) if name else "",
            created_ns=time.time_ns(),
            image=full["Image"],
            image_id=image.id if image is not None else "",
            config=full,
            host=full_host,
            networks={"bridge" if key == "default" else key: wish or {} for key, wish in networks.items()},
            path=command[0],
            args=tuple(command[1:]),
        )
        with self._locks.at_work():
            made = self._make_it(container, image)
        self.publish(made, "create")
        return Created(container=made)

    def _make_it(self, container: Container, image: Image | None) -> Container:
        self._prepare_snapshot(container, image)
        try:
            made = self._record(container)
            try:
                made = self._with_mounts(made)
                self.update(made)
            except BaseException:
                self._database.delete("containers", id=container.id)
                raise
        except BaseException:
            self._store.snapshots.remove(container.id)
            os.rmdir(self._layout.container(container.id))
            raise
        return made

    def _prepare_snapshot(self, container: Container, image: Image | None) -> None:
        os.mkdir(self._layout.container(container.id), 0o710)
        try:
            self._store.snapshots.prepare(container.id, image.chain_id if image is not None else "")
        except BaseException:
            os.rmdir(self._layout.container(container.id))
            raise

    def _record(self, container: Container) -> Container:
        """It has its name from here on. Raises PyruncError CONFLICT, with Docker's sentence."""
        if container.name:
            with self._database.transaction():
                self._require_free(container.name)
                self._insert(container)
            return container
        for attempt in range(_NAME_ATTEMPTS):
            named = replaced(container, name=random_name(attempt))
            try:
                self._insert(named)
            except PyruncError as error:
                if error.kind != CONFLICT or attempt == _NAME_ATTEMPTS - 1:
                    raise
            else:
                return named
        raise AssertionError("the last attempt returns or raises")

    def _insert(self, container: Container) -> None:
        self._database.insert("containers", to_document(container), id=container.id, name=container.name)

    def _require_free(self, name: str) -> None:
        other = self._database.row("containers", name=name)
        if other is not None:
            raise PyruncError(
                CONFLICT,
                f'Conflict. The container name "/{name}" is already in use by container "{other["id"]}". '
                "You have to remove (or rename) that container to be able to reuse that name.",
            )

    def _with_mounts(self, container: Container) -> Container:
        asked = binds.parse_mounts(container.config, container.host, lambda: secrets.token_hex(32))
        theirs = self._mounts_of_others(
            container, {wish.point.destination for wish in asked if not wish.point.is_anonymous}
        )
        covered = {wish.point.destination for wish in theirs}
        wishes = [wish for wish in asked if wish.point.destination not in covered] + theirs
        points = []
        try:
            for wish in wishes:
                points.append(self._make_point(wish))
        except BaseException:
            for point in points:
                if point.is_anonymous:
                    self._volumes.remove(point.name)
            raise
        return replaced(container, mounts=tuple(points))

    def _mounts_of_others(self, container: Container, taken: set[str]) -> list[binds.Wish]:
        """Their volumes take the place of the image's own anonymous ones, but not of what was asked for."""
        found: list[binds.Wish] = []
        for text in container.host["VolumesFrom"] or ():
            name, _, mode = text.partition(":")
            found += binds.from_another(self.find(name).mounts, mode, taken)
            taken |= {wish.point.destination for wish in found}
        return found

    def _make_point(self, wish: binds.Wish) -> MountPoint:
        point = wish.point
        if point.type == VOLUME:
            if point.is_anonymous:
                volume = self._volumes.create()
            else:
                volume = self._volumes.create(point.name, labels=wish.labels, options=wish.options)
            source = self._volumes.mountpoint(volume.name)
            return replaced(point, name=volume.name, source=source)
        if point.type == BIND and not os.path.lexists(point.source):
            if wish.must_exist:
                raise PyruncError(
                    INVALID,
                    f'invalid mount config for type "bind": bind source path does not exist: {point.source}',
                )
            os.makedirs(point.source, 0o755, exist_ok=True)
        return replaced(point, propagation=point.propagation or "rprivate") if point.type == BIND else point

    # --- changing ---------------------------------------------------------------------------------

    def rename(self, text: str, name: str) -> Container:
        """Raises PyruncError NOT_FOUND, INVALID, CONFLICT."""
        container = self.find(text)
        wanted = require_name(name)
        if wanted == container.name:
            raise PyruncError(INVALID, "Renaming a container with the same name as its current name")
        with self._locks.holding(container.id), self._database.transaction():
            container = self.find(container.id)
            self._require_free(wanted)
            renamed = replaced(container, name=wanted)
            self._database.rename("containers", container.name, wanted)
            self.update(renamed)
        self.publish(renamed, "rename", oldName=f"/{container.name}")
        return renamed

    def forget(self, container: Container) -> None:
        """The last step of its removal."""
        self._database.delete("containers", id=container.id)
        self.publish(container, "destroy")

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        labels = {name: str(value) for name, value in container.labels.items()}
        given = {**labels, "image": container.image, "name": container.name, **attributes}
        self._bus.publish("container", action, container.id, given)

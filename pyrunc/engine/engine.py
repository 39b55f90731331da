"""The engine put together, and what it does at its start: take up what was left."""

from __future__ import annotations

import os
from functools import cached_property

from pyrunc import log
from pyrunc.engine.attachments import Waiting
from pyrunc.engine.bundle import Bundles
from pyrunc.engine.connections import Connections
from pyrunc.engine.containers import Containers
from pyrunc.engine.db import Database
from pyrunc.engine.devices import bounding_capabilities
from pyrunc.engine.endpoints import Endpoints
from pyrunc.engine.events import Bus
from pyrunc.engine.execs import Execs
from pyrunc.engine.images import Images
from pyrunc.engine.listing import Listing
from pyrunc.engine.locks import Locks
from pyrunc.engine.logs import Logs
from pyrunc.engine.networks import Networks
from pyrunc.engine.observer import Observer
from pyrunc.engine.runner import Runner
from pyrunc.engine.shims import Shims
from pyrunc.engine.state import CREATED
from pyrunc.engine.system import System
from pyrunc.engine.verbs import Verbs
from pyrunc.engine.volumes import Volumes
from pyrunc.engine.watch import Watch
from pyrunc.errors import PyruncError, doing
from pyrunc.image.store import open_store
from pyrunc.later import later
from pyrunc.network.model import Site
from pyrunc.record import replaced
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine import archive
    from pyrunc.engine.archive import Archive
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.model import Container
    from pyrunc.engine.settings import Settings
else:
    archive = later("pyrunc.engine.archive")


_RELOADED = ("insecure_registries", "labels", "registry_mirrors", "runtimes")


class Engine:
    """Its parts, for those who ask them: `containers`, `runner`, `verbs`, `execs`, `logs`, `images`,
    `volumes`, `networks`, `endpoints`, `bus`."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.layout, self.settings = layout, settings
        with doing("make the data root", layout.data_root):
            os.makedirs(layout.data_root, 0o711, exist_ok=True)
        with doing("make the run root", layout.run_root):
            os.makedirs(layout.runtime_state, 0o711, exist_ok=True)
        self.database = Database(layout.database)
        self.bus = Bus(self.database)
        self.locks = Locks(f"{layout.run_root}/locks")
        self.store = open_store(layout.images, settings.storage_driver)
        self.volumes = Volumes(layout, self.database, self.bus)
        self.containers = Containers(
            layout,
            self.database,
            self.bus,
            self.locks,
            self.store,
            self.volumes,
            settings,
        )
        site = Site(run_root=layout.run_root, table=settings.network_table)
        self.networks = Networks(self.database, self.bus, site, icc=settings.icc)
        self.endpoints = Endpoints(self.database, self.bus, site, settings, self.networks, self.containers)
        self.execs = Execs(layout, self.containers, bounding_capabilities())
        self.logs = Logs(layout, self.containers)
        self.waiting = Waiting()
        self.watch = Watch(self._tell)
        self.shims = Shims(layout.runtime_state)
        self.containers.live_status = self.watch.status
        self.bundles = Bundles(layout, settings, self.containers, self.volumes)
        self.runner = Runner(
            layout=layout,
            locks=self.locks,
            store=self.store,
            containers=self.containers,
            volumes=self.volumes,
            endpoints=self.endpoints,
            bundles=self.bundles,
            waiting=self.waiting,
            watch=self.watch,
            shims=self.shims,
        )
        self._add_questions()

    def _add_questions(self) -> None:
        """What is asked, and asked for, of what is there by now."""
        layout, settings = self.layout, self.settings
        self.verbs = Verbs(
            layout,
            self.bus,
            self.locks,
            self.containers,
            self.runner,
            self.waiting,
            is_cgroup2=os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
        )
        self.images = Images(self.store, self.bus, self.containers, settings)
        self.listing = Listing(
            self.store, self.containers, self.images, self.networks, self.endpoints, self.runner
        )

        self.connections = Connections(
            layout, self.locks, self.containers, self.networks, self.endpoints, self.bundles
        )
        self.observer = Observer(layout, self.bus, self.containers)
        self.system = System(layout, settings, self.containers, self.images)

    @cached_property
    def archive(self) -> Archive:
        """Only when somebody asks: few do, and it needs much of what reads and writes layers."""
        made: Archive = archive.Archive(self.layout, self.store, self.locks, self.containers)
        return made

    def _tell(self, id: str, event: dict[str, Any]) -> None:
        """From the watch's thread."""
        if event["event"] == "exec_exit":
            container = self.containers.get(id)
            if container is not None:
                self.execs.tell(container, event)
            return
        self.runner.tell(id, event)

    def reload(self, settings: Settings) -> None:
        """Of these settings those that may change while we run; the others wait for the next start."""
        changed = {
            name for name in settings.FIELDS if getattr(settings, name) != getattr(self.settings, name)
        }
        for name in sorted(changed - {*_RELOADED}):
            log.warning(f"{name.replace('_', '-')}: the new value is taken up by the next start")
        taken = {name: getattr(settings, name) for name in _RELOADED}
        self.settings = replaced(self.settings, **taken)
        for part in (self.containers, self.bundles, self.endpoints, self.images, self.system):
            part.settings = self.settings
        self.bus.publish("daemon", "reload", "", {"name": os.uname().nodename})

    def close(self) -> None:
        """Containers go on."""
        self.shims.close()
        self.database.close()

    def take_up(self) -> None:
        """What another process left, whatever became of it: containers that run are adopted, those that
        have ended are settled, removals and starts that were cut off are gone through with. Then what a
        restart policy wants to run is started. For a daemon: commands without one may be at work
        meanwhile."""
        with self.locks.alone():
            running = self._take_up_all()
            self._remove_strays()
            self.volumes.clean()
            if self.database.rows("networks"):
                self.endpoints.reconcile(running)
        for container in self.containers.all():
            if not self.containers.state(container).is_running and self.runner.is_to_run(container):
                try:
                    self.runner.start(container.id)
                except PyruncError as error:
                    log.error(f"container {container.id}: {error}")

    def settle(self) -> None:
        """Of containers that have ended, what they had while they ran goes: for where no daemon sees to
        that."""
        self._take_up_all()

    def _take_up_all(self) -> list[Container]:
        """Those that run."""
        running = []
        for container in self.containers.all():
            try:
                if self._take_up(container):
                    running.append(container)
            except PyruncError as error:
                log.error(f"container {container.id}: {error}")
        return running

    def _take_up(self, container: Container) -> bool:
        """Whether it runs."""
        directory = self.layout.container(container.id)
        with self.locks.holding(container.id):
            now = self.containers.get(container.id)
            if now is None:
                return False
            container = now
            if container.is_removing:
                self.runner.remove(container.id, force=True)
                return False
            state = self.containers.state(container)
            if state.status == CREATED and os.path.exists(f"{directory}/{protocol.STATUS_FILE}"):
                self.runner.forget_start(container)
            if not state.is_running or self.runner.end_orphan(container):
                self.runner.settle(container)
                return False
            self.runner.adopt(container)
            return True

    def _remove_strays(self) -> None:
        """Directories and snapshots of containers that are not recorded: of a `create` that was cut off."""
        known = {container.id for container in self.containers.all()}
        for id in os.listdir(self.layout.containers):
            if id not in known:
                os.rmdir(self.layout.container(id))
        for key in self.store.snapshots.active():
            if key not in known and len(key) == 64:
                self.store.snapshots.remove(key)
        for key in self.store.snapshots.cut_off():
            if len(key) == 64:
                with self.locks.holding(key):  # another process may be removing it
                    self.store.snapshots.clear(key)
        self.locks.sweep(known)

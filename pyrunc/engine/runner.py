"""A container's way through start, exit and removal: everything that must be made before it runs, and that
must be gone afterwards.

What is made is undone in reverse from one list, until the container runs; from then on `settle` undoes it,
which may be called twice, by whoever sees first that it has ended: the watch, a `start` or `rm` that comes at
that very moment, or a daemon that finds the remains of one that was killed.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import ExitStack

from pyrunc import jsonio, log
from pyrunc.engine.state import EXITED, RESTARTING
from pyrunc.errors import CONFLICT, INTERNAL, NOT_FOUND, NOT_MODIFIED, PyruncError, doing
from pyrunc.files import write_atomically
from pyrunc.record import replaced
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.attachments import Waiting
    from pyrunc.engine.bundle import Bundles
    from pyrunc.engine.containers import Containers
    from pyrunc.engine.endpoints import Endpoints
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.locks import Locks
    from pyrunc.engine.model import Container
    from pyrunc.engine.shims import Shims
    from pyrunc.engine.volumes import Volumes
    from pyrunc.engine.watch import Watch
    from pyrunc.image.store import Store

_NOT_FOUND_CODE, _NOT_EXECUTABLE_CODE, _FAILED_CODE = 127, 126, 128
_CODES = (
    ("executable file not found", _NOT_FOUND_CODE),
    ("no such file or directory", _NOT_FOUND_CODE),
    ("permission denied", _NOT_EXECUTABLE_CODE),
    ("is a directory", _NOT_EXECUTABLE_CODE),
)


class Runner:
    def __init__(
        self,
        *,
        layout: Layout,
        locks: Locks,
        store: Store,
        containers: Containers,
        volumes: Volumes,
        endpoints: Endpoints,
        bundles: Bundles,
        waiting: Waiting,
        watch: Watch,
        shims: Shims,
    ) -> None:
        self._layout, self._locks, self._store, self._shims = layout, locks, store, shims
        self._containers, self._volumes, self._endpoints = containers, volumes, endpoints
        self._bundles, self._waiting, self._watch = bundles, waiting, watch
        self._unsettled: set[str] = set()  # started, and not undone yet
        self._restarted: set[str] = set()  # by hand, and not said yet to have been started

    # --- start ------------------------------------------------------------------------------------

    def start(self, text: str) -> None:
        """Raises PyruncError, NOT_MODIFIED if it runs already."""
        id = self._containers.find(text).id
        with self._locks.holding(id):
            container = self._containers.find(id)
            state = self._containers.state(container)
            if container.is_removing:
                raise PyruncError(CONFLICT, "container is marked for removal and cannot be started")
            if state.status == "paused":
                raise PyruncError(CONFLICT, "cannot start a paused container, try unpause instead")
            if state.is_running and state.status != RESTARTING:
                raise PyruncError(NOT_MODIFIED, f"container {container.name} is already running")
            self.settle(container)
            try:
                with self._locks.at_work():
                    self._start(container)
            except PyruncError as error:
                self._failed(container, error)
                raise
            except Exception as error:  # a bug of ours: who is attached must be told, too
                self._failed(container, PyruncError(INTERNAL, "internal error", "", repr(error)))
                raise
        if container.error or container.was_stopped:
            self._forget_past(id)

    def start_again(self, container: Container) -> None:
        """As `start`; that it was a restart is told when it is told to be started."""
        self._restarted.add(container.id)
        try:
            self.start(container.id)
        except BaseException:
            self._restarted.discard(container.id)
            raise

    def forget_start(self, container: Container) -> None:
        """One that was cut off before the container ran."""
        self._abandon_shim(container.id)

    def adopt(self, container: Container) -> None:
        """One that runs, and was started by another process than ours."""
        self._unsettled.add(container.id)
        self._watch.add(container.id, self._layout.container(container.id))

    def _forget_past(self, id: str) -> None:
        with self._locks.holding(id):
            container = self._containers.get(id)
            if container is not None:
                self._containers.update(replaced(container, error="", error_code=0, was_stopped=False))

    def _start(self, container: Container) -> None:
        directory = self._layout.container(container.id)
        with ExitStack() as undo:
            rootfs = self._layout.rootfs(container.id)
            with doing("make the mountpoint", rootfs):
                os.makedirs(rootfs, 0o755, exist_ok=True)
            undo.callback(self._store.snapshots.unmount, rootfs)
            self._store.snapshots.mount(container.id, rootfs)
            undo.callback(self._endpoints.give_up, container)
            place = self._endpoints.join(container)
            undo.callback(self._bundles.unmake, container)
            self._bundles.make(container, place, rootfs)
            write_atomically(
                f"{directory}/{protocol.SETTINGS_FILE}",
                jsonio.dumps(self._bundles.shim_settings(container)).encode(),
                0o600,
            )
            undo.callback(self._abandon_shim, container.id)
            self._shims.start(directory)
            self._unsettled.add(container.id)
            undo.callback(self._unsettled.discard, container.id)
            self._endpoints.hand_over_ports(container.id, directory)
            self._watch.add(container.id, directory)
            self._waiting.hand_over(container.id, directory)
            protocol.call(directory, "start")
            undo.pop_all()

    def _abandon_shim(self, id: str) -> None:
        """Of a start that failed. What it left on disk must not look like a run."""
        directory = self._layout.container(id)
        self._shims.end(id, directory)
        for name in (protocol.STATUS_FILE, protocol.PID_FILE):
            try:
                os.unlink(f"{directory}/{name}")
            except FileNotFoundError:
                pass

    def _failed(self, container: Container, error: PyruncError) -> None:
        """It remembers why, with the exit code that a shell would give."""
        self._waiting.drop(container.id)
        text = str(error)
        code = next((code for words, code in _CODES if words in text), _FAILED_CODE)
        failed = replaced(container, error=text, error_code=code)
        self._containers.update(failed)
        if container.removes_itself:
            try:
                self._remove(failed, volumes=True)
            except PyruncError as second:
                log.error(f"container {container.id}: {second}")

    def rootfs(self, container: Container) -> str:
        return self._layout.rootfs(container.id)

    # --- exit -------------------------------------------------------------------------------------

    def tell(self, id: str, event: dict[str, Any]) -> None:
        """From the watch: what a shim says of its container."""
        name = event["event"]
        container = self._containers.get(id)
        if container is None:
            return
        if name == "gone":
            threading.Thread(target=self._ended, args=(id,), daemon=True).start()
            return
        if name == "exit":
            if event["status"]["status"] == "restarting":
                self._publish_death(container, event.get("exit_code") or 0)
            else:
                threading.Thread(target=self._ended, args=(id,), daemon=True).start()
            return
        self._publish(container, name, event)

    def _publish(self, container: Container, name: str, event: dict[str, Any]) -> None:
        if name == "health_status":
            health = (event["status"].get("health") or {}).get("status", "")
            self._containers.publish(container, f"health_status: {health}")
        elif name == "kill" and not container.is_removing:  # a removal has told of its own
            self._containers.publish(container, "kill", signal=str(event.get("signal", "")))
        elif name in _ACTIONS:
            self._containers.publish(container, _ACTIONS[name])
            if name == "start" and container.id in self._restarted:
                self._restarted.discard(container.id)
                self._containers.publish(container, "restart")

    def _ended(self, id: str) -> None:
        """In a thread of its own, for it waits for others."""
        try:
            with self._locks.holding(id):
                container = self._containers.get(id)
                if container is None:
                    return
                is_orphan = self.end_orphan(container)
                if not self._containers.state(container).is_running:
                    self.settle(container)
            if is_orphan and self.is_to_run(container):
                self.start(id)
        except PyruncError as error:
            log.error(f"container {id} has ended: {error}")

    def await_end(self, id: str) -> None:
        """Of one that has ended: until what happened before its end has been told."""
        self._watch.await_end(id)

    def end_orphan(self, container: Container) -> bool:
        """Whether it ran, but its shim was killed: nobody would read what it writes, see its end or start it
        again, so it goes along. Under its lock."""
        directory = self._layout.container(container.id)
        if not self._containers.state(container).is_running or protocol.is_running(directory):
            return False
        log.warning(f"container {container.id} is ended: its shim is gone")
        self._shims.end(container.id, directory)
        return True

    def is_to_run(self, container: Container) -> bool:
        """After the machine was started anew, or its shim was killed: as its restart policy says. One that
        was never started isn't."""
        name = container.host["RestartPolicy"]["Name"]
        if not os.path.exists(f"{self._layout.container(container.id)}/{protocol.STATUS_FILE}"):
            return False
        if name == "on-failure":
            return not container.was_stopped and self._containers.state(container).exit_code != 0
        return name == "always" or (name == "unless-stopped" and not container.was_stopped)

    def _publish_death(self, container: Container, code: int) -> None:
        self._containers.publish(container, "die", exitCode=str(code))

    def settle(self, container: Container) -> None:
        """Take away what it had while it ran, and the container itself if that is what it asked for. Under
        its lock; it does not run. Nothing if that was done."""
        if container.id in self._unsettled or os.path.ismount(self._layout.rootfs(container.id)):
            self._settle(container)
        removes_itself = container.removes_itself and not container.is_removing
        if removes_itself and self._containers.state(container).status == EXITED:
            self._remove(container, volumes=True)

    def _settle(self, container: Container) -> None:
        self._shims.end(container.id, self._layout.container(container.id))
        left = self._endpoints.leave(container)
        self._bundles.unmake(container)
        self._store.snapshots.unmount(self._layout.rootfs(container.id))
        self._unsettled.discard(container.id)
        state = self._containers.state(replaced(container, is_removing=False))
        if state.status == EXITED:
            if state.exit_code and not container.was_stopped:
                log.debug(f"container {container.id} has ended with {state.exit_code}")
            self._publish_death(container, state.exit_code)
        self._endpoints.tell_left(container, left)

    # --- removal ----------------------------------------------------------------------------------

    def remove(self, text: str, *, force: bool = False, volumes: bool = False) -> None:
        """Raises PyruncError: CONFLICT if it runs, and no `force`."""
        id = self._containers.find(text).id
        with self._locks.holding(id):
            container = self._containers.find(id)
            state = self._containers.state(container)
            if state.is_running and not force:
                hint = "unpause and then " if state.status == "paused" else ""
                raise PyruncError(
                    CONFLICT,
                    f'cannot remove container "{container.name}": container is {state.status}: '
                    f"{hint}stop the container before removing or force remove",
                )
            if state.is_running:
                self._containers.publish(container, "kill", signal="9")
            self._remove(container, volumes=volumes)

    def _remove(self, container: Container, *, volumes: bool) -> None:
        """From here on it cannot come back; what is cut off, a daemon's start goes on with."""
        volumes = volumes or container.removes_volumes
        container = replaced(container, is_removing=True, removes_volumes=volumes)
        self._containers.update(container)
        directory = self._layout.container(container.id)
        self._shims.end(container.id, directory)
        self.settle(container)
        self._waiting.drop(container.id)
        self._store.snapshots.remove(container.id)
        if os.path.lexists(directory):  # not of a removal that was cut off here
            with doing("remove container", directory):
                shutil.rmtree(directory)
        for mount in container.mounts:
            if mount.is_anonymous and volumes:
                self._remove_volume(mount.name, container)
        self._containers.forget(container)

    def _remove_volume(self, name: str, container: Container) -> None:
        try:
            self._volumes.remove(name, of=container.id)
        except PyruncError as error:
            if error.kind not in (CONFLICT, NOT_FOUND):  # somebody else's by now
                raise


_ACTIONS = {
    "start": "start",
    "restart": "restart",
    "pause": "pause",
    "resume": "unpause",
    "stop": "stop",
    "oom": "oom",
    "detach": "detach",
}

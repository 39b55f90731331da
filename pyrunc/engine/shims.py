"""Shims, started by a spawner: a small process that has the runtime loaded and forks one in some
milliseconds, where a program would take a tenth of a second. It is begun with the first container, and anew
if it has died.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time

from pyrunc import log
from pyrunc.errors import INTERNAL, NOT_FOUND, PyruncError
from pyrunc.shim import protocol, settings
from pyrunc.spawner.client import Connection, Spawner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ENDS_SECONDS = 0.002

_GONE = "the spawner is gone"


class Shims:
    def __init__(self, state_root: str) -> None:
        self._state_root = state_root
        self._lock = threading.Lock()
        self._spawner: Spawner | None = None
        self._is_closed = False

    def start(self, directory: str) -> None:
        """For the settings in `directory`. Raises PyruncError, what the runtime said."""
        self._ask(lambda connection: connection.shim(directory))

    def end(self, id: str, directory: str) -> None:
        """Have the shim remove its container and end, if there is one. One that has ended by itself leaves
        what the runtime keeps of the container: that goes, too. When this returns, another may be
        started."""
        while True:
            try:
                protocol.remove(directory, force=True)
            except PyruncError as error:
                if error.kind != NOT_FOUND:
                    raise
            if not protocol.is_running(directory):
                break
            time.sleep(_ENDS_SECONDS)
        if os.path.exists(f"{self._state_root}/{id}"):
            self._delete(id, directory)

    def _delete(self, id: str, directory: str) -> None:
        """By the runtime that made it. Nothing is no error."""
        program = settings.load(f"{directory}/{protocol.SETTINGS_FILE}").runtime
        if program:
            words = [program, "--root", self._state_root, "delete", "--force", id]
            done = subprocess.run(
                words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
            if done.returncode:
                raise PyruncError(INTERNAL, "cannot delete the container", id, done.stderr.strip())
            return
        self._ask(lambda connection: connection.delete(id, state_root=self._state_root, force=True))

    def _ask(self, call: Callable[[Connection], None]) -> None:
        """By a connection of its own: what others ask for waits neither for this nor for a lock of ours."""
        spawner, connection = self._connect(None)
        try:
            with connection:
                call(connection)
        except PyruncError as error:
            if not _tells_of_its_end(error) or self._is_closed:
                raise
            _, connection = self._connect(spawner)
            with connection:
                call(connection)

    def _connect(self, gone: Spawner | None) -> tuple[Spawner, Connection]:
        """Another spawner is started if there is none, or if it is the one that is `gone`."""
        with self._lock:
            spawner = self._spawner
            if spawner is not None and spawner is not gone:
                try:
                    return spawner, spawner.connect()
                except PyruncError as error:
                    if not _tells_of_its_end(error):
                        raise
            if spawner is not None:
                log.warning(f"{_GONE}: another is started")
                spawner.close()
            self._spawner = spawner = Spawner()
            return spawner, spawner.connect()

    def close(self) -> None:
        """Shims go on."""
        self._is_closed = True
        with self._lock:
            if self._spawner is not None:
                self._spawner.close()
                self._spawner = None


def _tells_of_its_end(error: PyruncError) -> bool:
    return error.kind == INTERNAL and error.what == _GONE

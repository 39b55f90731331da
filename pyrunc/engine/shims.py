"""Shims, started by a spawner: a small process that has the runtime loaded and forks one in some
milliseconds, where a program would take a tenth of a second. It is begun with the first container, and anew
if it has died.
"""

from __future__ import annotations

import threading

from pyrunc import log
from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.spawner.client import Spawner

_GONE = "the spawner is gone"


class Shims:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spawner: Spawner | None = None

    def start(self, directory: str) -> None:
        """For the settings in `directory`. Raises PyruncError, what the runtime said."""
        with self._lock:
            if self._spawner is None:
                self._spawner = Spawner()
            try:
                self._spawner.shim(directory)
            except PyruncError as error:
                if error.kind != INTERNAL or error.what != _GONE:
                    raise
                log.warning(f"{_GONE}: another is started")
                self._spawner.close()
                self._spawner = Spawner()
                self._spawner.shim(directory)

    def close(self) -> None:
        """Shims go on."""
        with self._lock:
            if self._spawner is not None:
                self._spawner.close()
                self._spawner = None

"""One thread of one process at a time for each container: a lock for threads, and a file lock between
processes.

The kernel lets go of a file lock with the process that held it, so nobody who was killed is in the way. A
file is there only while somebody holds it or waits for it: none is left of a container that is gone.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator


class Locks:
    def __init__(self, directory: str) -> None:
        os.makedirs(directory, 0o700, exist_ok=True)
        self._directory = directory
        self._guard = threading.Lock()
        self._held: dict[str, tuple[threading.RLock, int]] = {}  # name -> lock, how many hold it or wait

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """`name`: a file name. A thread may hold one twice."""
        with self._guard:
            lock, users = self._held.get(name, (threading.RLock(), 0))
            self._held[name] = lock, users + 1
        try:
            with lock, self._file(name):
                yield
        finally:
            with self._guard:
                lock, users = self._held.pop(name)
                if users > 1:
                    self._held[name] = lock, users - 1

    @contextmanager
    def _file(self, name: str) -> Iterator[None]:
        """The thread's own lock keeps the others of this process away; so of those who are here, all but the
        first hold it already: a second descriptor of theirs would wait for the first."""
        owned = getattr(self._mine, "names", None)
        if owned is None:
            owned = self._mine.names = set()
        if name in owned:
            yield
            return
        path = f"{self._directory}/{name}"
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if _is_still_there(fd, path):
                    break
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        owned.add(name)
        try:
            yield
        finally:
            owned.discard(name)
            try:
                os.unlink(path)  # whoever waits for it finds that out, and makes another
            except FileNotFoundError:  # the run root was cleared away
                pass
            finally:
                os.close(fd)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While something is made that is not recorded yet, or recorded before it is made: `alone` waits."""
        with self._whole(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody, of no process, is at work: what is there and not recorded belongs to nobody."""
        with self._whole(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _whole(self, kind: int) -> Iterator[None]:
        fd = os.open(f"{self._directory}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, kind)
            yield
        finally:
            os.close(fd)

    _mine = threading.local()

    def sweep(self, known: Container[str]) -> None:
        """Take away the files of those who were killed and hold nothing any more, but for `known` names."""
        for name in os.listdir(self._directory):
            if name not in known:
                with self.holding(name):
                    pass


def _is_still_there(fd: int, path: str) -> bool:
    """Whoever held it before has removed it."""
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino)

"""Threads for the transfers of one operation: so many at a time, in order, and all stop when one fails."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Cancelled(Exception):
    """Another part of the operation failed, and says why."""


class Tasks:
    """Start them with `run`, then `join`, which raises what the first one raised. `is_cancelled` is for long
    tasks to ask now and then."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.when_cancelled: list[Callable[[], None]] = []  # to wake up who waits for what won't come

    def is_cancelled(self) -> bool:
        return self._stop.is_set()

    def cancel(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None or isinstance(self._error, Cancelled):
                self._error = error
        self._stop.set()
        for wake in self.when_cancelled:
            wake()

    def run(self, jobs: Iterable[Callable[[], None]], at_a_time: int) -> None:
        """Each job once, by `at_a_time` threads, which take them in order."""
        waiting = iter(list(jobs))
        lock = threading.Lock()

        def work() -> None:
            while not self._stop.is_set():
                with lock:
                    job = next(waiting, None)
                if job is None:
                    return
                try:
                    job()
                except BaseException as error:
                    self.cancel(error)

        for _ in range(max(1, at_a_time)):
            thread = threading.Thread(target=work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        if self._error is not None:
            raise self._error

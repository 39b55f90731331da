"""The loop of a shim: descriptors, timers and signals, one after the other, in one thread.

    loop = Loop()
    loop.watch(fd, EPOLLIN, lambda events: ...)     # until loop.forget(fd)
    timer = loop.after(0.5, retry)                  # once; timer.cancel() before that
    loop.on_signal(SIGTERM, stop)                   # called from here, never in the middle of something
    loop.run()                                      # until loop.stop()

A callback may do anything with the loop, also close what others of the same round would be called for.
It must not block: see `oci_runtime` for what takes its time.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
from select import EPOLLIN, epoll
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LONGEST_SECONDS = 86_400.0  # epoll_wait(2) counts milliseconds in 31 bits


class Timer:
    """To be called once, at `deadline` (CLOCK_MONOTONIC, seconds)."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callable[[], object]) -> None:
        self.deadline = deadline
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """It will not be called any more; also when it has been."""
        self.callback = None


class Loop:
    """`report` is told of what a callback raises, and the loop goes on; without it the loop ends by that."""

    def __init__(self, report: Callable[[Exception], object] | None = None) -> None:
        self._epoll = epoll()
        self._watched: dict[int, Callable[[int], object]] = {}
        self._timers: list[Timer] = []
        self._signals: dict[int, Callable[[], object]] = {}
        self._report = report
        self._is_running = False
        self._wakeup, self._wakeup_end = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        self.watch(self._wakeup, EPOLLIN, self._take_signals)
        _signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)

    def watch(self, fd: int, events: int, callback: Callable[[int], object]) -> None:
        """Call `callback(events)` whenever `fd` has one of `events` (EPOLL*; EPOLLHUP and EPOLLERR always
        count). Once per descriptor. Raises OSError: PermissionError for what can't be waited for, a file."""
        self._epoll.register(fd, events)
        self._watched[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Other events, or none for now (0), for a descriptor that is watched."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """To be called before `fd` is closed. One that isn't watched is no error."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(monotonic() + seconds, callback)
        self._timers.append(timer)
        return timer

    def on_signal(self, number: int, callback: Callable[[], object]) -> None:
        """In place of what the signal would do. Several that come close together may be one call."""
        self._signals[number] = callback
        _signal.signal(number, _notice)

    def stop(self) -> None:
        """`run` returns when the callback that calls this has returned."""
        self._is_running = False

    def run(self) -> None:
        self._is_running = True
        while self._is_running:
            self._round()

    def _round(self) -> None:
        ready = [
            (fd, events, self._watched.get(fd)) for fd, events in self._epoll.poll(self._seconds_to_next())
        ]
        for fd, events, callback in ready:
            # Somebody before us in this round may have closed it, and opened another by its number.
            if callback is not None and self._watched.get(fd) is callback:
                self._call(callback, events)
        self._ring()

    def _seconds_to_next(self) -> float:
        self._timers = [timer for timer in self._timers if timer.callback is not None]
        if not self._timers:
            return -1
        first = min(timer.deadline for timer in self._timers)
        return min(max(0.0, first - monotonic()), _LONGEST_SECONDS)

    def _ring(self) -> None:
        now = monotonic()
        for timer in sorted((item for item in self._timers if item.deadline <= now), key=_deadline):
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._call(callback)

    def _call(self, callback: Callable[..., object], *arguments: int) -> None:
        if self._report is None:
            callback(*arguments)
            return
        try:
            callback(*arguments)
        except Exception as error:
            self._report(error)

    def _take_signals(self, _events: int) -> None:
        for number in sorted(set(posix.read(self._wakeup, 4096))):
            if number in self._signals:
                self._call(self._signals[number])

    def abandon(self) -> None:
        """For a child after fork: signals are its own again, by their defaults. What the loop watched stays
        the parent's."""
        _signal.set_wakeup_fd(-1)
        for number in self._signals:
            _signal.signal(number, _signal.SIG_DFL)

    def close(self) -> None:
        self.abandon()
        self._epoll.close()
        posix.close(self._wakeup)
        posix.close(self._wakeup_end)


def _deadline(timer: Timer) -> float:
    return timer.deadline


def _notice(_number: int, _frame: Any) -> None:
    """A handler, so that the signal reaches the wake-up descriptor."""

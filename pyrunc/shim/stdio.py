"""Streams without waiting: what reads a pipe, what writes one, and both together.

    source = Source(loop, fd, log.write, at_end)      # at_end() once, when nobody can write any more
    writer = Writer(loop, fd, limit_bytes=1 << 20, broken=drop)
    writer.write(b"...")                              # goes out as the other end takes it
    Pump(loop, from_fifo, to_pipe, ended)             # one to the other, a chunk at a time

Each owns its descriptor, makes it non-blocking and closes it. A reader that is slow costs memory up to a
`limit_bytes` and no more: either its source is paused (a pump), or it is dropped (`broken`).
"""

from __future__ import annotations

import posix
from errno import ECONNRESET, EIO
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT

from pyrunc.kernel import syscall
from pyrunc.kernel.const import F_DUPFD_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.loop import Loop

# What a pty's master says when the last slave is closed, and a socket whose peer has left with output unread
_ENDS = (EIO, ECONNRESET)
CHUNK_BYTES = 15 << 10  # less than a piece of a log (shim.logs), and so most of its lines are whole


def duplicate(fd: int) -> int:
    """Another descriptor of the same, close-on-exec."""
    return syscall.call("fcntl", fd, F_DUPFD_CLOEXEC, 3)


class Source:
    """The reading end of a pipe, a fifo or a socket, or a pty's master. `deliver(data)` gets each chunk."""

    def __init__(
        self, loop: Loop, fd: int, deliver: Callable[[bytes], object], ended: Callable[[], object]
    ) -> None:
        posix.set_blocking(fd, False)
        self.fd = fd
        self._loop, self._deliver, self._ended = loop, deliver, ended
        loop.watch(fd, EPOLLIN, self._step)

    def pause(self) -> None:
        """Read no more for now: a container that goes on writing waits then."""
        if self.fd >= 0:
            # Nothing at all: EPOLLHUP would be told again and again while nobody reads.
            self._loop.forget(self.fd)

    def resume(self) -> None:
        if self.fd >= 0:
            self._loop.forget(self.fd)
            self._loop.watch(self.fd, EPOLLIN, self._step)

    def drain(self) -> bool:
        """Deliver what is there now. True: that was the end of it."""
        while self.fd >= 0 and self._read():
            pass
        return self.fd < 0

    def close(self) -> None:
        """Without a word to `ended`."""
        if self.fd >= 0:
            self._loop.forget(self.fd)
            posix.close(self.fd)
            self.fd = -1

    def _step(self, _events: int) -> None:
        self._read()

    def _read(self) -> bool:
        """One chunk; False when nothing is there, or the end."""
        try:
            data = posix.read(self.fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _ENDS:
                raise
            data = b""
        if data:
            self._deliver(data)
            return True
        self.close()
        self._ended()
        return False


class Writer:
    """The writing end of anything. `pending` bytes wait to go out; when none do, `drained()` is called, once
    for each time that some did. `broken()`: nobody reads any more, or more than `limit_bytes` wait; the
    descriptor is closed by then."""

    def __init__(
        self,
        loop: Loop,
        fd: int,
        *,
        limit_bytes: int = 1 << 20,
        broken: Callable[[], object] | None = None,
        drained: Callable[[], object] | None = None,
    ) -> None:
        posix.set_blocking(fd, False)
        self.fd = fd
        self._loop, self._limit_bytes = loop, limit_bytes
        self._broken, self._drained = broken, drained
        self._waiting = bytearray()
        self.taken_bytes = 0  # by the other end, since the beginning
        self._ends = False
        self._is_watched = False
        if broken is not None:
            try:
                loop.watch(fd, 0, self._step)  # that nobody reads any more is told without asking
                self._is_watched = True
            except PermissionError:  # a file: it is always ready
                pass

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        """Takes all of it, or breaks. After the end nothing is taken, and nobody told."""
        if self.fd < 0 or self._ends:
            return
        if self._waiting:
            self._keep(data)
            return
        rest = self._put(data)
        if rest:
            self._keep(rest)
            self._want(EPOLLOUT)

    def end(self) -> None:
        """Close when all is out."""
        self._ends = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        """At once; what waits is lost."""
        self._waiting.clear()
        if self.fd >= 0:
            self._loop.forget(self.fd)
            posix.close(self.fd)
            self.fd = -1

    def _keep(self, data: bytes | memoryview) -> None:
        self._waiting += data
        if len(self._waiting) > self._limit_bytes:
            self._break()

    def _put(self, data: bytes | bytearray) -> memoryview | bytes:
        """What doesn't go out now; nothing when it never will."""
        view = memoryview(data)
        try:
            while view:
                count = posix.write(self.fd, view)
                self.taken_bytes += count
                view = view[count:]
        except BlockingIOError:
            return view
        except OSError:  # EPIPE, EIO, ECONNRESET, ENOSPC: whatever it is, there is no reader any more
            view = memoryview(b"")
            self._break()
        return b""

    def _want(self, events: int) -> None:
        if self.fd < 0:
            return
        if self._is_watched:
            self._loop.change(self.fd, events)
        else:
            self._loop.watch(self.fd, events, self._step)
            self._is_watched = True

    def _step(self, events: int) -> None:
        if events & (EPOLLERR | EPOLLHUP):
            self._break()
            return
        rest = bytes(self._put(bytes(self._waiting)))
        if self.fd < 0:
            return
        self._waiting[:] = rest
        if not rest:
            self._want(0)
            if self._ends:
                self.close()
            if self._drained is not None:
                self._drained()

    def _break(self) -> None:
        self.close()
        if self._broken is not None:
            self._broken()


class Pump:
    """All that `source_fd` gives to `target_fd`, and then `ended()`, when that has taken it. While it has not
    taken a chunk no other is read. A target that nobody reads any more: the rest is read and dropped, for who
    writes into the source should not stop for it."""

    def __init__(
        self, loop: Loop, source_fd: int, target_fd: int, ended: Callable[[], object] | None = None
    ) -> None:
        self._tell = ended
        self._writer = Writer(loop, target_fd, broken=self._continue, drained=self._continue)
        self.source = Source(loop, source_fd, self._pass, self._finish)
        self._has_ended = False

    def drain(self) -> None:
        """Pass what is there now, and end: whoever wrote has ended, and what it started doesn't count."""
        if self.source.fd >= 0 and not self.source.drain():
            self.source.close()
            self._finish()

    def close(self) -> None:
        """At once, without a word."""
        self._tell = None
        self.source.close()
        self._writer.close()

    def _pass(self, data: bytes) -> None:
        self._writer.write(data)
        if self._writer.pending:
            self.source.pause()

    def _continue(self) -> None:
        if self._has_ended:
            self._done()
        else:
            self.source.resume()

    def _finish(self) -> None:
        self._has_ended = True
        if not self._writer.pending:
            self._done()

    def _done(self) -> None:
        self._writer.close()
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

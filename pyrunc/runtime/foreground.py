"""Stay with a process until it ends: pass signals on, copy its terminal, reap what is left to us.

Standard streams are inherited, which costs nothing and loses no byte. Only a terminal of the caller's is not
given to a container without one of its own: through it the container could type for the caller (TIOCSTI).
Then the bytes go through pipes.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
from errno import EAGAIN, EIO
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

from pyrunc.kernel import fds, signals, syscall, terminal
from pyrunc.kernel.const import PR_SET_CHILD_SUBREAPER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHUNK = 4096  # PIPE_BUF: a target that polls writable takes it without blocking
# The shell's job control stops us and not the container; the rest would end us, or is not for it.
_NOT_PASSED_ON = frozenset(
    signals.NUMBERS[name]
    for name in (
        "URG", "PIPE", "XFSZ", "KILL", "STOP", "CONT", "TSTP", "TTIN", "TTOU", "SEGV", "BUS", "FPE", "ILL",
    )
)  # fmt: skip
_LAST_CLASSIC_SIGNAL = 31


class Foreground:
    """Made before the clone, so that no signal is lost in between; then `wait` for the process.

    A signal that our caller ignores, as a shell without job control does SIGINT for what it starts in the
    background, is passed on as others are: whoever sends us one means the container.

    `subreaper`: take in, and reap, what the container leaves behind. It also means that every child of this
    process is reaped here: not for a library whose user has other children.
    """

    def __init__(self, *, subreaper: bool) -> None:
        self.pumps: list[_Pump] = []
        self.is_subreaper = subreaper
        self.console = -1
        self.notify: Any = None  # a socket of runtime.notify, until the container has said that it is ready
        self._terminal_mode: bytes | None = None
        if subreaper:
            syscall.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._wakeup, self._wakeup_end = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        self._handlers: dict[int, Any] = {}
        self._previous_wakeup = _signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        for number in set(signals.NUMBERS.values()) - _NOT_PASSED_ON:
            if number <= _LAST_CLASSIC_SIGNAL:
                self._handlers[number] = _signal.signal(number, _notice)

    def replace_terminals(self) -> tuple[tuple[int, int], ...]:
        """(stream, the child's end of a pipe) for each standard stream that is a terminal of ours."""
        replaced = []
        for stream in (0, 1, 2):
            if not posix.isatty(stream):
                continue
            reading, writing = posix.pipe2(posix.O_CLOEXEC)
            if stream == 0:
                replaced.append((stream, reading))
                self.pumps.append(_Pump(0, writing, owns=writing))
            else:
                replaced.append((stream, writing))
                self.pumps.append(_Pump(reading, stream, owns=reading))
        return tuple(replaced)

    def take_console(self, connection: int) -> None:
        """Receive the pty's master; from here on our own terminal only passes bytes."""
        _, received = fds.receive(connection)
        if not received:
            return
        self.console = received[0]
        if posix.isatty(0):
            terminal.copy_size(0, self.console)
            self._terminal_mode = terminal.make_raw(0)
        self.pumps.append(_Pump(0, self.console))
        self.pumps.append(_Pump(self.console, 1))

    def wait(self, pid: int, pidfd: int) -> int:
        """The exit code: the process's own, or 128 and the number of the signal that ended it."""
        status = self._loop(pid, pidfd)
        for pump in self.pumps:
            pump.drain()
        code = posix.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _loop(self, pid: int, pidfd: int) -> int:
        while True:
            watch = poll()
            watch.register(self._wakeup, POLLIN)
            watch.register(pidfd, POLLIN)
            if self.notify is not None:
                watch.register(self.notify.fd, POLLIN)
            # The pty's master is the source of one pump and the target of the other.
            interests: dict[int, int] = {}
            for pump in self.pumps:
                fd, event = pump.interest()
                if fd >= 0:
                    interests[fd] = interests.get(fd, 0) | event
            for fd, event in interests.items():
                watch.register(fd, event)
            ended = False
            for fd, event in watch.poll():
                if fd == self._wakeup:
                    self._pass_on(posix.read(self._wakeup, 4096), pidfd)
                elif fd == pidfd:
                    ended = True
                elif self.notify is not None and fd == self.notify.fd:
                    self._take_notice()
                else:
                    for pump in self.pumps:
                        pump.step(fd, event)
            status = self._reap(pid, ended)
            if status is not None:
                return status

    def _take_notice(self) -> None:
        if self.notify.take():
            self.notify.close()
            self.notify = None

    def _pass_on(self, numbers: bytes, pidfd: int) -> None:
        for number in numbers:
            if number == signals.NUMBERS["WINCH"] and self.console >= 0:
                terminal.copy_size(0, self.console)
            elif number != signals.NUMBERS["CHLD"]:
                try:
                    signals.send(pidfd, number)
                except ProcessLookupError:
                    pass

    def _reap(self, pid: int, ended: bool) -> int | None:
        """As a subreaper all who have ended; the status of `pid` once it is one of them."""
        if not self.is_subreaper:
            return posix.waitpid(pid, 0)[1] if ended else None
        found = None
        while True:
            try:
                child, status = posix.waitpid(-1, posix.WNOHANG)
            except ChildProcessError:
                return found
            if child == 0:
                return found
            if child == pid:
                found = status

    def close(self) -> None:
        """Give the caller's terminal and signal handlers back as they were."""
        if self._terminal_mode is not None:
            terminal.restore(0, self._terminal_mode)
        for number, handler in self._handlers.items():
            _signal.signal(number, handler)
        _signal.set_wakeup_fd(self._previous_wakeup)
        for fd in (self._wakeup, self._wakeup_end, self.console):
            if fd >= 0:
                posix.close(fd)
        for pump in self.pumps:
            pump.close()


def _notice(_number: int, _frame: object) -> None:
    """A handler, so that the signal reaches the wake-up descriptor."""


class _Pump:
    """One direction. A slow reader stops us reading, not the rest of the loop. `owns`: our end of a pipe."""

    def __init__(self, source: int, target: int, *, owns: int = -1) -> None:
        self.source, self.target, self.owns = source, target, owns
        self.waiting = b""

    def interest(self) -> tuple[int, int]:
        """The descriptor to watch now, and for what; -1 when it is over."""
        return (self.target, POLLOUT) if self.waiting else (self.source, POLLIN)

    def step(self, fd: int, event: int) -> None:
        if self.waiting:
            if fd == self.target and event & (POLLOUT | POLLERR | POLLHUP):
                self._write()
        elif fd == self.source and event & (POLLIN | POLLHUP | POLLERR):
            self._read()

    def _read(self) -> bool:
        try:
            self.waiting = posix.read(self.source, _CHUNK)
        except OSError as error:
            if error.errno == EAGAIN:
                return False
            if error.errno != EIO:  # what the master of a pty says when the last slave is closed
                raise
        if not self.waiting:
            self.source = -1
            self.close()
        return bool(self.waiting)

    def _write(self) -> None:
        try:
            self.waiting = self.waiting[posix.write(self.target, self.waiting) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads any more: the rest is dropped
            self.waiting = b""

    def drain(self) -> None:
        """What was written before the end is still to come out; nobody waits for more."""
        if self.source <= 2:
            return
        posix.set_blocking(self.source, False)
        while self.waiting or (self.source >= 0 and self._read()):
            self._write()

    def close(self) -> None:
        if self.owns >= 0:
            posix.close(self.owns)
            self.owns = -1

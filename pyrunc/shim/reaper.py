"""Children, and who is told of their end.

    reaper = Reaper(loop)                  # we are the subreaper of all below us from here on
    child = reaper.expect(pid, ended)      # ended(child) when it has: child.exit_code, child.ended_ns
    child.signal(15)                       # reaches this very process or nobody

A pid is the process's as long as we haven't reaped it, and we reap nowhere else: so a pid of ours that is
not yet reaped can be given to `expect` at any time, even when the process is a zombie by now. While a runtime
is at work its init may end before we were told its pid: while somebody has called `hold`, unknown children
are left as they are. All others are orphans of the container, and reaped at once.
"""

from __future__ import annotations

import posix
from time import time_ns

from pyrunc.kernel import signals, syscall
from pyrunc.kernel.const import PR_SET_CHILD_SUBREAPER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.loop import Loop

_SIGCHLD = signals.NUMBERS["CHLD"]


class Child:
    """A process that we wait for. `status` as waitpid(2) has it, None while it lives; `ended_ns` since the
    epoch."""

    __slots__ = ("ended", "ended_ns", "pid", "pidfd", "status")

    def __init__(self, pid: int, ended: Callable[[Child], object]) -> None:
        self.pid, self.ended = pid, ended
        self.pidfd = posix.pidfd_open(pid)
        self.status: int | None = None
        self.ended_ns = 0

    @property
    def exit_code(self) -> int:
        """As a shell has it: its own, or 128 and the number of the signal that ended it."""
        assert self.status is not None
        code = posix.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """pidfd_send_signal(2). Raises ProcessLookupError when it has ended."""
        if self.pidfd < 0:
            raise ProcessLookupError(3, "process has ended", str(self.pid))
        signals.send(self.pidfd, number)


class Reaper:
    """One per process: it takes SIGCHLD."""

    def __init__(self, loop: Loop) -> None:
        syscall.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._expected: dict[int, Child] = {}
        self._holders = 0
        self.orphans = 0  # how many nobody had asked for
        self._loop = loop
        loop.on_signal(_SIGCHLD, self.reap)

    def expect(self, pid: int, ended: Callable[[Child], object]) -> Child:
        """Tell `ended` of the end of our child `pid`. It is called by the loop, never from here. Raises
        ProcessLookupError where there is no such process."""
        child = Child(pid, ended)
        self._expected[pid] = child
        self._loop.after(0, self.reap)  # its SIGCHLD may have come before
        return child

    def hold(self) -> None:
        """Leave unknown children alone until `release`; as many times as there are holders."""
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        self._loop.after(0, self.reap)

    def reap(self) -> None:
        """All that have ended: those that are expected first, then the others, unless somebody holds them."""
        for child in list(self._expected.values()):
            self._wait(child)
        while not self._holders:
            try:
                pid = _peek()
            except ChildProcessError:
                return
            if pid == 0:
                return
            known = self._expected.get(pid)
            if known is not None:
                self._wait(known)
            else:
                posix.waitpid(pid, 0)
                self.orphans += 1

    def _wait(self, child: Child) -> None:
        try:
            pid, status = posix.waitpid(child.pid, posix.WNOHANG)
        except ChildProcessError:  # a tracer, or a child that was never ours: nobody will tell more of it
            pid, status = child.pid, 0xFF00
        if pid == 0:
            return
        del self._expected[child.pid]
        posix.close(child.pidfd)
        child.pidfd = -1
        child.status, child.ended_ns = status, time_ns()
        child.ended(child)


def _peek() -> int:
    """Who has ended and isn't reaped yet; 0 if nobody. Raises ChildProcessError: there are no children."""
    found = posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    return 0 if found is None else found.si_pid

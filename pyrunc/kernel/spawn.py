"""Run a program and collect what it says: hooks, newuidmap, ps. No shell, no `subprocess` (11 ms)."""

from __future__ import annotations

import posix
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, POLLIN, epoll
from time import monotonic

from pyrunc.kernel import signals, syscall
from pyrunc.kernel.const import CLOSE_RANGE_CLOEXEC, F_DUPFD_CLOEXEC
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.waiting import Work

_KEPT_BYTES = 64 << 10  # of each stream; the rest is read and dropped
_SIGKILL = 9


class Outcome(Record):
    """`status`: exit code, or -N when signal N ended it; `timed_out`: it was killed for that."""

    status: int
    output: bytes
    errors: bytes
    timed_out: bool = False


def run_program(
    path: str,
    argv: tuple[str, ...],
    env: dict[bytes, bytes] | None,
    data: bytes = b"",
    timeout_seconds: float | None = None,
    cwd: str = "",
) -> Work[Outcome]:
    """Execute `path`, feed it `data`, wait for its end. `env` None: our own environment.

    What it leaves running may hold its streams open: only its own end is waited for.
    Raises OSError when it can't be executed. Given up, it is killed.
    """
    pipes = [posix.pipe2(posix.O_CLOEXEC) for _ in range(4)]
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr), (failed, fail) = pipes
    is_attended = False
    pid, pidfd = syscall.clone3(0)
    if pid == 0:
        _become(path, argv, env, (stdin, stdout, stderr), fail, cwd)
    try:
        for fd in (stdin, stdout, stderr, fail):
            posix.close(fd)
        yield failed, POLLIN, None
        code = posix.read(failed, 4)
        if code:
            posix.waitpid(pid, 0)
            raise OSError(int.from_bytes(code, "little"), "execve", path)
        is_attended = True
        return (yield from attend(pid, pidfd, to_stdin, from_stdout, from_stderr, data, timeout_seconds))
    except GeneratorExit:
        posix.kill(pid, _SIGKILL)
        posix.waitpid(pid, 0)
        raise
    finally:
        for fd in (from_stdout, from_stderr, failed, pidfd, *(() if is_attended else (to_stdin,))):
            posix.close(fd)


def _become(
    path: str,
    argv: tuple[str, ...],
    env: dict[bytes, bytes] | None,
    streams: tuple[int, int, int],
    fail: int,
    cwd: str,
) -> None:
    """The child. Its streams may lie on 0 to 2 already: they are moved out of the way first."""
    code = 0
    try:
        signals.reset_for_exec()
        syscall.reset_internal_signals()
        if cwd:
            posix.chdir(cwd)
        high = [syscall.call("fcntl", fd, F_DUPFD_CLOEXEC, 10) for fd in streams]
        fail = syscall.call("fcntl", fail, F_DUPFD_CLOEXEC, 10)
        for number, fd in enumerate(high):
            posix.dup2(fd, number)
        syscall.close_range(3, 0xFFFF_FFFF, CLOSE_RANGE_CLOEXEC)
        posix.execve(path, argv, posix.environ if env is None else env)
    except OSError as error:
        code = error.errno or 5
    except BaseException:
        code = 5
    posix.write(fail, code.to_bytes(4, "little"))
    posix._exit(127)


def attend(
    pid: int,
    pidfd: int,
    to_stdin: int,
    from_stdout: int,
    from_stderr: int,
    data: bytes,
    timeout: float | None,
) -> Work[Outcome]:
    """Feed a child, read what it says, wait for it; kill it at the deadline. `to_stdin` is closed here."""
    kept = {from_stdout: bytearray(), from_stderr: bytearray()}
    deadline = None if timeout is None else monotonic() + timeout
    timed_out = ended = False
    left, feed = memoryview(data), to_stdin  # once closed, `feed` is -1: the number may be another's then
    watch = epoll()
    try:
        watch.register(pidfd, EPOLLIN)
        for fd in kept:
            posix.set_blocking(fd, False)
            watch.register(fd, EPOLLIN)
        posix.set_blocking(to_stdin, False)
        watch.register(to_stdin, EPOLLOUT)
        while not ended:
            left_seconds = None if deadline is None else max(0.0, deadline - monotonic())
            yield watch.fileno(), POLLIN, left_seconds
            ready = watch.poll(0)
            if not ready and deadline is not None and monotonic() >= deadline:
                timed_out, deadline = True, None
                posix.kill(pid, _SIGKILL)
            for fd, event in ready:
                if fd == pidfd:
                    ended = True
                elif fd == feed:
                    left = _feed(fd, left, event)
                    if not left:
                        watch.unregister(fd)
                        posix.close(fd)
                        feed = -1
                elif not _read(fd, kept[fd]):
                    watch.unregister(fd)
    finally:
        watch.close()
        if feed >= 0:
            posix.close(feed)
    for fd, text in kept.items():
        while _read(fd, text):
            pass
    _, status = posix.waitpid(pid, 0)
    return Outcome(
        status=posix.waitstatus_to_exitcode(status),
        output=bytes(kept[from_stdout]),
        errors=bytes(kept[from_stderr]),
        timed_out=timed_out,
    )


def _feed(fd: int, left: memoryview, event: int) -> memoryview:
    """What is still to be written; nothing when the program has closed its end."""
    if event & (EPOLLHUP | EPOLLERR):
        return left[:0]
    try:
        return left[posix.write(fd, left) :]
    except BrokenPipeError:
        return left[:0]


def _read(fd: int, text: bytearray) -> bool:
    """Take what there is; False at the end, or when nothing is there now."""
    try:
        chunk = posix.read(fd, 1 << 16)
    except BlockingIOError:
        return False
    text += chunk[: _KEPT_BYTES - len(text)]
    return bool(chunk)

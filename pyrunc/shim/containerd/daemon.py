"""The shim that stays: what a fork of `start` becomes. It ends with the last container's Shutdown."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
from errno import ENOTEMPTY

from pyrunc import log
from pyrunc.errors import INVALID, PyruncError, describe_errno, doing
from pyrunc.files import read_whole
from pyrunc.kernel import signals, syscall
from pyrunc.kernel.procfs import parse_mountinfo, read_text
from pyrunc.shim import memory
from pyrunc.shim.containerd.events import ProgramPublisher, Publisher, TtrpcPublisher
from pyrunc.shim.containerd.server import Server
from pyrunc.shim.containerd.service import Service
from pyrunc.shim.loop import Loop
from pyrunc.shim.reaper import Reaper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrunc.shim.containerd.main import Words

_LISTENER = 3
_WORST_SCORE = 1000
# Of the daemon's environment, what is said to it alone
_NOT_PASSED_ON = (b"NOTIFY_SOCKET", b"LISTEN_FDS", b"LISTEN_PID", b"LISTEN_FDNAMES")
_LAST_WORDS_SECONDS, _LOOK_AGAIN_SECONDS = 2.0, 0.01


def serve(words: Words, listener: int, path: str, work: str) -> NoReturn:
    """`work`: an empty directory, which goes with us as the socket at `path` does."""
    code = 1
    try:
        _detach(listener)
        log.configure(debugging=words.debug)
        loop = Loop(_report)
        shim = Shim(loop, words, path)
        memory.settle()
        loop.run()
        shim.close()
        _remove_if_empty(work)
        code = 0
    except Exception as error:
        _report(error)
    finally:
        posix._exit(code)


class Shim:
    """The parts, put together."""

    def __init__(self, loop: Loop, words: Words, path: str) -> None:
        self.loop, self._path = loop, path
        reaper = Reaper(loop)
        self.publisher = _publisher(loop, reaper, words)
        self.service = Service(loop, reaper, self.publisher, words.namespace, f"{path}.d", self._stop)
        self.server = Server(loop, _LISTENER, self.service.methods())
        self._left = int(_LAST_WORDS_SECONDS / _LOOK_AGAIN_SECONDS)
        for name in ("TERM", "INT", "HUP"):  # containers go on: it is containerd who says when this ends
            loop.on_signal(signals.NUMBERS[name], _pass_over)
        _signal.signal(signals.NUMBERS["PIPE"], _signal.SIG_IGN)

    def _stop(self) -> None:
        """From now on nobody finds us. The answer, and what containerd is to be told, still go out."""
        if self._path:
            posix.unlink(self._path)
            self._path = ""
            self.server.close()
            self._end_when_all_is_said()

    def _end_when_all_is_said(self) -> None:
        self._left -= 1
        if self._left and (self.server.pending or self.publisher.pending):
            self.loop.after(_LOOK_AGAIN_SECONDS, self._end_when_all_is_said)
        else:
            self.loop.stop()

    def close(self) -> None:
        """What a Shutdown with `now` has left; the containers are `delete`'s then."""
        for connection in list(self.server.connections):
            connection.close()


def _publisher(loop: Loop, reaper: Reaper, words: Words) -> Publisher:
    address = posix.environ.get(b"TTRPC_ADDRESS", b"").decode("utf-8", "surrogateescape")
    if address:
        return TtrpcPublisher(loop, words.namespace, address)
    command = (words.publish_binary, "--address", words.address)
    return ProgramPublisher(loop, words.namespace, reaper, command)


def _remove_if_empty(work: str) -> None:
    """A Shutdown with `now` leaves containers, and their files, to `delete`."""
    try:
        posix.rmdir(work)
    except OSError as error:
        if error.errno != ENOTEMPTY:
            raise


def _pass_over() -> None:
    log.warning("a signal to end is ignored: containerd says when it is time")


def _detach(listener: int) -> None:
    """From whoever started us: containerd waits for the end of our output. What is logged goes into the fifo
    `log` in the bundle; if nobody reads that, it is dropped."""
    posix.setsid()
    null = posix.open("/dev/null", posix.O_RDWR)
    try:
        # Open at both ends, so that it stays open when containerd begins anew; and never waited for
        sink = posix.open("log", posix.O_RDWR | posix.O_NONBLOCK)
    except FileNotFoundError:
        sink = posix.dup(null)
    sources = {0: null, 1: null, 2: sink}
    for number, fd in sources.items():
        posix.dup2(fd, number)
    if listener != _LISTENER:
        posix.dup2(listener, _LISTENER, inheritable=False)
    syscall.close_range(_LISTENER + 1, 0xFFFF_FFFF, 0)
    posix.chdir("/")
    for name in _NOT_PASSED_ON:
        if posix.environ.pop(name, None) is not None:
            posix.unsetenv(name)


def _report(error: Exception) -> None:
    """A bug of ours, or a system call's surprise: it ends one callback, and no container."""
    if isinstance(error, OSError):
        log.error(f"{error.filename or error.strerror}: {describe_errno(error.errno or 0)}")
    elif isinstance(error, PyruncError):
        log.error(str(error))
    else:
        trace, place = error.__traceback__, ""
        while trace is not None:
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            trace = trace.tb_next
        log.error(f"internal error: {error!r} at {place}")


def place(pid: int, shim_cgroup: str) -> None:
    """The daemon, where containerd wants it: a little before itself when memory runs out; and in a cgroup of
    its own, if one is named, in every hierarchy that has it. Raises PyruncError."""
    score = int(read_whole(f"/proc/{posix.getppid()}/oom_score_adj")) + 1
    with doing("set oom_score_adj"):
        _write(f"/proc/{pid}/oom_score_adj", str(min(score, _WORST_SCORE)))
    if not shim_cgroup:
        return
    mounts = parse_mountinfo(read_text("/proc/self/mountinfo"))
    found = False
    for mount in mounts:
        if mount.fstype in ("cgroup", "cgroup2"):
            directory = f"{mount.mountpoint}/{shim_cgroup.strip('/')}"
            if posix.access(f"{directory}/cgroup.procs", posix.W_OK):
                with doing("join the shim's cgroup", directory):
                    _write(f"{directory}/cgroup.procs", str(pid))
                found = True
    if not found:
        raise PyruncError(INVALID, "there is no such cgroup for the shim", shim_cgroup)


def _write(path: str, text: str) -> None:
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    finally:
        posix.close(fd)

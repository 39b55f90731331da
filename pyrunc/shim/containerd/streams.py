"""The three streams of a process, or its terminal: from the names that containerd gives to descriptors.

A name is a fifo's path (or file's), `file:///path` to append to, or `binary:///program?argument=…`, which is
started and reads the container's output itself. Between a fifo and the container there is a pipe, for the
container shall neither feel that containerd goes away nor hold on to its files.
"""

from __future__ import annotations

import posix
from select import EPOLLIN
from stat import S_ISFIFO

from pyrunc.errors import INTERNAL, INVALID, PyruncError, doing
from pyrunc.kernel import signals, syscall
from pyrunc.kernel.const import CLOSE_RANGE_CLOEXEC, F_DUPFD_CLOEXEC
from pyrunc.record import Record
from pyrunc.shim.console import ConsoleSocket, set_size
from pyrunc.shim.oci_runtime import Streams
from pyrunc.shim.stdio import Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.loop import Loop

    Ready = Callable[[Streams], object]

_BINARY, _FILE, _FIFO = "binary", "file", "fifo"
_PIPE_FLAGS = posix.O_CLOEXEC
_ABOVE = 10
_HEX_DIGITS = b"0123456789abcdefABCDEF"
_LOGGER_SECONDS = 10.0


class Wanted(Record):
    """As a request has them. `owner`: uid and gid that pipes are given to."""

    stdin: str
    stdout: str
    stderr: str
    terminal: bool
    owner: tuple[int, int] = (0, 0)


class Identity(Record):
    """What a logging program is told of the container."""

    namespace: str
    container: str


class StreamSet:
    """Of one process. `prepare` opens, and tells of the descriptors for the container; `connect` when the
    runtime has them; `finish` when the process is no more."""

    def __init__(self, loop: Loop, wanted: Wanted, identity: Identity, socket_path: str) -> None:
        self._loop, self._wanted, self._identity = loop, wanted, identity
        self._socket_path = socket_path
        self._console: ConsoleSocket | None = None
        self._handed: list[int] = []  # the container's, ours until the runtime has them
        self._sinks: list[int] = []  # for a terminal, which comes later
        self._stdin = self._keeper = self._master = -1
        self._out: list[Pump] = []
        self._in: Pump | None = None

    def prepare(self, ready: Ready, failed: Callable[[PyruncError], object]) -> None:
        """Calls one of the two, at once unless a logging program has to begin before. Raises PyruncError."""
        logger = _scheme(self._wanted.stdout)[0] == _BINARY
        try:
            self._open_stdin()
            if logger:
                streams, begun = self._start_logger()
                self._await(begun, streams, ready, failed)
                return
            streams = self._open_terminal() if self._wanted.terminal else self._open_pipes()
        except BaseException:
            self.finish()
            raise
        ready(streams)

    # --- opening ----------------------------------------------------------------------------------

    def _open_stdin(self) -> None:
        """The fifo is held open for writing, too, until CloseIO: containerd may go, and come again."""
        if not self._wanted.stdin:
            return
        path = _scheme(self._wanted.stdin)[1]
        with doing("open stdin", path):
            self._stdin = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
            if S_ISFIFO(posix.fstat(self._stdin).st_mode):
                self._keeper = posix.open(path, posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)

    def _open_terminal(self) -> Streams:
        if self._wanted.stdout:
            self._sinks.append(open_sink(self._wanted.stdout))
        self._console = ConsoleSocket(self._loop, self._socket_path)
        return Streams(console=self._socket_path)

    def _open_pipes(self) -> Streams:
        stdout, stderr = (
            self._pipe_to(open_sink(name)) if name else -1
            for name in (self._wanted.stdout, self._wanted.stderr)
        )
        return Streams(stdin=self._pipe_from_stdin(), stdout=stdout, stderr=stderr)

    def _pipe_to(self, sink: int) -> int:
        try:
            reading, writing = posix.pipe2(_PIPE_FLAGS)
        except OSError:
            posix.close(sink)
            raise
        self._handed.append(writing)
        self._out.append(Pump(self._loop, reading, sink))
        self._give_away(reading, writing)
        return writing

    def _pipe_from_stdin(self) -> int:
        if self._stdin < 0:
            return -1
        source, self._stdin = self._stdin, -1
        if self._keeper < 0:  # a file, or a device: the container may read it as well as we
            posix.set_blocking(source, True)
            self._handed.append(source)
            return source
        reading, writing = posix.pipe2(_PIPE_FLAGS)
        self._handed.append(reading)
        self._in = Pump(self._loop, source, writing)
        self._give_away(reading, writing)
        return reading

    def _give_away(self, *ends: int) -> None:
        uid, gid = self._wanted.owner
        if uid or gid:
            for fd in ends:
                posix.fchown(fd, uid, gid)

    # --- a program that takes the output ----------------------------------------------------------

    def _start_logger(self) -> tuple[Streams, int]:
        """Its descriptors: 3 and 4 have stdout and stderr, 5 is closed when it has begun."""
        _, path = _scheme(self._wanted.stdout)
        program, words = parse_binary(path)
        out_reading, out_writing = posix.pipe2(_PIPE_FLAGS)
        err_reading, err_writing = posix.pipe2(_PIPE_FLAGS)
        begun, begins = posix.pipe2(_PIPE_FLAGS)
        self._handed += (out_writing, err_writing)
        try:
            self._spawn_logger(program, words, (out_reading, err_reading, begins))
        except BaseException:
            posix.close(begun)
            raise
        finally:
            for fd in (out_reading, err_reading, begins):
                posix.close(fd)
        if self._wanted.terminal:
            self._sinks.append(out_writing)
            self._handed.remove(out_writing)
            self._console = ConsoleSocket(self._loop, self._socket_path)
            return Streams(console=self._socket_path), begun
        self._give_away(out_writing, err_writing)
        stdin = self._pipe_from_stdin()
        return Streams(stdin=stdin, stdout=out_writing, stderr=err_writing), begun

    def _spawn_logger(self, program: str, words: tuple[str, ...], given: tuple[int, ...]) -> None:
        """By a fork: it has no other descriptor of ours. That it can't be executed is told by a pipe."""
        failed, fail = posix.pipe2(_PIPE_FLAGS)
        pid = posix.fork()
        if pid == 0:
            _be_logger(self._loop, program, words, given, fail, self._identity)
        posix.close(fail)
        try:
            code = posix.read(failed, 4)
        finally:
            posix.close(failed)
        if code:
            raise PyruncError.from_errno(int.from_bytes(code, "little"), "start logging program", program)

    def _await(
        self, begun: int, streams: Streams, ready: Ready, failed: Callable[[PyruncError], object]
    ) -> None:
        def done() -> None:
            self._loop.forget(begun)
            posix.close(begun)
            patience.cancel()

        def begins(_events: int) -> None:
            done()
            ready(streams)

        def too_late() -> None:
            done()
            self.finish()
            failed(PyruncError(INTERNAL, "the logging program does not begin", self._wanted.stdout))

        patience = self._loop.after(_LOGGER_SECONDS, too_late)
        self._loop.watch(begun, EPOLLIN, begins)

    # --- while it runs ----------------------------------------------------------------------------

    def connect(self) -> None:
        """The runtime has answered: what the container has is the container's alone now."""
        self._let_go()
        if self._console is None:
            return
        self._master = self._console.take()
        self._console.close()
        self._console = None
        if self._master < 0:
            raise PyruncError(INTERNAL, "the runtime sent no terminal", self._socket_path)
        while self._sinks:
            self._out.append(Pump(self._loop, posix.dup(self._master), self._sinks.pop()))
        if self._stdin >= 0:
            source, self._stdin = self._stdin, -1
            self._in = Pump(self._loop, source, posix.dup(self._master))

    def _let_go(self) -> None:
        while self._handed:
            posix.close(self._handed.pop())

    def close_stdin(self) -> None:
        """Its end is reached when everybody else who writes has closed it, too."""
        if self._keeper >= 0:
            posix.close(self._keeper)
            self._keeper = -1

    def resize(self, *, rows: int, columns: int) -> None:
        """Without a terminal nothing happens, as with containerd's own shim."""
        if self._master >= 0:
            with doing("resize terminal"):
                set_size(self._master, rows=rows, columns=columns)

    def finish(self) -> None:
        """What the process has written goes out still; then all is closed. More than once is no error."""
        for pump in self._out:
            pump.drain()
        self._out.clear()
        if self._in is not None:
            self._in.close()
            self._in = None
        if self._console is not None:
            self._console.close()
            self._console = None
        self._let_go()
        self.close_stdin()
        while self._sinks:
            posix.close(self._sinks.pop())
        for fd in (self._stdin, self._master):
            if fd >= 0:
                posix.close(fd)
        self._stdin = self._master = -1


def open_sink(name: str) -> int:
    """What output goes to. A fifo is opened for reading, too: without that, output would be lost as soon as
    containerd has closed it, and the container get SIGPIPE. Raises PyruncError."""
    scheme, path = _scheme(name)
    with doing("open output", name):
        if scheme == _FILE:
            _make_directories(path.rpartition("/")[0])
            return posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC, 0o644)
        if scheme != _FIFO:
            raise PyruncError(INVALID, "unknown kind of stream", name, hint="fifo, file and binary are known")
        if S_ISFIFO(posix.stat(path).st_mode):
            return posix.open(path, posix.O_RDWR | posix.O_NONBLOCK | posix.O_CLOEXEC)
        return posix.open(path, posix.O_WRONLY | posix.O_APPEND | posix.O_CLOEXEC)


def _make_directories(path: str) -> None:
    if path:
        try:
            posix.mkdir(path, 0o755)
        except FileExistsError:
            pass
        except FileNotFoundError:
            _make_directories(path.rpartition("/")[0])
            posix.mkdir(path, 0o755)


def _scheme(name: str) -> tuple[str, str]:
    """("fifo", path) of a bare path."""
    scheme, separator, rest = name.partition("://")
    return (scheme, rest) if separator else (_FIFO, name)


def parse_binary(text: str) -> tuple[str, tuple[str, ...]]:
    """The program and its arguments, of what follows `binary://`: each name of the query, and its value if
    there is one. Raises PyruncError INVALID."""
    path, _, query = text.partition("?")
    words: list[str] = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        words += [_unquoted(word.replace("+", " ")) for word in (name, value) if word]
    program = _unquoted(path)
    if not program.startswith("/"):
        raise PyruncError(INVALID, "logging program is not an absolute path", program)
    return program, tuple(words)


def _unquoted(text: str) -> str:
    """%41 is A (RFC 3986, 2.1)."""
    head, *parts = text.encode("utf-8", "surrogateescape").split(b"%")
    found = head
    for part in parts:
        digits = part[:2]
        is_escape = len(digits) == 2 and not digits.strip(_HEX_DIGITS)
        found += bytes.fromhex(digits.decode()) + part[2:] if is_escape else b"%" + part
    return found.decode("utf-8", "surrogateescape")


def _be_logger(
    loop: Loop, program: str, words: tuple[str, ...], given: tuple[int, ...], fail: int, identity: Identity
) -> None:
    code = 0
    try:
        loop.abandon()
        signals.reset_for_exec()
        syscall.reset_internal_signals()
        null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
        high = [syscall.call("fcntl", fd, F_DUPFD_CLOEXEC, _ABOVE) for fd in (null, null, null, *given)]
        fail = syscall.call("fcntl", fail, F_DUPFD_CLOEXEC, _ABOVE)
        for number, fd in enumerate(high):
            posix.dup2(fd, number)
        syscall.close_range(len(high), 0xFFFF_FFFF, CLOSE_RANGE_CLOEXEC)
        env = {
            **posix.environ,
            b"CONTAINER_ID": identity.container.encode("utf-8", "surrogateescape"),
            b"CONTAINER_NAMESPACE": identity.namespace.encode("utf-8", "surrogateescape"),
        }
        posix.execve(program, (program, *words), env)
    except OSError as error:
        code = error.errno or 0
    finally:
        posix.write(fail, code.to_bytes(4, "little"))
        posix._exit(127)

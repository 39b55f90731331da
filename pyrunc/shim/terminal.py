"""The user's end of an attach: our streams, or our terminal, and a stream of the shim's.

For a process of its own: it takes the terminal, signals, and waits. The output comes multiplexed, so that
stdout and stderr stay two; from a terminal it is one. What ends it is the end of the stream: the container's
end, or the detach keys, for which the shim looks.
"""

from __future__ import annotations

import posix
from errno import EIO
from select import EPOLLIN

from pyrunc.errors import INVALID, NOT_FOUND, PyruncError
from pyrunc.files import write_all
from pyrunc.kernel import fds, signals, syscall, terminal
from pyrunc.kernel.const import TIOCGWINSZ
from pyrunc.shim import protocol, settings
from pyrunc.shim.loop import Loop

_HEADER_BYTES = 8
_CHUNK_BYTES = 32 << 10


def attach(directory: str, *, detach_keys: str, with_stdin: bool) -> int:
    """Until the container has ended: its exit code; or the keys were typed: 0. Raises PyruncError."""
    wanted = settings.load(f"{directory}/{protocol.SETTINGS_FILE}")
    is_open = with_stdin and wanted.open_stdin
    ours, theirs = fds.stream_pair()
    try:
        protocol.call(
            directory,
            "attach",
            {"stream": theirs},
            stdin=is_open,
            multiplexed=True,
            detach_keys=detach_keys if wanted.terminal else "",
        )
    except BaseException:
        posix.close(ours)
        raise
    finally:
        posix.close(theirs)
    connection = protocol.Connection(directory)
    user = User(directory, ours, is_terminal=wanted.terminal, with_stdin=is_open)
    try:
        user.stay()
        return _exit_code(connection, directory)
    finally:
        user.close()
        connection.close()


def _exit_code(connection: protocol.Connection, directory: str) -> int:
    """0 while it goes on without us."""
    try:
        status = connection.call("status")["status"]
    except PyruncError as error:
        if not protocol.is_gone(error):
            raise
        status = protocol.load_status(directory)
    ended = status["status"] in (protocol.STOPPED, protocol.RESTARTING)
    return int(status["exit_code"]) if ended else 0


class User:
    """Streams 0 to 2 of this process at `stream`."""

    def __init__(self, directory: str, stream: int, *, is_terminal: bool, with_stdin: bool) -> None:
        self._directory, self._stream, self._is_terminal = directory, stream, is_terminal
        self._loop = Loop()
        self._waiting = b""
        self._mode: bytes | None = None
        self._loop.watch(stream, EPOLLIN, self._show)
        if with_stdin:
            if is_terminal and posix.isatty(0):
                self._mode = terminal.make_raw(0)
            try:
                self._loop.watch(0, EPOLLIN, self._type)
            except PermissionError:  # a file: all of it is there
                while self._pass_on():
                    pass
        if is_terminal and posix.isatty(0):
            self._loop.on_signal(signals.NUMBERS["WINCH"], self._resize)
            self._resize()

    def stay(self) -> None:
        self._loop.run()

    def close(self) -> None:
        if self._mode is not None:
            terminal.restore(0, self._mode)
        self._loop.close()
        posix.close(self._stream)

    def _show(self, _events: int) -> None:
        try:
            data = posix.read(self._stream, _CHUNK_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            self._loop.stop()
        elif self._is_terminal:
            self._write(1, data)
        else:
            self._waiting += data
            self._take_apart()

    def _take_apart(self) -> None:
        """Docker's header before each piece: the stream, three zeros, the length."""
        while len(self._waiting) >= _HEADER_BYTES:
            size = int.from_bytes(self._waiting[4:_HEADER_BYTES], "big")
            if len(self._waiting) < _HEADER_BYTES + size:
                return
            if self._waiting[0] not in (1, 2):
                raise PyruncError(INVALID, "invalid stream", "", f"there is no stream {self._waiting[0]}")
            self._write(self._waiting[0], self._waiting[_HEADER_BYTES : _HEADER_BYTES + size])
            self._waiting = self._waiting[_HEADER_BYTES + size :]

    def _write(self, number: int, data: bytes) -> None:
        try:
            write_all(number, data)
        except BrokenPipeError:
            self._loop.stop()

    def _type(self, _events: int) -> None:
        if not self._pass_on():
            self._loop.forget(0)

    def _pass_on(self) -> bool:
        """False: our input has ended, and that is said."""
        try:
            data = posix.read(0, _CHUNK_BYTES)
        except OSError as error:
            if error.errno != EIO:
                raise
            data = b""
        try:
            if data:
                write_all(self._stream, data)
            else:
                fds.shut_writing(self._stream)
        except BrokenPipeError:
            return False  # the shim has let go of us: that is read from the stream
        return bool(data)

    def _resize(self) -> None:
        size = syscall.ioctl_bytes(0, TIOCGWINSZ, bytes(8))
        rows, columns = (int.from_bytes(size[at : at + 2], "little") for at in (0, 2))
        try:
            protocol.call(self._directory, "resize", rows=rows, columns=columns)
        except PyruncError as error:
            if error.kind != NOT_FOUND:
                raise

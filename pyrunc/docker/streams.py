"""A terminal, or pipes, held together with a container's streams until it ends or is left.

One loop over poll(2), one thread. What comes from the container is written at once; what goes to it waits in
a buffer while the container does not read, for else two that both want to write would wait for each other.
"""

from __future__ import annotations

import fcntl
import posix
import termios
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll
from struct import unpack

from pyrunc.docker.output import emit_bytes
from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any, Self

    from pyrunc.api.client import Upgraded
else:
    import _signal

_PIECE_BYTES = 64 << 10
_HEADER_BYTES = 8
DEFAULT_KEYS = "ctrl-p,ctrl-q"
_MSG_DONTWAIT = 0x40  # socket(7); the module that names it is 7 ms
_CONTROLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}
# Ours to see: not the children's, the pipes', nor those of the runtime and of stopping
_NOT_PROXIED = {
    _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGURG, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGWINCH,
    _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGCONT, _signal.SIGSEGV, _signal.SIGBUS,
    _signal.SIGFPE, _signal.SIGILL, _signal.SIGABRT, _signal.SIGTRAP,
}  # fmt: skip


def parse_keys(text: str) -> bytes:
    """The bytes of "ctrl-p,ctrl-q", "a", "ctrl-]". Raises PyruncError INVALID."""
    made = bytearray()
    for key in text.split(","):
        letter = key.removeprefix("ctrl-")
        if key.startswith("ctrl-") and len(letter) == 1 and (letter.isalpha() or letter in _CONTROLS):
            made.append(_CONTROLS.get(letter, ord(letter.lower()) & 0x1F))
        elif len(key) == 1 and key.isascii():
            made.append(ord(key))
        else:
            raise PyruncError(INVALID, f"invalid detach keys ({text}): unknown character: '{key}'")
    return bytes(made)


def terminal_size(descriptor: int) -> tuple[int, int]:
    """(rows, columns); zeros of what is no terminal."""
    try:
        rows, columns, _, _ = unpack("4H", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return 0, 0
    return rows, columns


class Raw:
    """A context: the terminal gives each key as it is pressed, and no signal for any. Nothing, if
    `descriptor` is none."""

    def __init__(self, descriptor: int, wanted: bool) -> None:
        self._descriptor = descriptor if wanted and posix.isatty(descriptor) else -1
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        if self._descriptor >= 0:
            self._before = termios.tcgetattr(self._descriptor)
            mode = termios.tcgetattr(self._descriptor)
            mode[0] &= ~(
                termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
                | termios.IGNCR | termios.ICRNL | termios.IXON
            )  # fmt: skip
            mode[1] &= ~termios.OPOST
            mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
            mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)  # what was typed already counts
        return self

    def __exit__(self, *_error: object) -> None:
        if self._before:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)


class Signals:
    """A context: signals become bytes on `fileno`, and change nothing else. `proxies`: all that are not
    ours to see; else the change of the terminal's size alone."""

    def __init__(self, proxies: bool) -> None:
        numbers = set(_signal.valid_signals()) - _NOT_PROXIED if proxies else set()
        self._numbers = [number for number in numbers if number < 32] + [_signal.SIGWINCH]
        self._before: list[tuple[int, Any]] = []
        self._read = self._write = -1

    def __enter__(self) -> Self:
        self._read, self._write = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before.append((number, _signal.signal(number, lambda *_: None)))
        return self

    def __exit__(self, *_error: object) -> None:
        for number, before in self._before:
            _signal.signal(number, _signal.SIG_DFL if before is None else before)
        _signal.set_wakeup_fd(-1)
        posix.close(self._read)
        posix.close(self._write)

    def fileno(self) -> int:
        return self._read

    def take(self) -> set[int]:
        try:
            return set(posix.read(self._read, 256)) & set(self._numbers)
        except BlockingIOError:
            return set()


class Streams:
    """`stdin`: a descriptor, or -1; `keys`: those that leave; `told`: gets the number of each signal."""

    def __init__(
        self, peer: Upgraded, *, stdin: int, keys: bytes, signals: Signals, told: Callable[[int], None]
    ) -> None:
        self._peer, self._socket = peer, peer.socket
        # TLS knows no flags, may have bytes that poll(2) does not see, and has no half of itself to close
        self._pending: Callable[[], int] | None = getattr(peer.socket, "pending", None)
        self._flags = _MSG_DONTWAIT if self._pending is None else 0
        if self._pending is not None:
            peer.socket.setblocking(False)
            if stdin >= 0 and peer.is_multiplexed:
                raise PyruncError(
                    UNSUPPORTED, "stdin that ends is not supported over TLS", hint="-t, or no -i"
                )
        self._stdin, self._keys, self._signals, self._told = stdin, keys, signals, told
        self._to_send = b""
        self._ends_input = False
        self._keys_seen = 0
        self._frames = b""
        self.is_left = False

    def run(self) -> bool:
        """Until the container's side ends (True), or the keys were typed (False). Raises OSError,
        PyruncError."""
        if self._peer.early and not self._take(self._peer.early):
            return True
        while True:
            for descriptor in self._wait():
                if descriptor == self._signals.fileno():
                    for number in self._signals.take():
                        self._told(number)
                elif descriptor == self._stdin:
                    self._read_input()
                    if self.is_left:
                        self._send()
                        return False
                elif not self._receive():
                    return True
                self._send()

    def _wait(self) -> list[int]:
        watch = poll()
        watch.register(self._signals.fileno(), POLLIN)
        watch.register(self._socket.fileno(), POLLIN | (POLLOUT if self._to_send else 0))
        if self._stdin >= 0 and not self._to_send:
            watch.register(self._stdin, POLLIN | POLLHUP | POLLERR)
        has_more = self._pending is not None and self._pending() > 0
        ready = [descriptor for descriptor, _ in watch.poll(0 if has_more else None)]
        if has_more and self._socket.fileno() not in ready:
            ready.append(self._socket.fileno())
        return ready

    def _read_input(self) -> None:
        try:
            data = posix.read(self._stdin, _PIECE_BYTES)
        except OSError:  # the terminal is gone
            data = b""
        if not data:
            self._stdin, self._ends_input = -1, True
            return
        self._to_send += self._filter(data) if self._keys else data

    def _filter(self, data: bytes) -> bytes:
        """Without the keys that leave; those that turn out not to be them go on their way late."""
        made = bytearray()
        for byte in data:
            if byte == self._keys[self._keys_seen]:
                self._keys_seen += 1
                if self._keys_seen == len(self._keys):
                    self.is_left = True
                    break
                continue
            made += self._keys[: self._keys_seen]
            self._keys_seen = 1 if byte == self._keys[0] and len(self._keys) > 1 else 0
            if not self._keys_seen:
                made.append(byte)
        return bytes(made)

    def _send(self) -> None:
        if self._to_send:
            try:
                sent = self._socket.send(self._to_send, self._flags)
                self._to_send = self._to_send[sent:]
            except OSError as error:
                if _is_busy(error):
                    return
                # it reads no more; what it still says is to be heard
                self._to_send = b""
                self._stdin = -1
                return
        if self._ends_input and not self._to_send:
            self._ends_input = False
            try:
                self._peer.end_input()
            except OSError:
                pass  # it has ended

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(_PIECE_BYTES, self._flags)
        except OSError as error:
            return _is_busy(error)
        return self._take(data)

    def _take(self, data: bytes) -> bool:
        if not data:
            return False
        if not self._peer.is_multiplexed:
            emit_bytes(data)
            return True
        self._frames = show_frames(self._frames + data)
        return True


def _is_busy(error: OSError) -> bool:
    """Later, and not never. The names are those of `ssl`, which nobody imports for this."""
    return type(error).__name__ in ("BlockingIOError", "SSLWantReadError", "SSLWantWriteError")


def show_frames(data: bytes) -> bytes:
    """Write the frames in `data` to where they belong; what is left over is the begin of one. Raises
    PyruncError for what the daemon reports of itself."""
    while len(data) >= _HEADER_BYTES:
        end = _HEADER_BYTES + int.from_bytes(data[4:8], "big")
        if len(data) < end:
            break
        kind, text = data[0], data[_HEADER_BYTES:end]
        if kind == 3:
            raise PyruncError(INVALID, f"error from daemon in stream: {text.decode(errors='replace')}")
        if kind == 2:
            write_all(2, text)
        else:
            emit_bytes(text)
        data = data[end:]
    return data

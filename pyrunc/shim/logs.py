"""What a container says, written down: Docker's json-file, or `local`, which is shorter; rotated by size.

A json-file has a line {"log": text, "stream": name, "time": RFC 3339} for each line of output. One longer
than 16 KiB comes in pieces of that size, of which the last alone ends in a newline, and all of which have the
time of the first; so has what a container said last without a newline. `local` has the form of the
Kubernetes CRI: time, stream, F for a full line or P for a piece, text.

Rotation: PATH is the newest, PATH.1 the one before, and so on; a file is left when it has reached its size,
between two entries. Nothing is lost by that but the oldest file. A disk that is full stops no container:
entries that can't be written whole are not written at all, and counted.
"""

from __future__ import annotations

import _json
import posix
from errno import ENOENT
from time import time_ns

from pyrunc.oci.state import format_time
from pyrunc.shim.settings import JSON_FILE, LOCAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.settings import LogSettings

STDOUT, STDERR = 1, 2
NAMES = {STDOUT: "stdout", STDERR: "stderr"}
PIECE_BYTES = 16 << 10
_FLAGS = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC | posix.O_NOFOLLOW
_MODE = 0o640


def encode_json(stream: int, time: str, text: bytes, is_whole: bool) -> bytes:
    """An entry of a json-file; bytes that are no UTF-8 become U+FFFD, as Docker has it."""
    line = _json.encode_basestring(text.decode("utf-8", "replace") + ("\n" if is_whole else ""))
    return f'{{"log":{line},"stream":"{NAMES[stream]}","time":"{time}"}}\n'.encode()


def encode_local(stream: int, time: str, text: bytes, is_whole: bool) -> bytes:
    return b"%s %s %c %s\n" % (time.encode(), NAMES[stream].encode(), b"F" if is_whole else b"P", text)


_ENCODERS: dict[str, Callable[[int, str, bytes, bool], bytes]] = {JSON_FILE: encode_json, LOCAL: encode_local}


class Lines:
    """One stream's output cut into (text, is_whole, time in ns) of at most PIECE_BYTES."""

    __slots__ = ("_rest", "_since")

    def __init__(self) -> None:
        self._rest = b""
        self._since = 0  # when the first piece of a line that is not complete was cut; 0: there is none

    def feed(self, data: bytes, now: int) -> list[tuple[bytes, bool, int]]:
        found: list[tuple[bytes, bool, int]] = []
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            last = self._cut(line, now, found)
            found.append((last, True, self._since or now))
            self._since = 0
        self._rest = self._cut(rest, now, found)
        return found

    def feed_short(self, data: bytes) -> list[bytes] | None:
        """What `feed` would give where all lines are whole, and not pieces, as most are: just their texts.
        None, and nothing is done, where it isn't so simple."""
        if self._since or len(self._rest) + len(data) >= PIECE_BYTES:
            return None
        *whole, self._rest = (self._rest + data).split(b"\n")
        return whole

    def end(self, now: int) -> list[tuple[bytes, bool, int]]:
        """The stream has ended: what came without a newline."""
        rest, self._rest = self._rest, b""
        since, self._since = self._since, 0
        return [(rest, False, since or now)] if rest else []

    def _cut(self, line: bytes, now: int, found: list[tuple[bytes, bool, int]]) -> bytes:
        """Add all full pieces of `line`; the result is what is left."""
        begin = 0
        while len(line) - begin >= PIECE_BYTES:
            self._since = self._since or now
            found.append((line[begin : begin + PIECE_BYTES], False, self._since))
            begin += PIECE_BYTES
        return line[begin:]


class Log:
    """The log of one container, over all its restarts. `lost_lines` could not be written, `error` says why;
    `failed` is told of the first of a row."""

    def __init__(self, settings: LogSettings, failed: Callable[[], object]) -> None:
        self.lost_lines, self.error = 0, ""
        self._settings, self._failed = settings, failed
        self._encode = _ENCODERS.get(settings.driver)
        self._lines = {STDOUT: Lines(), STDERR: Lines()}
        self._fd, self._size = -1, 0
        self._is_failing = False
        self._stamp = (0, "")
        if self._encode is not None:
            self._open()

    def write(self, stream: int, data: bytes) -> None:
        if self._encode is None:
            return
        now = time_ns()
        lines = self._lines[stream].feed_short(data)
        if lines is None:
            self._put(stream, self._lines[stream].feed(data, now))
        elif lines:
            self._put_short(stream, lines, now)

    def end(self) -> None:
        """The container has ended: the last words, if they had no newline."""
        if self._encode is not None:
            for stream, lines in self._lines.items():
                self._put(stream, lines.end(time_ns()))

    def close(self) -> None:
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    def _put(self, stream: int, lines: list[tuple[bytes, bool, int]]) -> None:
        """All in one write, unless a file is full in between."""
        assert self._encode is not None
        limit = self._settings.max_size_bytes
        waiting: list[bytes] = []
        size = 0
        for text, is_whole, time in lines:
            entry = self._encode(stream, self._time(time), text, is_whole)
            if limit and (waiting or self._size) and self._size + size + len(entry) > limit:
                self._write(waiting, size)
                self._rotate()
                waiting, size = [], 0
            waiting.append(entry)
            size += len(entry)
        self._write(waiting, size)

    def _put_short(self, stream: int, lines: list[bytes], now: int) -> None:
        """As `_put`, of whole lines that came at the same time: most of the work is done for all at once."""
        time = self._time(now)
        if self._settings.driver == JSON_FILE:
            end = f'\\n","stream":"{NAMES[stream]}","time":"{time}"}}\n'
            quote = _json.encode_basestring
            texts = b"\n".join(lines).decode("utf-8", "replace").split("\n")
            entries = [f'{{"log":{quote(text)[:-1]}{end}'.encode() for text in texts]
        else:
            begin = f"{time} {NAMES[stream]} F ".encode()
            entries = [b"%s%s\n" % (begin, line) for line in lines]
        size = sum(map(len, entries))
        limit = self._settings.max_size_bytes
        if limit and self._size + size > limit:
            self._put(stream, [(line, True, now) for line in lines])
        else:
            self._write(entries, size)

    def _time(self, nanoseconds: int) -> str:
        """All entries of a chunk have the same."""
        if self._stamp[0] != nanoseconds:
            self._stamp = nanoseconds, format_time(nanoseconds)
        return self._stamp[1]

    def _write(self, entries: list[bytes], size: int) -> None:
        if not entries:
            return
        try:
            if self._fd < 0:
                self._open()
            written = posix.write(self._fd, b"".join(entries))
        except OSError as error:
            self._lose(len(entries), error)
            return
        if written == size:
            self._size += size
            self._is_failing = False
            return
        self._take_back(entries, written)

    def _take_back(self, entries: list[bytes], written: int) -> None:
        """The disk is full: of what was written, whole entries stay."""
        kept = count = 0
        while kept + len(entries[count]) <= written:
            kept += len(entries[count])
            count += 1
        self._size += kept
        posix.ftruncate(self._fd, self._size)
        self._lose(len(entries) - count, OSError(28, "No space left on device"))

    def _lose(self, count: int, error: OSError) -> None:
        self.lost_lines += count
        self.error = f"{self._settings.path}: {posix.strerror(error.errno or 0)}"
        if not self._is_failing:
            self._is_failing = True
            self._failed()

    def _open(self) -> None:
        self._fd = posix.open(self._settings.path, _FLAGS, _MODE)
        self._size = posix.fstat(self._fd).st_size

    def _rotate(self) -> None:
        """A file can't be moved: then the one that is there grows on."""
        path, files = self._settings.path, self._settings.max_files
        try:
            if files == 1:
                posix.ftruncate(self._fd, 0)
                self._size = 0
                return
            for number in range(files - 1, 0, -1):
                older = f"{path}.{number - 1}" if number > 1 else path
                try:
                    posix.rename(older, f"{path}.{number}")
                except OSError as error:
                    if error.errno != ENOENT:
                        raise
            self.close()
            self._open()
        except OSError as error:
            self._lose(0, error)

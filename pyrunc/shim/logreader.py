"""A log read back, from the beginning or its last entries, and followed while it grows and rotates.

for entry in read(settings.log, tail=100): ...
follower = Follower(directory, settings.log)
for entry in follower.entries(): ...             # until the container has ended for good
"""

from __future__ import annotations

import posix
from select import POLLIN, poll

from pyrunc import jsonio
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.kernel import syscall
from pyrunc.kernel.const import IN_CREATE, IN_MODIFY, IN_MOVED_TO
from pyrunc.record import Record
from pyrunc.shim import protocol
from pyrunc.shim.logs import NAMES, STDERR, STDOUT
from pyrunc.shim.settings import JSON_FILE, NONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrunc.shim.settings import LogSettings

_BLOCK_BYTES = 64 << 10
_STREAMS = {name: stream for stream, name in NAMES.items()}
_LOOKS = 8
_LOOK_AGAIN_SECONDS = 5.0  # a shim that was killed changes no file


class Entry(Record):
    """A line, or a piece of one (logs.py); `text` has its newline, if it had one. `time`: RFC 3339."""

    stream: int
    time: str
    text: bytes


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time, UTC or with an offset. Raises ValueError."""
    if len(text) < 20 or text[4] != "-" or text[7] != "-" or text[10] not in "Tt " or text[13] != ":":
        raise ValueError(text)
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    seconds = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
    rest = text[19:]
    digits = 0
    fraction = ""
    if rest[:1] == ".":
        digits = 1
        while rest[digits : digits + 1].isdigit():
            digits += 1
        fraction = rest[1:digits]
    zone = rest[digits:]
    if zone not in ("Z", "z"):
        sign = {"+": 1, "-": -1}[zone[0]] if zone[:1] in ("+", "-") and len(zone) == 6 else 0
        if not sign:
            raise ValueError(text)
        seconds -= sign * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)
    return (_days(year, month, day) * 86_400 + seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0)


def _days(year: int, month: int, day: int) -> int:
    """From 1970-01-01, by the proleptic Gregorian calendar."""
    if month <= 2:
        year, month = year - 1, month + 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469


def parse_entry(driver: str, line: bytes) -> Entry | None:
    """None for a line that is no entry: somebody else wrote it, or a machine went down in the middle."""
    if driver == JSON_FILE:
        try:
            document = jsonio.loads(line)
            text, time = document["log"], document["time"]
            return Entry(stream=_STREAMS[document["stream"]], time=time, text=text.encode("utf-8", "replace"))
        except (PyruncError, KeyError, TypeError, AttributeError):
            return None
    words = line.rstrip(b"\n").split(b" ", 3)
    if len(words) != 4 or words[2] not in (b"F", b"P"):
        return None
    stream = STDERR if words[1] == b"stderr" else STDOUT
    end = b"\n" if words[2] == b"F" else b""
    return Entry(stream=stream, time=words[0].decode("utf-8", "replace"), text=words[3] + end)


def read(settings: LogSettings, *, tail: int = -1) -> Iterator[Entry]:
    """All that is there now, or the last `tail` entries. Raises PyruncError where there can't be a log."""
    for fd, begin in _open_all(settings, tail):
        try:
            posix.lseek(fd, begin, 0)
            for line in _lines(fd, bytearray()):
                entry = parse_entry(settings.driver, line)
                if entry is not None:
                    yield entry
        finally:
            posix.close(fd)


def require_readable(settings: LogSettings) -> None:
    """Raises PyruncError."""
    if settings.driver == NONE:
        raise PyruncError(INVALID, "the container has no log", "", "its log driver is none")


def _open_all(settings: LogSettings, tail: int) -> list[tuple[int, int]]:
    """(descriptor, where to begin) of each file that has a part in it, the oldest first."""
    require_readable(settings)
    found: list[tuple[int, int]] = []
    for fd in _open_files(settings):
        if tail == 0:
            posix.close(fd)
            continue
        begin, count = _last_lines(fd, tail) if tail > 0 else (0, 0)
        found.append((fd, begin))
        if tail > 0:
            tail = max(0, tail - count)
    return found[::-1]


def _open_files(settings: LogSettings, until: int = -1) -> list[int]:
    """Descriptors of the log's files, the newest first, up to and without the one that `until` has open. They
    are moved while we look, and where one may have been passed by we look again: not for ever, for a log can
    be rotated faster than it is looked at. What is found is without a gap even then."""
    last = _file_of(until) if until >= 0 else None
    for _ in range(_LOOKS - 1):
        found = _look(settings, last)
        if _file_at(settings.path) in (None, last, *found):
            return list(found.values())
        _close_after(found, 0)
    return list(_look(settings, last).values())


def _look(settings: LogSettings, last: tuple[int, int] | None) -> dict[tuple[int, int], int]:
    """{file: descriptor}, as the numbers go. What is met again was moved up, over those that were begun since
    we met it: what stood between may be older than they are, and is met again as well."""
    found: dict[tuple[int, int], int] = {}
    for number in range(settings.max_files):
        path = f"{settings.path}.{number}" if number else settings.path
        try:
            fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        file = _file_of(fd)
        if file in found or file == last:
            posix.close(fd)
        if file == last:
            break
        if file in found:
            _close_after(found, list(found).index(file) + 1)
        else:
            found[file] = fd
    return found


def _close_after(found: dict[tuple[int, int], int], index: int) -> None:
    for file in list(found)[index:]:
        posix.close(found.pop(file))


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        status = posix.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _file_of(fd: int) -> tuple[int, int]:
    status = posix.fstat(fd)
    return status.st_dev, status.st_ino


def _last_lines(fd: int, wanted: int) -> tuple[int, int]:
    """(offset of the last `wanted` lines of a file, how many they are)"""
    position = posix.fstat(fd).st_size
    count = 0
    is_end = True
    while position:
        begin = max(0, position - _BLOCK_BYTES)
        block = posix.pread(fd, position - begin, begin)
        at = len(block)
        if is_end and block.endswith(b"\n"):
            at -= 1
        is_end = False
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            count += 1
            if count == wanted:
                return begin + at + 1, count
        position = begin
    return 0, count + 1 if not is_end else 0


def _lines(fd: int, rest: bytearray) -> Iterator[bytes]:
    """Whole lines from here to the end of the file; what comes without a newline stays in `rest`."""
    while block := posix.read(fd, _BLOCK_BYTES):
        *lines, last = (bytes(rest) + block).split(b"\n")
        rest[:] = last
        yield from lines


class Follower:
    """A log from its last `tail` entries (-1: all) on. `directory`: the shim's, which tells when it is over;
    `stop_fd`: readable when whoever asked doesn't want more."""

    def __init__(self, directory: str, settings: LogSettings, *, tail: int = -1, stop_fd: int = -1) -> None:
        require_readable(settings)
        self._directory, self._settings = directory, settings
        self._rest = bytearray()
        with doing("watch the log", settings.path):
            self._inotify = syscall.inotify_init()
            for path in {settings.path.rpartition("/")[0] or "/", directory}:
                syscall.inotify_add_watch(self._inotify, path, IN_MODIFY | IN_MOVED_TO | IN_CREATE)
        self._watch = poll()
        for fd in (self._inotify, stop_fd):
            if fd >= 0:
                self._watch.register(fd, POLLIN)
        self._stop_fd = stop_fd
        older = _open_all(settings, tail)
        if not older:
            with doing("open the log", settings.path):
                fd = posix.open(settings.path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
            older = [(fd, posix.lseek(fd, 0, 2))]
        for fd, begin in older:
            posix.lseek(fd, begin, 0)
        self._files = [fd for fd, _ in older]

    def entries(self) -> Iterator[Entry]:
        while True:
            is_over = self._is_over()
            yield from self._new()
            if is_over or not self._wait():
                return

    def _is_over(self) -> bool:
        try:
            return bool(protocol.load_status(self._directory)["status"] == protocol.STOPPED)
        except PyruncError:  # it is deleted already
            return True

    def close(self) -> None:
        for fd in (*self._files, self._inotify):
            posix.close(fd)
        self._files = []

    def _new(self) -> Iterator[Entry]:
        """From the file that we are in to its end, then from those that took its place."""
        while True:
            for line in _lines(self._files[0], self._rest):
                entry = parse_entry(self._settings.driver, line)
                if entry is not None:
                    yield entry
            if len(self._files) == 1:
                newer = self._open_newer()
                if not newer:
                    return
                self._files += newer
                continue  # between our last read and its end more may have come
            posix.close(self._files.pop(0))
            self._rest.clear()

    def _open_newer(self) -> list[int]:
        """Files that were begun since ours, the oldest first: it may have been moved more than once."""
        ours = self._files[0]
        found = _open_files(self._settings, until=ours)
        if not found and posix.lseek(ours, 0, 1) > posix.fstat(ours).st_size:
            posix.lseek(ours, 0, 0)  # a log of one file begins anew in its place
            self._rest.clear()
        return found[::-1]

    def _wait(self) -> bool:
        """Until something has changed; False: nobody wants more."""
        ready = {fd for fd, _ in self._watch.poll(_LOOK_AGAIN_SECONDS * 1000)}
        if self._inotify in ready:
            posix.read(self._inotify, 64 << 10)
        return self._stop_fd not in ready

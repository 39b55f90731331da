"""`--log`, `--log-format` and `--debug`, in the formats that callers parse.

Two readers set the rules. containerd takes a JSON log for a stream of objects and shows the last one of
level error. podman takes it for exactly one object: so a JSON log gets no warning unless debugging was
asked for, and an error is one line. What a person should do about an error, its hint, is a second line on
stderr, or a member of that one object.

Lines go out by single writes, nothing is buffered: a process that is killed has logged what it said.

As with crun, `--log` may name a daemon instead of a file: `journald:NAME` or `syslog:NAME`. Each line is then
one datagram, in that daemon's form and under that name.
"""

from __future__ import annotations

import posix
from time import gmtime

from pyrunc import jsonio
from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STDERR = 2
FORMATS = ("text", "json")
LEVELS = ("error", "warning", "debug")
_DAEMONS = {"journald": "/run/systemd/journal/socket", "syslog": "/dev/log"}
_PRIORITIES = {"error": 3, "warning": 4, "debug": 7}  # syslog(3)
_FACILITY_DAEMON = 3 << 3


class _Settings:
    """Where lines go and how they look. One per process, as stderr is."""

    def __init__(self) -> None:
        self.descriptor = _STDERR
        self.is_json = False
        self.is_debugging = False
        self.is_terse = False
        self.daemon = ""
        self.name = ""


_settings = _Settings()


def configure(
    path: str = "", log_format: str = "text", debugging: bool = False, level: str = "warning"
) -> None:
    """Open the log before anything is done, so that a bad path is an error and not a silence. `path` may be
    file:PATH, journald:NAME or syslog:NAME; `level` is the least that is said."""
    if log_format not in FORMATS:
        raise PyruncError(INVALID, f"invalid log-format: {log_format}", hint="text or json")
    if level not in LEVELS:
        raise PyruncError(INVALID, f"invalid log level: {level}", hint=", ".join(LEVELS))
    _settings.is_json, _settings.is_debugging = log_format == "json", debugging or level == "debug"
    _settings.is_terse = level == "error" and not debugging
    _settings.daemon = ""
    if _settings.descriptor != _STDERR:
        posix.close(_settings.descriptor)
        _settings.descriptor = _STDERR
    backend, _, name = path.partition(":")
    if backend in _DAEMONS:
        _settings.daemon, _settings.name = backend, name or "pyrunc"
        _settings.descriptor = _connect(_DAEMONS[backend])
        return
    path = path.removeprefix("file:")
    if path:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_SYNC | posix.O_CLOEXEC
        with doing("open log", absolute(path)):
            _settings.descriptor = posix.open(path, flags, 0o644)


def _connect(path: str) -> int:
    """A datagram socket. The module is dear, and seldom wanted."""
    socket: Any = __import__("socket")
    with doing("connect to log", path):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        connection.connect(path)
        return int(connection.detach())


def is_debugging() -> bool:
    """For those who would have to work for a debug line: ask before."""
    return _settings.is_debugging


def debug(text: str) -> None:
    if _settings.is_debugging:
        _write_line("debug", text)


def warning(text: str) -> None:
    if _settings.is_debugging or not (_settings.is_json or _settings.is_terse):
        _write_line("warning", text)


def warn_of_ignored(found: tuple[tuple[str, str], ...]) -> None:
    """(JSON pointer, what is ignored and why) each."""
    for pointer, why in found:
        warning(f"{pointer}: {why}")


def error(text: str, hint: str = "") -> None:
    """The failure of the whole call, said once. Beside a log file, stderr has it as plain text."""
    _write_line("error", text, hint)
    if _settings.descriptor != _STDERR:
        _put(_STDERR, text)
    if hint and not _settings.is_json:
        _put(_STDERR, f"hint: {hint}")


def _datagram(level: str, text: str) -> bytes:
    """systemd.io, "Native Journal Protocol": a value of several lines has its length before it; RFC 3164."""
    priority, data = _PRIORITIES[level], text.encode(errors="backslashreplace")
    if _settings.daemon == "syslog":
        return f"<{_FACILITY_DAEMON | priority}>{_settings.name}[{posix.getpid()}]: ".encode() + data
    head = f"PRIORITY={priority}\nSYSLOG_IDENTIFIER={_settings.name}\nMESSAGE\n".encode()
    return head + len(data).to_bytes(8, "little") + data + b"\n"


def _write_line(level: str, text: str, hint: str = "") -> None:
    if _settings.daemon:
        try:
            posix.write(_settings.descriptor, _datagram(level, f"{text}\nhint: {hint}" if hint else text))
        except OSError:
            pass  # as in _put
        return
    year, month, day, hour, minute, second = gmtime()[:6]
    now = f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
    if _settings.is_json:
        entry: dict[str, Any] = {"level": level, "msg": text, "time": now}
        if hint:
            entry["hint"] = hint
        line = jsonio.dumps(entry)
    elif _settings.descriptor == _STDERR and posix.isatty(_STDERR):
        line = f"{level}: {text}"  # a person reads it now, and knows what time it is
    else:
        line = f"time={jsonio.dumps(now)} level={level} msg={jsonio.dumps(text)}"
    _put(_settings.descriptor, line)


def _put(descriptor: int, line: str) -> None:
    """Bytes of a name that isn't UTF-8 are shown escaped: \\udcff is also what JSON calls them."""
    try:
        posix.write(descriptor, f"{line}\n".encode(errors="backslashreplace"))
    except OSError:
        pass  # a full disk or a closed stderr: there is no one left to tell, and the exit code still says it

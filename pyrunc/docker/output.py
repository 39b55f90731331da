"""What a user reads: whole writes, nothing buffered."""

from __future__ import annotations

import posix

from pyrunc.errors import doing
from pyrunc.files import write_all

_BROKEN_PIPE_CODE = 128 + 13


def emit(text: str) -> None:
    emit_bytes(text.encode(errors="surrogateescape"))


def line(text: str) -> None:
    emit(f"{text}\n")


def emit_bytes(data: bytes) -> None:
    """To stdout. If nobody reads any more, leave as quietly as SIGPIPE, which Python ignores, would."""
    with doing("write standard output"):
        try:
            write_all(1, data)
        except BrokenPipeError:
            posix._exit(_BROKEN_PIPE_CODE)


def complain(text: str) -> None:
    """To stderr. Names that are not UTF-8 are shown escaped."""
    try:
        write_all(2, f"{text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass  # nobody listens; the exit code still says it


def is_terminal(descriptor: int) -> bool:
    return posix.isatty(descriptor)


def is_coloured() -> bool:
    """no-color.org"""
    environment = posix.environ
    return posix.isatty(1) and not environment.get(b"NO_COLOR") and environment.get(b"TERM") != b"dumb"

"""run: create and start; in the foreground wait, pass on, delete, and answer with the exit code."""

from __future__ import annotations

import posix

from pyrunc.errors import doing
from pyrunc.kernel import fds
from pyrunc.record import replaced
from pyrunc.runtime.caller import listen_fds
from pyrunc.runtime.create import Begun, CreateRequest, begin
from pyrunc.runtime.delete import delete
from pyrunc.runtime.foreground import Foreground
from pyrunc.runtime.start import start


def run(request: CreateRequest, *, detach: bool, keep: bool, subreaper: bool) -> int:
    """The exit code of the container, 0 when detached. Raises PyruncError, and leaves nothing then."""
    listen_fds(request.preserve_fds)  # before we open any descriptor that could be taken for one of those
    if detach:
        begin(request, is_detached=True).close()
        _start_or_delete(request)
        return 0
    with doing(f"run container {request.id}"):
        return _run_in_foreground(request, keep, subreaper)


def _run_in_foreground(request: CreateRequest, keep: bool, subreaper: bool) -> int:
    foreground = Foreground(subreaper=subreaper)
    try:
        begun = _begin(request, foreground)
        try:
            return foreground.wait(begun.pid, begun.pidfd)
        finally:
            begun.close()
            if not keep:
                delete(request.state_root, request.id, force=True)
    finally:
        foreground.close()


def _begin(request: CreateRequest, foreground: Foreground) -> Begun:
    ours, theirs = fds.socket_pair()
    try:
        request = replaced(request, console_fd=theirs, stand_in=foreground.replace_terminals)
        begun = begin(request, is_detached=False)
        if begun.has_terminal:
            foreground.take_console(ours)
        _start_or_delete(request, foreground)
        return begun
    finally:
        posix.close(ours)
        posix.close(theirs)


def _start_or_delete(request: CreateRequest, foreground: Foreground | None = None) -> None:
    """A container whose program can't be executed is of no use to anybody."""
    try:
        socket = start(request.state_root, request.id, waits_for_ready=foreground is None)
        if socket is not None and foreground is not None:
            foreground.notify = socket
    except BaseException:
        delete(request.state_root, request.id, force=True)
        raise

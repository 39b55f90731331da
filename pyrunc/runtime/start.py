"""start: let the stub execute the container's program."""

from __future__ import annotations

import posix
from errno import ENXIO

from pyrunc.errors import INTERNAL, PyruncError, doing
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import require
from pyrunc.runtime.state import status_of
from pyrunc.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.waiting import Work


def start(state_root: str, container_id: str, *, waits_for_ready: bool = True) -> Any:
    """Returns when the program is executed; where the caller is a service of type notify, when it is ready,
    or with the socket to wait on unless `waits_for_ready`. Raises PyruncError, also for a failed execve."""
    socket = finish(starting(state_root, container_id))
    if socket is not None and waits_for_ready:
        socket.wait()
        socket.close()
        return None
    return socket


def starting(state_root: str, container_id: str) -> Work[Any]:
    """As `start`, for a caller with more in hand; of a service of type notify always the socket."""
    with doing(f"start container {container_id}"):
        return (yield from _start(state_root, container_id))


def _start(state_root: str, container_id: str) -> Work[Any]:
    state = store.load(state_root, container_id)
    lock = store.lock(state_root, container_id)
    try:
        require("start", container_id, status_of(state_root, state))
        # What few containers have is fetched by name, only for them.
        extras: Any = (
            __import__("pyrunc.runtime.startextras", fromlist=("",)) if state.has_start_hooks else None
        )
        notify: Any = __import__("pyrunc.runtime.notify", fromlist=("",)) if state.notify_socket else None
        socket = notify.NotifySocket(state_root, state) if notify is not None else None
        if extras is not None:
            yield from extras.before(state_root, state)
        yield from _release(state_root, state)
        if extras is not None:
            yield from extras.after(state_root, state)
    finally:
        posix.close(lock)
    return socket


def _release(state_root: str, state: store.State) -> Work[None]:
    """A byte into the fifo wakes the stub. It holds the fifo open for both, so that opening it for writing
    fails when it is dead; its end closes with execve, and what failed until then is read from it."""
    path = f"{store.directory(state_root, state.id)}/{store.FIFO}"
    flags = posix.O_NONBLOCK | posix.O_CLOEXEC
    try:
        to_stub = posix.open(path, posix.O_WRONLY | flags)
    except OSError as error:
        if error.errno == ENXIO:
            raise PyruncError(INTERNAL, "container process is already dead", state.id) from None
        raise PyruncError.from_errno(error.errno or 0, "exec fifo", path) from error
    with doing("exec fifo", path):
        from_stub = posix.open(path, posix.O_RDONLY | flags)
        posix.unlink(path)
        posix.write(to_stub, b"\0")
        posix.close(to_stub)
        try:
            yield from_stub, 0, None
            left = posix.read(from_stub, 64)
        finally:
            posix.close(from_stub)
    if left:
        failures: Any = __import__("pyrunc.runtime.failure", fromlist=("",))
        raise failures.late_failure(state.id, state.program, left)

"""Hand a seccomp listener to its agent: runtime-spec, config-linux.md, "The container process state"."""

from __future__ import annotations

import posix

from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.jsonio import dumps, loads
from pyrunc.kernel import fds, syscall

_LINK = "anon_inode:seccomp notify"


def hand_over(pid: int, pidfd: int, path: str, metadata: str, state: bytes) -> None:
    """Take the listener of the process, which waits for us, and send it to the socket at `path` with what
    the specification asks for: one message, one descriptor, end. Raises OSError, PyruncError."""
    listener = syscall.call("pidfd_getfd", pidfd, _find_listener(pid))
    try:
        known = loads(state)
        document = {
            "ociVersion": known["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid,
            "metadata": metadata,
            "state": known,
        }
        agent = fds.connect_stream(path)
        try:
            fds.send(agent, dumps(document).encode("utf-8", "surrogateescape"), (listener,))
        finally:
            posix.close(agent)
    finally:
        posix.close(listener)


def _find_listener(pid: int) -> int:
    for name in posix.listdir(f"/proc/{pid}/fd"):
        try:
            if posix.readlink(f"/proc/{pid}/fd/{name}") == _LINK:
                return int(name)
        except FileNotFoundError:
            continue
    raise PyruncError(INTERNAL, "the seccomp listener is not there", "/linux/seccomp/listenerPath")

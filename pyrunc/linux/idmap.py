"""User namespaces for id-mapped mounts (mount_setattr(2)): only their maps matter, nothing lives in them."""

from __future__ import annotations

import posix

from pyrunc.kernel import syscall
from pyrunc.kernel.const import CLONE_NEWUSER


def open_user_namespace(uid_map: str, gid_map: str) -> int:
    """A descriptor of a new user namespace with these maps. It is born with a process, which the descriptor
    outlives. Raises OSError."""
    read, write = posix.pipe2(posix.O_CLOEXEC)
    pid, pidfd = syscall.clone3(CLONE_NEWUSER)
    if pid == 0:
        posix.close(write)
        posix.read(read, 1)
        posix._exit(0)
    posix.close(pidfd)
    try:
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            file = posix.open(f"/proc/{pid}/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
            try:
                posix.write(file, text.encode())
            finally:
                posix.close(file)
        return posix.open(f"/proc/{pid}/ns/user", posix.O_RDONLY | posix.O_CLOEXEC)
    finally:
        posix.close(read)
        posix.close(write)
        posix.waitpid(pid, 0)

"""Run from an executable that nobody can write to through us (CVE-2019-5736).

While a process of ours is visible in a container, whoever may trace it there can open /proc/PID/exe. That it
is busy keeps it from being written now, not later: an open descriptor outlives us. So before an exec into a
container whose processes have CAP_SYS_PTRACE over ours, or that shares its pid namespace with others, we
execute ourselves anew from a detached, read-only mount of our own executable: through that, opening for
writing is refused for good (EROFS). It costs 15 µs and one more start of the interpreter.
"""

from __future__ import annotations

import posix

from pyrunc.errors import doing
from pyrunc.files import read_whole
from pyrunc.kernel import syscall
from pyrunc.kernel.const import AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, O_PATH, OPEN_TREE_CLONE

# What is executed anew, where that isn't the command line that this process began with (shim.oci_runtime)
command: tuple[str, ...] = ()


def is_sealed() -> bool:
    """Does the mount that our executable lies on refuse writing? It may be the host's own, read-only."""
    fd = posix.open("/proc/self/exe", O_PATH | posix.O_CLOEXEC)
    try:
        return bool(posix.fstatvfs(fd).f_flag & posix.ST_RDONLY)
    finally:
        posix.close(fd)


def seal() -> None:
    """Returns if we are sealed; else not at all: the same command line (or `command`) begins again, sealed.
    For a process that has done nothing yet. Raises PyruncError where the kernel refuses."""
    if is_sealed():
        return
    with doing("protect the runtime's executable"):
        fd = posix.open("/proc/self/exe", O_PATH | posix.O_CLOEXEC)
        tree = syscall.open_tree(fd, b"", AT_EMPTY_PATH | OPEN_TREE_CLONE)
        syscall.mount_setattr(tree, recursive=False, attr_set=MOUNT_ATTR_RDONLY)
        words = [word.encode("utf-8", "surrogateescape") for word in command]
        words = words or read_whole("/proc/self/cmdline").split(b"\0")[:-1]
        env = [name + b"=" + value for name, value in posix.environ.items()]
        syscall.execveat(tree, words, env)

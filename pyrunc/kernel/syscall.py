"""Every system call that `posix` lacks, one function each.

A function makes one call: it converts arguments, raises OSError, and decides nothing. All of them go
through syscall(2) with one prototype of machine words, which the launcher brings along in C (`_pyrunc`,
launcher/native.c) and `kernel.foreign` makes of `_ctypes` for the ordinary interpreter. The GIL is held
across a call: the runtime has one thread, and clone3 needs it.
"""

from __future__ import annotations

import posix
import sys

from pyrunc.kernel import const

if "_pyrunc" in sys.builtin_module_names:
    import _pyrunc as foreign  # type: ignore[import-not-found]
else:
    from pyrunc.kernel import foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Memory that the kernel may write to: so many bytes, or these. It is read by its `.raw`.
buffer: Any = foreign.buffer
# Where a `buffer` is. It must outlive the call that is told so.
address: Any = foreign.address
_syscall: Any = foreign.syscall

MACHINE = posix.uname().machine
_TRIES = 128
NUMBERS = const.SYSCALLS.get(MACHINE, const.SYSCALLS["aarch64"])


def call(name: str, a: Any = 0, b: Any = 0, c: Any = 0, d: Any = 0, e: Any = 0, f: Any = 0) -> int:
    """The system call `name`. Raises OSError with the errno; `strerror` is the name of the call."""
    result: int = _syscall(NUMBERS[name], a, b, c, d, e, f)
    if result < 0:
        raise OSError(foreign.get_errno(), name)
    return result


def path_bytes(path: str | bytes) -> bytes:
    """As the kernel takes a name. Raises ValueError for an embedded NUL."""
    data = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data + b"\0"


# --- processes and namespaces ---------------------------------------------------------------------


def clone3(flags: int, cgroup_fd: int = -1) -> tuple[int, int]:
    """clone3(2), Linux 5.3, as a fork: (0, -1) in the child, (pid, pidfd) in the parent.

    With `cgroup_fd` >= 0 the child is born in that v2 cgroup (CLONE_INTO_CGROUP, Linux 5.7). The
    interpreter is told of the fork, as posix.fork() tells it; the pidfd is close-on-exec.
    """
    pidfd = buffer(4)
    exit_signal = 0 if flags & const.CLONE_PARENT else 17  # SIGCHLD; with CLONE_PARENT it is inherited
    flags |= const.CLONE_PIDFD | (const.CLONE_INTO_CGROUP if cgroup_fd >= 0 else 0)
    # struct clone_args: flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid
    # set_tid_size cgroup
    words = (flags, address(pidfd), 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup_fd, 0))
    arguments = buffer(b"".join(word.to_bytes(8, "little") for word in words))
    foreign.before_fork()
    pid: int = _syscall(NUMBERS["clone3"], arguments, len(arguments), 0, 0, 0, 0)
    if pid == 0:
        foreign.after_fork_child()
        return 0, -1
    code = foreign.get_errno()
    foreign.after_fork_parent()
    if pid < 0:
        raise OSError(code, "clone3")
    return pid, int.from_bytes(pidfd.raw, "little")


def reset_internal_signals() -> None:
    """rt_sigaction(2): 32 and 33 to their defaults. glibc keeps them for itself and lets nobody touch them,
    but whoever was started by its posix_spawn (make, for one) finds them ignored, and passes that on."""
    for number in (32, 33):
        call("rt_sigaction", number, bytes(32), 0, 8)


def setns(fd: int, flags: int) -> None:
    """setns(2): with a pidfd (Linux 5.8) all namespaces named by `flags` at once."""
    call("setns", fd, flags)


def unshare(flags: int) -> None:
    """unshare(2)"""
    call("unshare", flags)


def signalfd(numbers: tuple[int, ...]) -> int:
    """signalfd4(2): a descriptor that can be read when one of the signals, which are blocked, has come;
    close-on-exec."""
    mask = sum(1 << (number - 1) for number in numbers)
    return call("signalfd4", -1, mask.to_bytes(8, "little"), 8, posix.O_CLOEXEC)


def prctl(option: int, b: int = 0, c: int = 0, d: int = 0, e: int = 0) -> int:
    """prctl(2)"""
    return call("prctl", option, b, c, d, e)


def prlimit(pid: int, resource: int, soft: int, hard: int) -> tuple[int, int]:
    """prlimit(2) of another process, or of ourselves (0). Returns what it was."""
    before = buffer(16)
    call("prlimit64", pid, resource, soft.to_bytes(8, "little") + hard.to_bytes(8, "little"), before)
    return int.from_bytes(before.raw[:8], "little"), int.from_bytes(before.raw[8:], "little")


def sched_setaffinity(mask: bytes) -> None:
    """sched_setaffinity(2) of ourselves: bit N of `mask` for CPU N. Bits that the kernel has no CPU for are
    no error as long as one is left."""
    call("sched_setaffinity", 0, len(mask), mask)


def capget() -> tuple[int, int, int]:
    """capget(2) of ourselves: effective, permitted, inheritable as bit sets."""
    data = buffer(24)
    call("capget", const.LINUX_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4), data)
    low = [int.from_bytes(data.raw[i : i + 4], "little") for i in range(0, 24, 4)]
    return low[0] | low[3] << 32, low[1] | low[4] << 32, low[2] | low[5] << 32


def set_filesystem_ids(uid: int, gid: int) -> None:
    """setfsgid(2), setfsuid(2): whose rights count when a path is looked up. They report no error."""
    call("setfsgid", gid)
    call("setfsuid", uid)


def close_range(first: int, last: int, flags: int) -> None:
    """close_range(2), Linux 5.9; CLOSE_RANGE_CLOEXEC Linux 5.11."""
    call("close_range", first, last, flags)


def execveat(fd: int, argv: Sequence[bytes] = (), env: Sequence[bytes] = ()) -> None:
    """execveat(2), Linux 3.19: the file that `fd` has open."""
    strings = [[buffer(item + b"\0") for item in items] for items in (argv, env)]
    tables = [b"".join(address(item).to_bytes(8, "little") for item in items) + bytes(8) for items in strings]
    call("execveat", fd, b"\0", tables[0], tables[1], const.AT_EMPTY_PATH)


def keyctl(operation: int, b: Any = 0, c: Any = 0, d: Any = 0) -> int:
    """keyctl(2)"""
    return call("keyctl", operation, b, c, d)


def sethostname(name: str) -> None:
    """sethostname(2)"""
    data = path_bytes(name)
    call("sethostname", data, len(data) - 1)


def setdomainname(name: str) -> None:
    """setdomainname(2)"""
    data = path_bytes(name)
    call("setdomainname", data, len(data) - 1)


# --- files and mounts -----------------------------------------------------------------------------


def openat2(dir_fd: int, path: str | bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2), Linux 5.6. The descriptor is close-on-exec. The kernel says EAGAIN where it can't be sure
    that a `..` stayed inside, for something was mounted or moved meanwhile, wherever on the machine: then it
    is asked again, so often that only who is held up on purpose hears of it."""
    how = b"".join(word.to_bytes(8, "little") for word in (flags | const.O_CLOEXEC, mode, resolve))
    tries = _TRIES
    while True:
        try:
            return call("openat2", dir_fd, path_bytes(path), how, len(how))
        except BlockingIOError:
            if not (tries := tries - 1):
                raise


def faccessat2(dir_fd: int, path: str | bytes, mode: int, flags: int) -> None:
    """faccessat2(2), Linux 5.8: with AT_EACCESS the filesystem ids count."""
    call("faccessat2", dir_fd, path_bytes(path), mode, flags)


def inotify_init() -> int:
    """inotify_init1(2): a descriptor that can be read when something has happened; non-blocking and
    close-on-exec."""
    return call("inotify_init1", posix.O_NONBLOCK | posix.O_CLOEXEC)


def inotify_add_watch(fd: int, path: str, mask: int) -> None:
    """inotify_add_watch(2): IN_* of `mask` happening to `path`, or in it."""
    call("inotify_add_watch", fd, path_bytes(path), mask)


def filesystem_magic(fd: int) -> int:
    """fstatfs(2): the f_type of the filesystem that `fd` lies on."""
    data = buffer(120)
    call("fstatfs", fd, data)
    return int.from_bytes(data.raw[:8], "little")


def mount(source: str, target: str, fstype: str, flags: int, data: str) -> None:
    """mount(2)"""
    given = [path_bytes(text) if text else None for text in (source, fstype, data)]
    call("mount", given[0], path_bytes(target), given[1], flags, given[2])


def umount2(target: str, flags: int) -> None:
    """umount2(2)"""
    call("umount2", path_bytes(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)"""
    call("pivot_root", path_bytes(new_root), path_bytes(put_old))


def open_tree(dir_fd: int, path: str | bytes, flags: int) -> int:
    """open_tree(2), Linux 5.2. The descriptor is close-on-exec."""
    return call("open_tree", dir_fd, path_bytes(path), flags | const.OPEN_TREE_CLOEXEC)


def move_mount(from_fd: int, to_fd: int) -> None:
    """move_mount(2), Linux 5.2: the mount that `from_fd` holds is attached where `to_fd` points."""
    flags = const.MOVE_MOUNT_F_EMPTY_PATH | const.MOVE_MOUNT_T_EMPTY_PATH
    call("move_mount", from_fd, b"\0", to_fd, b"\0", flags)


def mount_setattr(
    fd: int, *, recursive: bool, attr_set: int = 0, attr_clear: int = 0, propagation: int = 0, userns: int = 0
) -> None:
    """mount_setattr(2), Linux 5.12, on the mount that `fd` holds; `recursive`: and all below it;
    `userns`: the descriptor of a user namespace."""
    data = attr_set.to_bytes(8, "little") + attr_clear.to_bytes(8, "little")
    data += propagation.to_bytes(8, "little") + userns.to_bytes(8, "little")
    flags = const.AT_EMPTY_PATH | (const.AT_RECURSIVE if recursive else 0)
    call("mount_setattr", fd, b"\0", flags, data, len(data))


def fsopen(fstype: str) -> int:
    """fsopen(2), Linux 5.2: a filesystem in the making."""
    return call("fsopen", path_bytes(fstype), const.FSOPEN_CLOEXEC)


def fsconfig(fd: int, command: int, key: str = "", value: str = "") -> None:
    """fsconfig(2), Linux 5.2, with strings."""
    call("fsconfig", fd, command, path_bytes(key) if key else None, path_bytes(value) if value else None, 0)


def fsmount(fd: int, attributes: int) -> int:
    """fsmount(2), Linux 5.2: the filesystem as a detached mount with these MOUNT_ATTR_*."""
    return call("fsmount", fd, const.FSMOUNT_CLOEXEC, attributes)


def ioctl_int(fd: int, request: int, argument: int = 0) -> int:
    """ioctl(2) with a number as its argument."""
    return call("ioctl", fd, request, argument)


def ioctl_bytes(fd: int, request: int, data: bytes) -> bytes:
    """ioctl(2) with a struct as its argument; returns the struct as the kernel left it."""
    memory = buffer(data)
    call("ioctl", fd, request, memory)
    return memory.raw  # type: ignore[no-any-return]

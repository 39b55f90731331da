"""The container's root filesystem, as a snapshotter describes it: a list of mounts, to be made and undone.

What data a mount may have is limited to a page, which an image of many layers outgrows. Its lower directories
then are named from where they all lie, as the kernel looks up a relative name.
"""

from __future__ import annotations

import posix
from errno import EBUSY, EINVAL, ENOENT

from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.kernel import const as c
from pyrunc.kernel import syscall
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_LONGEST_DATA_BYTES = 4095
# Option -> (bits set, bits cleared); what isn't here is for the filesystem
_FLAGS = {
    "ro": (c.MS_RDONLY, 0), "rw": (0, c.MS_RDONLY),
    "nosuid": (c.MS_NOSUID, 0), "suid": (0, c.MS_NOSUID),
    "nodev": (c.MS_NODEV, 0), "dev": (0, c.MS_NODEV),
    "noexec": (c.MS_NOEXEC, 0), "exec": (0, c.MS_NOEXEC),
    "sync": (c.MS_SYNCHRONOUS, 0), "async": (0, c.MS_SYNCHRONOUS),
    "dirsync": (c.MS_DIRSYNC, 0),
    "noatime": (c.MS_NOATIME, 0), "atime": (0, c.MS_NOATIME),
    "nodiratime": (c.MS_NODIRATIME, 0), "diratime": (0, c.MS_NODIRATIME),
    "relatime": (c.MS_RELATIME, 0), "norelatime": (0, c.MS_RELATIME),
    "strictatime": (c.MS_STRICTATIME, 0), "nostrictatime": (0, c.MS_STRICTATIME),
    "mand": (c.MS_MANDLOCK, 0), "nomand": (0, c.MS_MANDLOCK),
    "bind": (c.MS_BIND, 0), "rbind": (c.MS_BIND | c.MS_REC, 0),
    "remount": (c.MS_REMOUNT, 0), "defaults": (0, 0),
}  # fmt: skip
_PROPAGATION = {
    "private": c.MS_PRIVATE, "rprivate": c.MS_PRIVATE | c.MS_REC,
    "shared": c.MS_SHARED, "rshared": c.MS_SHARED | c.MS_REC,
    "slave": c.MS_SLAVE, "rslave": c.MS_SLAVE | c.MS_REC,
    "unbindable": c.MS_UNBINDABLE, "runbindable": c.MS_UNBINDABLE | c.MS_REC,
}  # fmt: skip


class Mounting(Record):
    """What one entry of the list asks of the kernel: mount(2) from `directory`; for a bind mount its flags in
    a second call; `propagation` in a last one."""

    fstype: str
    source: str
    flags: int
    data: str
    directory: str = ""
    propagation: tuple[int, ...] = ()


def plan_mount(fstype: str, source: str, options: Sequence[str]) -> Mounting:
    """Pure. Raises PyruncError INVALID for data that no mount can have."""
    flags, data, propagation = 0, [], []
    for option in options:
        if option in _FLAGS:
            bits_set, bits_cleared = _FLAGS[option]
            flags = flags & ~bits_cleared | bits_set
        elif option in _PROPAGATION:
            propagation.append(_PROPAGATION[option])
        else:
            data.append(option)
    directory = ""
    if fstype == "overlay" and len(",".join(data).encode("utf-8", "surrogateescape")) > _LONGEST_DATA_BYTES:
        directory, data = _shortened(data)
    text = ",".join(data)
    if len(text.encode("utf-8", "surrogateescape")) > _LONGEST_DATA_BYTES:  # the kernel would cut it off
        raise PyruncError(INVALID, "more than a page of options for a mount", f"{fstype} {source}")
    return Mounting(
        fstype=fstype,
        source=source,
        flags=flags,
        data=text,
        directory=directory,
        propagation=tuple(propagation),
    )


def _shortened(data: list[str]) -> tuple[str, list[str]]:
    """The directory that all lower ones lie in, and their names from there."""
    lower = [option for option in data if option.startswith("lowerdir=")]
    names = lower[0].removeprefix("lowerdir=").split(":") if len(lower) == 1 else []
    if len(names) < 2 or not all(name.startswith("/") for name in names):
        return "", data
    parts = [name.split("/")[:-1] for name in names]
    shared = 0
    while all(len(part) > shared and part[shared] == parts[0][shared] for part in parts):
        shared += 1
    directory = "/".join(parts[0][:shared]) or "/"
    cut = len(directory.rstrip("/")) + 1
    short = "lowerdir=" + ":".join(name[cut:] for name in names)
    return directory, [short if option is lower[0] else option for option in data]


def mount(mounts: Sequence[dict[str, Any]], target: str) -> None:
    """All of messages.MOUNT, one upon the other at `target`. Nothing is mounted if one fails. Raises
    PyruncError."""
    if not mounts:
        return
    done = 0
    try:
        for entry in mounts:
            with doing("make the rootfs mountpoint", target):
                _make_directory(target)
            place = f"{target}/{entry['target'].strip('/')}" if entry["target"] else target
            with doing(f"mount rootfs: {entry['type']} {entry['source']}", place):
                _mount(plan_mount(entry["type"], entry["source"], entry["options"]), place)
            done += 1
    except PyruncError:
        if done:
            unmount(target)
        raise


def _make_directory(path: str) -> None:
    try:
        posix.mkdir(path, 0o711)
    except FileExistsError:
        pass


def _mount(plan: Mounting, target: str) -> None:
    """Options of a bind mount count in a remount alone (mount(2))."""
    back = posix.open(".", c.O_PATH | posix.O_CLOEXEC) if plan.directory else -1
    try:
        if plan.directory:
            posix.chdir(plan.directory)
        syscall.mount(plan.source, target, plan.fstype, plan.flags, plan.data)
    finally:
        if back >= 0:
            posix.fchdir(back)
            posix.close(back)
    if plan.flags & c.MS_BIND and plan.flags & c.MS_RDONLY:
        syscall.mount("", target, "", plan.flags | c.MS_REMOUNT, "")
    for flags in plan.propagation:
        syscall.mount("", target, "", flags, "")


def unmount(target: str) -> None:
    """Whatever is mounted there, to the last; what somebody is still busy in leaves the tree now, and goes
    when they do. A target that isn't there is no error. Raises PyruncError."""
    with doing("unmount rootfs", target):
        while True:
            try:
                syscall.umount2(target, c.UMOUNT_NOFOLLOW)
            except OSError as error:
                if error.errno in (EINVAL, ENOENT):
                    return
                if error.errno != EBUSY:
                    raise
                syscall.umount2(target, c.UMOUNT_NOFOLLOW | c.MNT_DETACH)

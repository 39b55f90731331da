"""Copies of directory trees, as `cp -a` makes them, by descriptors alone: no name is looked up from a root,
and no symlink followed."""

from __future__ import annotations

import posix
from errno import ENOTSUP, EPERM
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from posix import stat_result

_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_SOURCE = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
_CREATED = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
_CHUNK = 1 << 30


def copy_tree(source: int, target: int) -> None:
    """All that is in the directory `source`, into the empty directory `target`: owners, modes, times,
    extended attributes, hard links, special files. Nobody else may be able to reach `target` yet, and the
    umask has to be 0. Raises OSError."""
    _copy_entries(source, target, target, "", {})


def _copy_entries(source: int, target: int, top: int, path: str, linked: dict[tuple[int, int], str]) -> None:
    """`path` is where we are below `top`; `linked` tells where files with several names are already."""
    for name in posix.listdir(source):
        found = posix.stat(name, dir_fd=source, follow_symlinks=False)
        here = f"{path}{name}"
        if found.st_nlink > 1 and not S_ISDIR(found.st_mode):
            first = linked.setdefault((found.st_dev, found.st_ino), here)
            if first != here:
                posix.link(first, name, src_dir_fd=top, dst_dir_fd=target, follow_symlinks=False)
                continue
        if S_ISDIR(found.st_mode):
            inner = posix.open(name, _DIRECTORY, dir_fd=source)
            posix.mkdir(name, 0o700, dir_fd=target)
            copy = posix.open(name, _DIRECTORY, dir_fd=target)
            _copy_entries(inner, copy, top, f"{here}/", linked)
            _finish(inner, copy, found)
        elif S_ISREG(found.st_mode):
            inner = posix.open(name, _SOURCE, dir_fd=source)
            copy = posix.open(name, _CREATED, 0o600, dir_fd=target)
            while posix.sendfile(copy, inner, None, _CHUNK):
                pass
            _finish(inner, copy, found)
        else:
            _copy_special(source, target, name, found)


def _finish(source: int, copy: int, found: stat_result) -> None:
    """A change of owner takes set-user-id and file capabilities away, so those come after it; times last.
    An attribute that the new filesystem can't have is left out."""
    posix.fchown(copy, found.st_uid, found.st_gid)
    for name in posix.listxattr(source):
        try:
            posix.setxattr(copy, name, posix.getxattr(source, name))
        except OSError as error:
            if error.errno not in (ENOTSUP, EPERM):
                raise
    posix.fchmod(copy, S_IMODE(found.st_mode))
    posix.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
    posix.close(source)
    posix.close(copy)


def _copy_special(source: int, target: int, name: str, found: stat_result) -> None:
    """Symlinks, devices, fifos and sockets."""
    if S_ISLNK(found.st_mode):
        posix.symlink(posix.readlink(name, dir_fd=source), name, dir_fd=target)
    else:
        posix.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
    posix.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
    posix.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)

"""Names inside a root: every path that comes from an image or a config is opened through here.

A name is resolved by the kernel as if the root were `/` (openat2 with RESOLVE_IN_ROOT): `..` and symlinks,
absolute ones too, stay inside, and magic links of /proc are refused. What is missing is made one component
at a time, each relative to the descriptor of the one before, so that a symlink swapped in meanwhile leads
nowhere (CVE-2021-30465, CVE-2024-45310). Callers go on with the descriptor, never with the name.
"""

from __future__ import annotations

import posix
from errno import EEXIST, EINVAL, ELOOP, ENOENT
from stat import S_IFREG

from pyrunc.kernel import syscall
from pyrunc.kernel.const import O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_MAXIMUM_LINKS = 40
_MAXIMUM_TURNS = 8192  # twice a path's names and more: who is not there then has met with a race


def components(path: str) -> list[str]:
    """The names of a path, without `.` and empty ones, `..` kept: what it means depends on links."""
    return [part for part in path.split("/") if part not in ("", ".")]


def clean(path: str) -> str:
    """The absolute path with `.` and `..` taken away by text alone, as Go's filepath.Clean("/" + path)."""
    kept: list[str] = []
    for part in components(path):
        if part == "..":
            del kept[-1:]
        else:
            kept.append(part)
    return "/" + "/".join(kept)


def fd_path(fd: int) -> str:
    """The name by which a call that only takes paths reaches the object of a descriptor."""
    return f"/proc/self/fd/{fd}"


def open_inside(root_fd: int, path: str, flags: int = O_PATH, mode: int = 0) -> int:
    """Open an existing `path` below `root_fd`, following symlinks as a process in the root would."""
    return syscall.openat2(root_fd, path, flags, _IN_ROOT, mode)


def open_link_itself(root_fd: int, path: str) -> int:
    """As open_inside, but a symlink as the last component is opened itself (O_PATH)."""
    return syscall.openat2(root_fd, path, O_PATH | posix.O_NOFOLLOW, _IN_ROOT)


def make_directories(root_fd: int, path: str, mode: int = 0o755) -> int:
    """Open the directory `path` below `root_fd` (O_PATH), making what is missing. Dangling symlinks on the
    way are made good inside the root, as runc does. Raises OSError."""
    parts = components(path)
    missing: list[str] = []
    for _ in range(_MAXIMUM_TURNS):
        try:
            found = open_inside(root_fd, "/".join(parts) or ".", O_PATH | posix.O_DIRECTORY)
        except FileNotFoundError:
            missing.append(parts.pop())
            continue
        if not missing:
            return found
        name = missing.pop()
        try:
            target = None if name == ".." else _make_one(found, name, mode)
        finally:
            posix.close(found)
        if target is None:
            parts.append(name)
        else:
            before = [] if target.startswith("/") else parts
            parts, missing = [*before, *components(target), *reversed(missing)], []
    raise OSError(ELOOP, "openat2", path)


def _make_one(parent: int, name: str, mode: int) -> str | None:
    """Make the directory `name` unless it is there. A symlink is not followed: returns where it points."""
    try:
        posix.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        try:
            return posix.readlink(name, dir_fd=parent)
        except OSError as error:
            if error.errno != EINVAL:  # else it was made meanwhile
                raise
    return None


def split(path: str) -> tuple[str, str]:
    """Parent and last component of a path inside a root; raises OSError for the root itself or `..`."""
    parts = components(path)
    if not parts or parts[-1] == "..":
        raise OSError(EEXIST, "open", path)
    return "/".join(parts[:-1]) or ".", parts[-1]


def make_file(root_fd: int, path: str, mode: int = 0o755, *, follow: bool = True) -> int:
    """Open `path` below `root_fd` (O_PATH), making an empty file where nothing is, with its directories.

    A dangling symlink is followed inside the root, and the file is made where it points. Without `follow` a
    symlink is opened itself.
    """
    for _ in range(_MAXIMUM_LINKS):
        try:
            return open_inside(root_fd, path) if follow else open_link_itself(root_fd, path)
        except FileNotFoundError:
            pass
        parent_path, name = split(path)
        parent = make_directories(root_fd, parent_path)
        try:
            target = posix.readlink(name, dir_fd=parent)
        except OSError as error:
            if error.errno == ENOENT:
                try:
                    posix.mknod(name, S_IFREG | mode, dir_fd=parent)
                except FileExistsError:
                    pass
            continue
        finally:
            posix.close(parent)
        path = target if target.startswith("/") else f"{parent_path}/{target}"
    raise OSError(ELOOP, "openat2", path)

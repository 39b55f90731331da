"""What a layer needs of those below it, when all of them are there: it was unpacked by itself.

A hard link whose target lies in a lower layer is made through an overlay, whose kernel copies the target up.
A directory that no entry told of, but names in it did, gets owner, mode and time of the one that it covers.
"""

from __future__ import annotations

import os
import posix
from errno import ELOOP, ENOENT, ENOTDIR
from stat import S_IMODE

from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.image.snapshots.base import DIRECTORY, remove_tree
from pyrunc.image.snapshots.overlay import mount_stack
from pyrunc.kernel import syscall
from pyrunc.kernel.const import CLONE_NEWNS, MNT_DETACH, MS_PRIVATE, MS_REC, O_PATH
from pyrunc.kernel.paths import fd_path, open_inside

_FOUND = O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def amend(path: str, lower: tuple[str, ...], links: list[tuple[str, str]], implicit: list[str]) -> None:
    """`path` is the layer's directory, `lower` those below it, the topmost first. Gives the process a mount
    namespace of its own. Raises PyruncError, INVALID for a link to what no layer has."""
    root = os.open(path, DIRECTORY)
    below = [os.open(name, DIRECTORY) for name in lower]
    try:
        with doing("amend layer", path):
            for name in implicit:
                _take_after(root, below, name)
        if links:
            _link(path, lower, links)
    finally:
        for fd in (root, *below):
            os.close(fd)


def _take_after(root: int, below: list[int], name: str) -> None:
    for layer in below:
        try:
            source = open_inside(layer, name, _FOUND)
        except OSError as error:
            if error.errno == ENOENT:
                continue
            if error.errno in (ENOTDIR, ELOOP):  # no directory there: ours hides it
                return
            raise
        try:
            target = open_inside(root, name, _FOUND)
            try:
                found, place = posix.fstat(source), fd_path(target)
                posix.chown(place, found.st_uid, found.st_gid)
                posix.chmod(place, S_IMODE(found.st_mode))
                posix.utime(place, ns=(found.st_mtime_ns, found.st_mtime_ns))
            finally:
                os.close(target)
            return
        finally:
            os.close(source)


def _link(path: str, lower: tuple[str, ...], links: list[tuple[str, str]]) -> None:
    place = path.removesuffix("/fs")
    work, target = f"{place}/work", f"{place}/merged"
    if not lower:
        raise _missing(links[0])
    with doing("link into a lower layer", path):
        syscall.unshare(CLONE_NEWNS)
        syscall.mount("", "/", "", MS_PRIVATE | MS_REC, "")
        for name in (work, target):
            os.mkdir(name)
        mount_stack(lower, path, work, target)
        root = os.open(target, DIRECTORY)
        try:
            for old, new in links:
                _link_inside(root, old, new)
        finally:
            os.close(root)
            syscall.umount2(target, MNT_DETACH)
        os.rmdir(target)
    remove_tree(work)


def _link_inside(root: int, old: str, new: str) -> None:
    old_parent, _, old_last = old.rpartition("/")
    new_parent, _, new_last = new.rpartition("/")
    try:
        source = open_inside(root, old_parent or ".", O_PATH | posix.O_DIRECTORY)
        try:
            target = open_inside(root, new_parent or ".", O_PATH | posix.O_DIRECTORY)
            try:
                posix.link(old_last, new_last, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            finally:
                os.close(target)
        finally:
            os.close(source)
    except FileNotFoundError:
        raise _missing((old, new)) from None


def _missing(link: tuple[str, str]) -> PyruncError:
    return PyruncError(
        INVALID, "invalid layer", f"/{link[1][:300]}", f"a hard link to /{link[0][:300]}: no such file"
    )

"""Detached mounts: what a bind mount is made from, and a filesystem that is filled before anybody sees it."""

from __future__ import annotations

import posix

from pyrunc.kernel import syscall
from pyrunc.kernel.const import (
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    OPEN_TREE_CLONE,
)


def clone_tree(
    source: str, *, recursive: bool, follow: bool, set_flags: int, clear_flags: int, propagation: int
) -> int:
    """A detached copy of the mount at `source`, from there on, as a descriptor. Without `follow` a symlink is
    the source itself. `set_flags` and `clear_flags` (MOUNT_ATTR_*) are for the topmost mount, `propagation`
    (MS_*, 0 to keep it) for all. Raises OSError."""
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0) | (0 if follow else AT_SYMLINK_NOFOLLOW)
    tree = syscall.open_tree(AT_FDCWD, source, flags)
    try:
        with_flags = 0 if recursive else propagation  # then one call does both
        if set_flags or clear_flags or with_flags:
            syscall.mount_setattr(
                tree, recursive=False, attr_set=set_flags, attr_clear=clear_flags, propagation=with_flags
            )
        if propagation and recursive:
            syscall.mount_setattr(tree, recursive=True, propagation=propagation)
    except OSError:
        posix.close(tree)
        raise
    return tree


def make_filesystem(fstype: str, source: str, options: tuple[str, ...], attributes: int) -> int:
    """A new instance, detached, as a descriptor; `options`: KEY or KEY=VALUE. Raises OSError."""
    context = syscall.fsopen(fstype)
    try:
        syscall.fsconfig(context, FSCONFIG_SET_STRING, "source", source)
        for option in options:
            key, equals, value = option.partition("=")
            syscall.fsconfig(context, FSCONFIG_SET_STRING if equals else FSCONFIG_SET_FLAG, key, value)
        syscall.fsconfig(context, FSCONFIG_CMD_CREATE)
        return syscall.fsmount(context, attributes)
    finally:
        posix.close(context)

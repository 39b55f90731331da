"""Detached mount trees: what a bind mount is made from."""

from __future__ import annotations

import posix

from pyrunc.kernel import syscall
from pyrunc.kernel.const import AT_FDCWD, AT_RECURSIVE, OPEN_TREE_CLONE


def clone_tree(source: str, *, recursive: bool, set_flags: int, clear_flags: int, propagation: int) -> int:
    """A detached copy of the mount at `source`, from there on, as a descriptor. `set_flags` and `clear_flags`
    (MOUNT_ATTR_*) are for the topmost mount, `propagation` (MS_*, 0 to keep it) for all. Raises OSError."""
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0)
    tree = syscall.open_tree(AT_FDCWD, source, flags)
    try:
        if set_flags or clear_flags:
            syscall.mount_setattr(tree, recursive=False, attr_set=set_flags, attr_clear=clear_flags)
        if propagation:
            syscall.mount_setattr(tree, recursive=recursive, propagation=propagation)
    except OSError:
        posix.close(tree)
        raise
    return tree

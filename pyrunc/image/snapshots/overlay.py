"""Snapshots as overlayfs stacks: a layer is a directory, shared by all that stand on it.

Layers are passed one at a time (fsconfig's lowerdir+, Linux 6.8), so that there may be as many as overlayfs
takes (500). Before that they go into one option of at most a page, by their descriptors, which are short.
"""

from __future__ import annotations

import os
from errno import EINVAL

from pyrunc.errors import UNSUPPORTED, PyruncError, doing
from pyrunc.image.snapshots.base import DIRECTORY, Mounts, Snapshots
from pyrunc.kernel import syscall
from pyrunc.kernel.const import AT_FDCWD, FSCONFIG_CMD_CREATE, FSCONFIG_SET_STRING, O_PATH, OPEN_TREE_CLONE
from pyrunc.kernel.paths import fd_path

_LONGEST_VALUE = 255  # of a string for fsconfig(2)
_PAGE = 4096
# What makes an upper directory mean what `changes` and `commit` read in it, whatever the kernel's defaults
_OPTIONS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "off"))


class Overlay(Snapshots):
    driver = "overlay"

    def mounts(self, key: str) -> Mounts:
        parent, place = self.parent_of(key), self.active_path(key)
        if not parent:
            return Mounts(type="bind", upper=f"{place}/fs")
        return Mounts(type="overlay", upper=f"{place}/fs", work=f"{place}/work", lower=self.layers_of(parent))

    def mount(self, key: str, target: str) -> None:
        found = self.mounts(key)
        with doing("mount snapshot", key):
            if found.type == "bind":
                mount_bind(found.upper, target)
            else:
                mount_stack(found.lower, found.upper, found.work, target)


def mount_bind(path: str, target: str) -> None:
    """Raises OSError."""
    tree = syscall.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)
    try:
        _attach(tree, target)
    finally:
        os.close(tree)


def mount_stack(lower: tuple[str, ...], upper: str, work: str, target: str) -> None:
    """An overlay on `target`, the topmost of `lower` first. Raises OSError, UNSUPPORTED for more layers than
    an old kernel takes."""
    held = [os.open(path, DIRECTORY) for path in (*lower, upper, work)]
    try:
        by_fd = [fd_path(fd) for fd in held]
        *layers, up, working = (
            path if len(os.fsencode(path)) <= _LONGEST_VALUE else short
            for path, short in zip((*lower, upper, work), by_fd, strict=True)
        )
        try:
            tree = _detached([("lowerdir+", layer) for layer in layers], up, working)
        except OSError as error:
            if error.errno != EINVAL:
                raise
            _mount_by_option(by_fd, target)
            return
        try:
            _attach(tree, target)
        finally:
            os.close(tree)
    finally:
        for fd in held:
            os.close(fd)


def _detached(lower: list[tuple[str, str]], upper: str, work: str) -> int:
    context = syscall.fsopen("overlay")
    try:
        syscall.fsconfig(context, FSCONFIG_SET_STRING, "source", "overlay")
        for key, value in (*lower, ("upperdir", upper), ("workdir", work), *_OPTIONS):
            syscall.fsconfig(context, FSCONFIG_SET_STRING, key, value)
        syscall.fsconfig(context, FSCONFIG_CMD_CREATE)
        return syscall.fsmount(context, 0)
    finally:
        os.close(context)


def _mount_by_option(by_fd: list[str], target: str) -> None:
    """As it was before Linux 6.8: all layers in one option."""
    *lower, upper, work = by_fd
    options = (("lowerdir", ":".join(lower)), ("upperdir", upper), ("workdir", work), *_OPTIONS)
    data = ",".join(f"{key}={value}" for key, value in options)
    if len(data) >= _PAGE:
        why = f"{len(lower)} layers are more than this kernel takes"
        raise PyruncError(UNSUPPORTED, "mount snapshot", target, why, "Linux 6.8 takes 500")
    syscall.mount("overlay", target, "overlay", 0, data)


def _attach(tree: int, target: str) -> None:
    place = os.open(target, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscall.move_mount(tree, place)
    finally:
        os.close(place)


def is_supported(root: str) -> bool:
    """Whether directories below `root` can be the layers and the upper directory of an overlay."""
    place = f"{root}/.probe.{os.getpid()}"
    names = ("lower", "upper", "work")
    try:
        for name in names:
            os.makedirs(f"{place}/{name}", exist_ok=True)
        os.close(_detached([("lowerdir", f"{place}/lower")], f"{place}/upper", f"{place}/work"))
    except OSError:
        return False
    finally:
        for path in (f"{place}/work/work", *(f"{place}/{name}" for name in names), place):
            if os.path.isdir(path):
                os.rmdir(path)
    return True

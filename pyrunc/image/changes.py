"""What a container has changed: its snapshot compared with the layers below it.

Both drivers give the same answer. An overlay's upper directory is walked beside the layers that show through
at each place; a plain copy is walked beside its parent. Names are in order, parents first, and so are the
entries of the layer that `write_layer_tar` makes of them.
"""

from __future__ import annotations

import os
import posix
from contextlib import ExitStack
from stat import S_ISCHR, S_ISDIR, S_ISSOCK

from pyrunc.errors import doing
from pyrunc.image.options import Change
from pyrunc.image.snapshots.base import DIRECTORY
from pyrunc.image.tarwrite import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import stat_result

    from pyrunc.image.store import Store

    # kind, descriptor of the directory that has it now, last component, whole name, what it is now
    Found = tuple[str, int, bytes, bytes, stat_result | None]

_OPAQUE = "trusted.overlay.opaque"


def changes(store: Store, key: str) -> tuple[Change, ...]:
    """Of the active snapshot `key`. Raises NOT_FOUND."""
    with doing("compare snapshot", key), ExitStack() as held:
        return tuple(
            Change(kind=kind, path="/" + os.fsdecode(name))
            for kind, _, _, name, _ in _directory(*_roots(store, key, held))
        )


def write_layer_tar(
    store: Store, key: str, write: Callable[[bytes], object], without: frozenset[str] = frozenset()
) -> bool:
    """The changes as a layer: what is new or other, and whiteouts for what is gone, but for the names
    `without`. Whether there were any."""
    writer, any_changes = Writer(write), False
    with doing("pack snapshot", key), ExitStack() as held:
        for kind, parent, last, name, found in _directory(*_roots(store, key, held)):
            if "/" + os.fsdecode(name) in without:
                continue
            any_changes = True
            if kind == "D":
                before, slash, gone = name.rpartition(b"/")
                writer.add_empty(before + slash + b".wh." + gone)
            elif found is not None:
                writer.add(parent, last, name, found)
        writer.finish()
    return any_changes


def _roots(store: Store, key: str, held: ExitStack) -> tuple[int, list[int], bool]:
    """The snapshot's directory, those that are below it, and whether it is an overlay's."""
    snapshots = store.snapshots
    parent = snapshots.parent_of(key)
    lower = snapshots.layers_of(parent) if parent else ()
    if snapshots.needs_parent:
        lower = lower[:1]
    opened = [_open(os.fsencode(path), None, held) for path in (snapshots.upper(key), *lower)]
    return opened[0], opened[1:], not snapshots.needs_parent


def _open(name: bytes, parent: int | None, held: ExitStack) -> int:
    fd = posix.open(name, DIRECTORY, dir_fd=parent)
    held.callback(posix.close, fd)
    return fd


def _directory(upper: int, lower: list[int], is_overlay: bool, prefix: bytes = b"") -> Iterator[Found]:
    """`lower`: the directories that show through here, the topmost first."""
    below = _names(lower)
    shows_all = is_overlay and not _is_opaque(upper)
    here = sorted(os.fsencode(name) for name in posix.listdir(upper))
    gone = [] if shows_all else sorted(set(below) - set(here))
    for last in sorted({*here, *gone}):
        name = prefix + last
        if last in gone:
            yield "D", upper, last, name, None
            continue
        try:
            found = posix.stat(last, dir_fd=upper, follow_symlinks=False)
        except FileNotFoundError:  # a running container has just removed it
            continue
        if is_overlay and S_ISCHR(found.st_mode) and found.st_rdev == 0:
            if last in below:
                yield "D", upper, last, name, None
            continue
        if S_ISSOCK(found.st_mode):
            continue
        yield from _entry(upper, lower, last, name, found, is_overlay, below.get(last))


def _entry(
    upper: int,
    lower: list[int],
    last: bytes,
    name: bytes,
    found: stat_result,
    is_overlay: bool,
    before: stat_result | None,
) -> Iterator[Found]:
    kind = "A" if before is None else "C"
    if not S_ISDIR(found.st_mode):
        if is_overlay or before is None or _differs(found, before):
            yield kind, upper, last, name, found
        return
    with ExitStack() as held:
        inner = _open(last, upper, held)
        through = _through(lower, last, held) if before and S_ISDIR(before.st_mode) else []
        inside = _directory(inner, through, is_overlay, name + b"/")
        first = next(inside, None)  # a copy of a directory is changed if something in it is
        if is_overlay or first or before is None or _differs(found, before):
            yield kind, upper, last, name, found
        if first:
            yield first
            yield from inside


def _names(lower: list[int]) -> dict[bytes, stat_result]:
    """What the layers below show together."""
    found: dict[bytes, stat_result] = {}
    hidden: set[bytes] = set()
    for layer in lower:
        for text in posix.listdir(layer):
            last = os.fsencode(text)
            if last in found or last in hidden:
                continue
            here = posix.stat(last, dir_fd=layer, follow_symlinks=False)
            if S_ISCHR(here.st_mode) and here.st_rdev == 0:
                hidden.add(last)
            else:
                found[last] = here
        if _is_opaque(layer):
            break
    return found


def _through(lower: list[int], last: bytes, held: ExitStack) -> list[int]:
    """The directories `last` of the layers, as far as they show."""
    found: list[int] = []
    for layer in lower:
        try:
            fd = _open(last, layer, held)
        except FileNotFoundError:
            if _is_opaque(layer):
                break
            continue
        except OSError:  # a file, or a whiteout: what lies below does not show
            break
        found.append(fd)
        if _is_opaque(fd) or _is_opaque(layer):
            break
    return found


def _is_opaque(fd: int) -> bool:
    try:
        return posix.getxattr(fd, _OPAQUE) == b"y"
    except OSError:
        return False


def _differs(found: stat_result, before: stat_result) -> bool:
    """Between two copies, of which nobody keeps the times by accident."""
    same = ("st_mode", "st_uid", "st_gid", "st_rdev", "st_mtime_ns")
    if S_ISDIR(found.st_mode) != S_ISDIR(before.st_mode):
        return True
    if not S_ISDIR(found.st_mode) and found.st_size != before.st_size:
        return True
    return any(getattr(found, name) != getattr(before, name) for name in same)

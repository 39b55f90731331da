"""Files of ours to a tar stream and back, for `cp`.

What comes from a container is hostile: each name is walked part by part below the target's descriptor, and no
symbolic link is followed on the way, so that nothing outside of it is touched whatever the archive says.
"""

from __future__ import annotations

import os
import stat
import tarfile

from pyrunc.errors import INVALID, PyruncError, doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

_PIECE_BYTES = 256 << 10
_BLOCK_BYTES = 512
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def pack(path: str, name: str, *, follows: bool) -> Iterator[bytes]:
    """The tree at `path`, as `name`. `follows`: a link at `path` itself. Raises PyruncError."""
    with doing("read", path):
        source = os.path.realpath(path) if follows else path
        yield from _pack(source, name)
        yield bytes(2 * _BLOCK_BYTES)


def _pack(path: str, name: str) -> Iterator[bytes]:
    entry = tarfile.TarFile.gettarinfo(_Template(), path, name)  # type: ignore[arg-type]
    if entry is None:  # a socket
        return
    entry.uname = entry.gname = ""
    yield entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if entry.isreg():
        yield from _content(path, entry.size)
    elif entry.isdir():
        for child in sorted(os.listdir(path)):
            yield from _pack(f"{path}/{child}", f"{name}/{child}")


class _Template:
    """What gettarinfo asks of the archive that it is a method of. Hard links travel as files."""

    tarinfo = tarfile.TarInfo
    dereference = False
    fileobj = None

    def __init__(self) -> None:
        self.inodes: dict[Any, str] = {}

    def _check(self, mode: str) -> None:
        """It may be written to."""


def _content(path: str, size: int) -> Iterator[bytes]:
    """As long as its header says, whatever becomes of the file meanwhile."""
    left = size
    with open(path, "rb", buffering=0) as file:
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece
    while left:
        filler = bytes(min(left, _PIECE_BYTES))
        left -= len(filler)
        yield filler
    yield bytes(-size % _BLOCK_BYTES)


def unpack(stream: BinaryIO, target: str, rename: Callable[[str], str], *, keeps_owner: bool) -> int:
    """Into the directory `target`, which is there. `rename`: a name in the archive to one below it; "" is the
    target itself. Returns how many bytes of files it were. Raises PyruncError."""
    total = 0
    with doing("write", target):
        root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for entry in archive:
                    total += _unpack_one(archive, entry, root, rename, keeps_owner)
        except tarfile.TarError as error:
            raise PyruncError(INVALID, "bad archive", "", str(error)) from None
        finally:
            os.close(root)
    return total


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PyruncError(INVALID, "an archive's name leads out of it", name)
    return parts


def _unpack_one(archive: Any, entry: Any, root: int, rename: Callable[[str], str], keeps_owner: bool) -> int:
    parts = _parts(rename(entry.name))
    if not parts:
        return 0
    parent = _open_parent(root, parts[:-1])
    name = parts[-1]
    try:
        if entry.isdir():
            _make_directory(parent, name)
        elif entry.issym():
            _clear(parent, name)
            os.symlink(entry.linkname, name, dir_fd=parent)
        elif entry.islnk():
            _clear(parent, name)
            _link(root, _parts(rename(entry.linkname)), parent, name)
        elif entry.isreg():
            _clear(parent, name)
            _write(archive.extractfile(entry), parent, name)
        elif entry.isfifo():
            _clear(parent, name)
            os.mkfifo(name, dir_fd=parent)
        else:
            return 0  # a device is made for nobody by a copy
        if keeps_owner:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if not entry.issym() and not entry.islnk():
            os.chmod(name, stat.S_IMODE(entry.mode), dir_fd=parent)
            os.utime(name, (entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)
    return int(entry.size)


def _open_parent(root: int, parts: list[str]) -> int:
    current = os.dup(root)
    for part in parts:
        try:
            try:
                below = os.open(part, _DIRECTORY, dir_fd=current)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=current)
                below = os.open(part, _DIRECTORY, dir_fd=current)
        finally:
            os.close(current)
        current = below
    return current


def _make_directory(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        os.close(os.open(name, _DIRECTORY, dir_fd=parent))  # a directory, or an error


def _clear(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass


def _link(root: int, parts: list[str], parent: int, name: str) -> None:
    source = _open_parent(root, parts[:-1])
    try:
        os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(source)


def _write(content: Any, parent: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
        while piece := content.read(_PIECE_BYTES):
            file.write(piece)

"""Tar archives, written so that the same tree gives the same bytes: names in order, parents first, numeric
owners, whole seconds, PAX records only where the old header has no room."""

from __future__ import annotations

import os
import posix
from stat import S_IMODE, S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG

from pyrunc.image.tar import BLOCK, BLOCKDEV, CHARACTER, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import stat_result

_OCTAL_8, _OCTAL_12 = 0o7777777, 0o77777777777
_CHUNK = 1 << 20
_FILE = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
_ATTRIBUTES = ("user.", "security.capability", "system.posix_acl_")
_NOT_THESE = ("user.overlay.",)


def header(
    name: bytes,
    kind: bytes,
    *,
    size: int = 0,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    device: int = 0,
    xattrs: dict[str, bytes] | None = None,
) -> bytes:
    """The blocks before an entry's data."""
    pax: list[tuple[bytes, bytes]] = []
    if len(name) > 100:
        pax.append((b"path", name))
    if len(link) > 100:
        pax.append((b"linkpath", link))
    numbers = ((b"uid", uid, _OCTAL_8), (b"gid", gid, _OCTAL_8), (b"size", size, _OCTAL_12))
    pax += [(key, b"%d" % value) for key, value, most in numbers if value > most]
    if not 0 <= mtime <= _OCTAL_12:
        pax.append((b"mtime", b"%d" % mtime))
    for key, value in sorted((xattrs or {}).items()):
        pax.append((b"SCHILY.xattr." + os.fsencode(key), value))
    before = b""
    if pax:
        records = b"".join(_record(key, value) for key, value in pax)
        before = _block(b"PaxHeaders/0", b"x", size=len(records)) + padded(records)
    return before + _block(
        name,
        kind,
        size=size if size <= _OCTAL_12 else 0,
        mode=mode,
        uid=uid if uid <= _OCTAL_8 else 0,
        gid=gid if gid <= _OCTAL_8 else 0,
        mtime=mtime if 0 <= mtime <= _OCTAL_12 else 0,
        link=link,
        device=device,
    )


def _record(key: bytes, value: bytes) -> bytes:
    """ "LENGTH KEY=VALUE\\n", where the length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _block(
    name: bytes,
    kind: bytes,
    *,
    size: int,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    device: int = 0,
) -> bytes:
    head = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, mtime),
            b" " * 8,
            kind,
            link[:100].ljust(100, b"\0"),
            b"ustar\00000",
            bytes(64),
            b"%07o\0%07o\0" % (posix.major(device) & _OCTAL_8, posix.minor(device) & _OCTAL_8),
        )
    ).ljust(BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


END = bytes(2 * BLOCK)


class Writer:
    """Entries of a tree, named by descriptors of their directories, to `write`. `names` remembers files with
    several names, of which the first has the data."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._names: dict[tuple[int, int], bytes] = {}

    def add(self, parent: int, last: bytes, name: bytes, found: stat_result) -> None:
        """The entry `last` of the directory `parent`, under `name`. A socket is left out, as it means
        nothing in an archive. Raises OSError."""
        mode = found.st_mode
        if S_ISREG(mode):
            self._add_file(parent, last, name, found)
        elif S_ISDIR(mode):
            fd = posix.open(last, _FILE | posix.O_DIRECTORY, dir_fd=parent)
            try:
                self._entry(name + b"/", DIRECTORY, found, xattrs=_attributes(fd))
            finally:
                posix.close(fd)
        elif S_ISLNK(mode):
            self._entry(name, SYMLINK, found, link=posix.readlink(last, dir_fd=parent))
        elif S_ISCHR(mode) or S_ISBLK(mode):
            kind = CHARACTER if S_ISCHR(mode) else BLOCKDEV
            self._entry(name, kind, found, device=found.st_rdev)
        elif S_ISFIFO(mode):
            self._entry(name, FIFO, found)

    def add_empty(self, name: bytes) -> None:
        """An empty file, as whiteouts are."""
        self._write(header(name, REGULAR))

    def finish(self) -> None:
        self._write(END)

    def _entry(
        self,
        name: bytes,
        kind: bytes,
        found: stat_result,
        *,
        link: bytes = b"",
        device: int = 0,
        size: int = 0,
        xattrs: dict[str, bytes] | None = None,
    ) -> None:
        self._write(
            header(
                name,
                kind,
                size=size,
                mode=S_IMODE(found.st_mode),
                uid=found.st_uid,
                gid=found.st_gid,
                mtime=found.st_mtime_ns // 1_000_000_000,
                link=link,
                device=device,
                xattrs=xattrs,
            )
        )

    def _add_file(self, parent: int, last: bytes, name: bytes, found: stat_result) -> None:
        """What a container changes meanwhile is cut or filled up with zeros: the header has told its size."""
        if found.st_nlink > 1:
            first = self._names.setdefault((found.st_dev, found.st_ino), name)
            if first != name:
                self._entry(name, LINK, found, link=first)
                return
        fd = posix.open(last, _FILE, dir_fd=parent)
        try:
            found = posix.fstat(fd)
            if not S_ISREG(found.st_mode):
                return
            left = found.st_size
            self._entry(name, REGULAR, found, size=left, xattrs=_attributes(fd))
            while left:
                data = posix.read(fd, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                self._write(data)
                left -= len(data)
            self._write(bytes(-found.st_size % BLOCK))
        finally:
            posix.close(fd)


def _attributes(fd: int) -> dict[str, bytes]:
    names = (name for name in posix.listxattr(fd) if name.startswith(_ATTRIBUTES))
    return {name: posix.getxattr(fd, name) for name in names if not name.startswith(_NOT_THESE)}

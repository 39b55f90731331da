"""A layer's tar into a directory: the one place where names from an image become files.

How nothing outside of the directory is reached. A name is cut into a parent and a last component. The parent
is opened by the kernel inside the directory (RESOLVE_IN_ROOT: `..`, absolute names and symlinks stay within),
and the last component, which has no slash, is made relative to that descriptor, by calls that follow no link
and open nothing that is there (O_EXCL). What is in the way is removed, never written through. No call
takes a name of more than one component, so that it makes no difference if somebody is busy in the
directory, as in a container's.

Whiteouts. With `whiteouts="overlay"` the directory is a layer of an overlay: a whiteout becomes a device 0:0,
an opaque marker an attribute. With "apply" it holds a copy of the layers below, and what is marked goes.
Either way only what lies below is hidden, never what the same layer brings, in whatever order they stand.
With "none", for files into a container, such names are names.

Order within a file: owner, attributes (a change of owner drops file capabilities), mode (and set-user-id),
time.
"""

from __future__ import annotations

import os
import posix
import shutil
from errno import EEXIST, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTSUP, EPERM
from stat import S_IFBLK, S_IFCHR, S_IFIFO, S_ISCHR, S_ISDIR, S_ISLNK

from pyrunc.errors import INVALID, PyruncError
from pyrunc.image import tar
from pyrunc.kernel.const import O_PATH
from pyrunc.kernel.paths import clean, fd_path, make_directories, open_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.tar import Entry, Reader

_WHITEOUT = b".wh."
_AUFS = b".wh..wh."  # names of aufs' own; of them, one marks a directory as opaque
_OPAQUE = b".wh..wh..opq"
_CREATE = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
_FOLLOWED = O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
_DIRECTORY = _FOLLOWED | posix.O_NOFOLLOW
_MAXIMUM_OPEN = 512  # directories that are kept open
_MAXIMUM_ID = 0xFFFFFFFE
# Attributes that an image may set. Those of overlayfs itself would tell the kernel tales about other layers
_ATTRIBUTES = ("user.", "trusted.", "security.capability", "system.posix_acl_")
_NOT_THESE = ("user.overlay.", "trusted.overlay.")
_OVERLAY_OPAQUE = "trusted.overlay.opaque"


class Unpacked:
    """What came of it. `missing_links`: (target, name) of hard links into layers below; `implicit`:
    directories that only names of others told of; `opaque_root`: the layer hides all below it."""

    def __init__(self) -> None:
        self.bytes = 0
        self.entries = 0
        self.missing_links: list[tuple[bytes, bytes]] = []
        self.implicit: list[bytes] = []
        self.opaque_root = False


class Unpacker:
    """Of one layer. `limit_bytes` and `limit_entries` bound what it may hold."""

    def __init__(self, root: int, *, whiteouts: str, limit_bytes: int, limit_entries: int) -> None:
        self._root = root
        self._overlay, self._has_marks = whiteouts == "overlay", whiteouts != "none"
        self._limit_bytes, self._limit_entries = limit_bytes, limit_entries
        self.done = Unpacked()
        self._open: dict[bytes, int] = {b"": root}
        self._directories: dict[bytes, tuple[int, int]] = {}  # name -> mode, time: set when all is in them
        self._own: set[bytes] = set()  # "apply": what this layer brought
        self._hidden: set[bytes] = set()  # "overlay": whiteouts made so far
        self._implicit: set[bytes] = set()  # directories that no entry told of
        # what we make belongs to root by itself, but not below a set-group-id directory of another layer
        self._is_owned = posix.geteuid() == 0 and self._overlay

    def unpack(self, reader: Reader) -> Unpacked:
        """Raises PyruncError: INVALID for an image that is wrong, else what the system said."""
        try:
            for entry in reader:
                name = _cleaned(entry.name)
                try:
                    self._take(entry, name, reader)
                except OSError as error:
                    raise _explained(error, name) from error
                except ValueError as error:  # a NUL in a name
                    raise tar.wrong(str(error), os.fsdecode(name)) from error
            self._finish_directories()
        finally:
            self.close()
        return self.done

    # --- one entry ----------------------------------------------------------------------------------

    def _take(self, entry: Entry, name: bytes, reader: Reader) -> None:
        self._count(entry)
        if not name:
            self._take_root(entry)
            return
        if self._has_marks and name.startswith(_AUFS) and name != _OPAQUE:
            return  # aufs kept its books there
        if len(self._open) > _MAXIMUM_OPEN:
            self.close()
        parent_name, _, last = name.rpartition(b"/")
        if self._has_marks and last.startswith(_WHITEOUT):
            self._whiteout(parent_name, last)
            return
        parent = self._parent(parent_name)
        if not self._overlay:
            self._own.add(name)
        kind = entry.kind
        if kind == tar.REGULAR:
            self._file(entry, name, parent, last, reader)
        elif kind == tar.DIRECTORY:
            self._directory(entry, name, parent, last)
        elif kind == tar.LINK:
            self._link(entry, name, parent, last)
        else:
            self._special(entry, name, parent, last)

    def _count(self, entry: Entry) -> None:
        done = self.done
        done.entries += 1
        done.bytes += entry.size
        if done.entries > self._limit_entries:
            raise PyruncError(INVALID, "layer has too many entries", "", f"more than {self._limit_entries}")
        if entry.real_size > self._limit_bytes or done.bytes > self._limit_bytes:
            raise PyruncError(INVALID, "layer is too large", "", f"more than {self._limit_bytes} bytes")
        if entry.uid > _MAXIMUM_ID or entry.gid > _MAXIMUM_ID or entry.uid < 0 or entry.gid < 0:
            raise tar.wrong("an owner that no system has", os.fsdecode(entry.name))

    def _file(self, entry: Entry, name: bytes, parent: int, last: bytes, reader: Reader) -> None:
        mode = entry.mode
        try:
            fd = posix.open(last, _CREATE, mode, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, last, name)
            fd = posix.open(last, _CREATE, mode, dir_fd=parent)
        try:
            if entry.sparse is not None:
                _write_sparse(fd, entry, reader)
            elif entry.size:
                data = reader.small_data()
                if data is None:
                    reader.copy_data(lambda piece: _write_all(fd, piece))
                else:
                    _write_all(fd, data)
            if entry.uid or entry.gid or not self._is_owned:
                posix.chown(fd, entry.uid, entry.gid)
                if mode & 0o6000:
                    posix.chmod(fd, mode)
            elif mode & 0o2000:
                posix.chmod(fd, mode)
            if entry.xattrs:
                _set_attributes(fd, entry.xattrs)
            posix.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            posix.close(fd)

    def _directory(self, entry: Entry, name: bytes, parent: int, last: bytes) -> None:
        mode = entry.mode
        is_new, hides = True, False
        try:
            posix.mkdir(last, mode, dir_fd=parent)
        except FileExistsError:
            is_new = False
            found = posix.stat(last, dir_fd=parent, follow_symlinks=False)
            if not S_ISDIR(found.st_mode):
                hides = name in self._hidden and S_ISCHR(found.st_mode)
                self._clear(parent, last, name)
                posix.mkdir(last, mode, dir_fd=parent)
        self._directories[name] = mode, entry.mtime_ns
        if entry.uid or entry.gid or entry.xattrs or not is_new or not self._is_owned:
            fd = posix.open(last, _DIRECTORY, dir_fd=parent)
            try:
                posix.chown(fd_path(fd), entry.uid, entry.gid)
                _set_attributes(fd_path(fd), entry.xattrs or {})
                if hides:
                    posix.setxattr(fd_path(fd), _OVERLAY_OPAQUE, b"y")
            finally:
                posix.close(fd)

    def _take_root(self, entry: Entry) -> None:
        """The entry "./": the directory itself."""
        if entry.kind != tar.DIRECTORY:
            raise tar.wrong("the root is no directory")
        posix.chown(fd_path(self._root), entry.uid, entry.gid)
        _set_attributes(fd_path(self._root), entry.xattrs or {})
        self._directories[b""] = entry.mode, entry.mtime_ns

    def _link(self, entry: Entry, name: bytes, parent: int, last: bytes) -> None:
        target = _cleaned(entry.link)
        target_parent, _, target_last = target.rpartition(b"/")
        if not target_last:
            raise tar.wrong("a hard link to the root", os.fsdecode(name))
        if target == name:
            return
        try:
            source = self._existing(target_parent)
            posix.stat(target_last, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            if not self._overlay:
                raise
            self.done.missing_links.append((target, name))
            return
        try:
            posix.link(target_last, last, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            if _is_same(source, target_last, parent, last):
                return
            self._clear(parent, last, name)
            source = self._existing(target_parent)
            posix.link(target_last, last, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    def _special(self, entry: Entry, name: bytes, parent: int, last: bytes) -> None:
        """Symlinks, devices, fifos. A device in a directory of ours does nothing: nobody opens it there, and
        a container's devices are for its cgroup to allow."""
        for attempt in range(2):
            try:
                if entry.kind == tar.SYMLINK:
                    posix.symlink(entry.link, last, dir_fd=parent)
                elif entry.kind == tar.FIFO:
                    posix.mknod(last, S_IFIFO | entry.mode, dir_fd=parent)
                else:
                    kind = S_IFCHR if entry.kind == tar.CHARACTER else S_IFBLK
                    device = posix.makedev(entry.major, entry.minor)
                    posix.mknod(last, kind | entry.mode, device, dir_fd=parent)
                break
            except FileExistsError:
                if attempt:
                    raise
                self._clear(parent, last, name)
        posix.chown(last, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.xattrs:
            place = f"{fd_path(parent)}/".encode() + last
            _set_attributes(place, entry.xattrs, follow=False)
        if entry.kind != tar.SYMLINK and entry.mode & 0o6000:
            _change_mode(parent, last, entry.mode)
        posix.utime(last, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    # --- whiteouts ----------------------------------------------------------------------------------

    def _whiteout(self, parent_name: bytes, last: bytes) -> None:
        if last == _OPAQUE:
            self._opaque(parent_name)
            return
        if last.startswith(_AUFS):
            return
        victim = last[len(_WHITEOUT) :]
        if victim in (b"", b".", b".."):
            raise tar.wrong("a whiteout of nothing", os.fsdecode(parent_name + b"/" + last))
        name = parent_name + b"/" + victim if parent_name else victim
        parent = self._parent(parent_name)
        if self._overlay:
            self._hide(parent, victim, name)
        elif name not in self._own:
            self._remove_lower(parent, victim, name)

    def _hide(self, parent: int, victim: bytes, name: bytes) -> None:
        try:
            posix.mknod(victim, S_IFCHR, 0, dir_fd=parent)
            self._hidden.add(name)
        except FileExistsError:
            found = posix.stat(victim, dir_fd=parent, follow_symlinks=False)
            if S_ISDIR(found.st_mode):  # ours; what was there below must not show through
                self._mark_opaque(parent, victim)

    def _mark_opaque(self, parent: int, name: bytes) -> None:
        fd = posix.open(name, _DIRECTORY, dir_fd=parent)
        try:
            posix.setxattr(fd_path(fd), _OVERLAY_OPAQUE, b"y")
        finally:
            posix.close(fd)

    def _opaque(self, parent_name: bytes) -> None:
        if not parent_name:
            self.done.opaque_root = True
        parent = self._parent(parent_name)
        if not self._overlay:
            for child in posix.listdir(fd_path(parent)):
                last = os.fsencode(child)
                self._remove_lower(parent, last, parent_name + b"/" + last if parent_name else last)
        elif parent_name:
            posix.setxattr(fd_path(parent), _OVERLAY_OPAQUE, b"y")

    def _remove_lower(self, parent: int, last: bytes, name: bytes) -> None:
        """Of the copy of the layers below; what this layer brought stays."""
        if name in self._own:
            return
        prefix = name + b"/"
        if any(own.startswith(prefix) for own in self._own):
            fd = posix.open(last, _DIRECTORY, dir_fd=parent)
            try:
                for child in posix.listdir(fd_path(fd)):
                    self._remove_lower(fd, os.fsencode(child), prefix + os.fsencode(child))
            finally:
                posix.close(fd)
            return
        try:
            self._clear(parent, last, name)
        except FileNotFoundError:
            pass  # a whiteout of what isn't there is no error

    # --- names --------------------------------------------------------------------------------------

    def _parent(self, name: bytes) -> int:
        """The directory `name`, opened inside the root; what is missing is made."""
        fd = self._open.get(name)
        if fd is None:
            try:
                fd = open_inside(self._root, os.fsdecode(name), _FOLLOWED)
            except FileNotFoundError:
                parts = name.split(b"/")
                self._implicit.update(b"/".join(parts[: count + 1]) for count in range(len(parts)))
                fd = make_directories(self._root, os.fsdecode(name))
            self._open[name] = fd
        return fd

    def _existing(self, name: bytes) -> int:
        fd = self._open.get(name)
        if fd is None:
            fd = self._open[name] = open_inside(self._root, os.fsdecode(name), _FOLLOWED)
        return fd

    def close(self) -> None:
        """All directories but the root, which is the caller's."""
        for name in [name for name in self._open if name]:
            posix.close(self._open.pop(name))

    def _clear(self, parent: int, last: bytes, name: bytes) -> None:
        """Take away what is in the way of an entry. Descriptors of directories may be stale after that."""
        try:
            posix.unlink(last, dir_fd=parent)
        except IsADirectoryError:
            shutil.rmtree(last, dir_fd=parent)
            prefix = name + b"/"
            for gone in [own for own in self._directories if own == name or own.startswith(prefix)]:
                del self._directories[gone]
        for stale in [known for known in self._open if known and self._open[known] != parent]:
            posix.close(self._open.pop(stale))
        self._hidden.discard(name)

    def _finish_directories(self) -> None:
        """Modes and times, the deepest first: a mode may forbid to enter, and what is made inside changes a
        time. One that isn't there any more was hidden behind a symlink that has gone."""
        for name in sorted(self._directories, reverse=True):
            mode, mtime_ns = self._directories[name]
            try:
                fd = open_inside(self._root, os.fsdecode(name) or ".", _DIRECTORY)
            except OSError as error:
                if error.errno in (ENOENT, ENOTDIR, ELOOP):
                    continue
                raise _explained(error, name) from error
            try:
                place = fd_path(fd)
                posix.chmod(place, mode)
                posix.utime(place, ns=(mtime_ns, mtime_ns))
            finally:
                posix.close(fd)
        self.done.implicit = sorted(self._implicit - self._directories.keys())


def _cleaned(name: bytes) -> bytes:
    """The name without a leading slash, `.` and `..`, which at the root means the root; "" for the root
    itself."""
    if name.startswith(b"./"):
        name = name[2:]
    if name.endswith(b"/"):
        name = name[:-1]
    if (
        b"//" in name
        or b"./" in name
        or name.startswith((b"/", b"."))
        or name.endswith((b"/", b"/.", b"/.."))
    ):
        return os.fsencode(clean(os.fsdecode(name)))[1:]
    return name


def _is_same(source: int, one: bytes, parent: int, other: bytes) -> bool:
    first = posix.stat(one, dir_fd=source, follow_symlinks=False)
    second = posix.stat(other, dir_fd=parent, follow_symlinks=False)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _change_mode(parent: int, last: bytes, mode: int) -> None:
    """chmod(2) would follow a symlink, should somebody have put one there meanwhile."""
    fd = posix.open(last, O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=parent)
    try:
        if not S_ISLNK(posix.fstat(fd).st_mode):
            posix.chmod(fd_path(fd), mode)
    finally:
        posix.close(fd)


def _write_all(fd: int, data: memoryview) -> None:
    written = posix.write(fd, data)
    while written < len(data):
        written += posix.write(fd, data[written:])


def _write_sparse(fd: int, entry: Entry, reader: Reader) -> None:
    """The pieces where they belong; between them stay holes."""
    for offset, length in entry.sparse or ():
        posix.lseek(fd, offset, os.SEEK_SET)
        reader.copy_data(lambda piece: _write_all(fd, piece), length)
    posix.ftruncate(fd, entry.real_size)


def _set_attributes(place: int | str | bytes, attributes: dict[str, bytes], *, follow: bool = True) -> None:
    """Where the file system or our rights don't allow one it is left out, as other engines do."""
    for name, value in attributes.items():
        if not name.startswith(_ATTRIBUTES) or name.startswith(_NOT_THESE):
            continue
        try:
            if isinstance(place, int):
                posix.setxattr(place, name, value)
            else:
                posix.setxattr(place, name, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in (ENOTSUP, EPERM):
                raise


def _explained(error: OSError, name: bytes) -> PyruncError:
    """What an image can be guilty of is INVALID, the rest is the system's."""
    if error.errno in (EEXIST, EINVAL, ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP):
        why = os.strerror(error.errno).lower()
        return PyruncError(INVALID, "invalid layer", f"/{os.fsdecode(name)[:300]}", why)
    return PyruncError.from_errno(error.errno or 0, "unpack layer", f"/{os.fsdecode(name)[:300]}")

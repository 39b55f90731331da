"""What a snapshot driver is, and what both share: names on disk, and how a layer comes to be.

    committed/HEX/{fs,meta.json}        a layer; HEX is that of its chain id
    active/KEY/{fs,work,meta.json}      a container's
    active/.KEY.…                       one that is being made, or removed
    making/HEX/…, making/HEX.lock       a layer that is being unpacked

A layer is made aside and renamed: whoever sees `committed/HEX` sees all of it. The lock says that its maker
lives; without it, what is there is rubbish, and the next maker or collector takes it away.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from contextlib import contextmanager
from stat import S_ISDIR, S_ISREG

from pyrunc import jsonio
from pyrunc.errors import CONFLICT, INTERNAL, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.files import read_whole, write_atomically
from pyrunc.image.locks import lock_file, locked, try_lock
from pyrunc.kernel import syscall
from pyrunc.kernel.const import MNT_DETACH
from pyrunc.oci.digest import hex_of
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Mounts(Record):
    """What to mount. `type` is overlay or bind; `lower` has the topmost layer first; a bind mount shows
    `upper`."""

    type: str
    upper: str
    work: str = ""
    lower: tuple[str, ...] = ()


class Usage(Record):
    """Of the directory itself, without what lies below it: bytes in regular files, and inodes."""

    bytes: int
    inodes: int


class Making:
    """A layer that is being unpacked into `path`."""

    def __init__(self, path: str, name: str, parent: str) -> None:
        self.path, self.name, self.parent = path, name, parent


class Snapshots:
    """Keys and names are checked here; a driver says how a directory is filled and mounted."""

    driver = ""
    needs_parent = False  # whether a layer is unpacked onto a copy of those below it

    def __init__(self, root: str, lock: str) -> None:
        """`lock`: the file that a collector of unreachable layers holds exclusively."""
        self.root, self._lock = root, lock
        for name in ("committed", "active", "making"):
            os.makedirs(f"{root}/{name}", exist_ok=True)
        os.chmod(root, 0o700)  # users of the host must not reach an image's set-user-id programs

    # --- layers -------------------------------------------------------------------------------------

    def committed_path(self, name: str) -> str:
        return f"{self.root}/committed/{hex_of(name)}"

    def has(self, name: str) -> bool:
        return os.path.exists(self.committed_path(name))

    def committed(self) -> tuple[str, ...]:
        """The chain ids of all layers that are unpacked."""
        return tuple(f"sha256:{name}" for name in os.listdir(f"{self.root}/committed"))

    @contextmanager
    def making(self, name: str, parent: str) -> Iterator[Making | None]:
        """Unpack a layer: one maker at a time. Gives None where it is there already. What isn't committed
        when this is over is removed."""
        place = f"{self.root}/making/{hex_of(name)}"
        fd = lock_file(f"{place}.lock")
        try:
            if self.has(name):
                yield None
                return
            _wait_for_orphan(f"{place}/fs")
            remove_tree(place)
            with doing("make layer directory", place):
                os.makedirs(f"{place}/fs", mode=0o755)
            self._fill(f"{place}/fs", parent)
            try:
                yield Making(f"{place}/fs", name, parent)
            finally:
                remove_tree(place)
        finally:
            os.close(fd)

    def finish(self, making: Making, usage: Usage, *, opaque: bool = False) -> None:
        """The layer is complete: it gets its name. `opaque`: nothing of the layers below shows through,
        which an overlay has no mark for at its root."""
        place = making.path.removesuffix("/fs")
        meta = {"parent": making.parent, "bytes": usage.bytes, "inodes": usage.inodes, "opaque": opaque}
        _write_meta(place, meta)
        with doing("commit layer", place):
            os.rename(place, self.committed_path(making.name))

    def remove_layer(self, name: str) -> None:
        """Only under the exclusive lock. Out of sight first, so that a crash in between leaves no half layer
        with a name."""
        place = f"{self.root}/making/{hex_of(name)}"
        remove_tree(place)
        with doing("remove layer", name):
            os.rename(self.committed_path(name), place)
        remove_tree(place)

    def clean(self) -> None:
        """Remove what dead makers left."""
        for entry in os.listdir(f"{self.root}/making"):
            if not entry.endswith(".lock"):
                continue
            path = f"{self.root}/making/{entry}"
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if try_lock(fd):
                    _wait_for_orphan(f"{path.removesuffix('.lock')}/fs")
                    remove_tree(path.removesuffix(".lock"))
                    os.unlink(path)
            finally:
                os.close(fd)

    def layers_of(self, name: str) -> tuple[str, ...]:
        """The directories of a committed snapshot, topmost first. Raises INTERNAL where one is missing."""
        found = []
        while name:
            place = self.committed_path(name)
            meta = _read_meta(place, f"layer {name}")
            found.append(f"{place}/fs")
            name = "" if meta.get("opaque") else str(meta["parent"])
        return tuple(found)

    def chain_of(self, name: str) -> tuple[str, ...]:
        """A committed snapshot and all that it stands on, topmost first; where one is missing it ends."""
        found = []
        while name and self.has(name):
            found.append(name)
            name = str(_read_meta(self.committed_path(name), f"layer {name}")["parent"])
        return tuple(found)

    def layer_usage(self, name: str) -> Usage:
        """As it was when the layer was made. Raises INTERNAL."""
        meta = _read_meta(self.committed_path(name), f"layer {name}")
        return Usage(bytes=int(str(meta["bytes"])), inodes=int(str(meta["inodes"])))

    # --- active snapshots ---------------------------------------------------------------------------

    def active_path(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise PyruncError(INVALID, "invalid snapshot key", key[:300])
        return f"{self.root}/active/{key}"

    def active(self) -> tuple[str, ...]:
        """All keys."""
        return tuple(sorted(name for name in os.listdir(f"{self.root}/active") if not name.startswith(".")))

    def parent_of(self, key: str) -> str:
        """The chain id that an active snapshot stands on; "" for none. Raises NOT_FOUND."""
        place = self.active_path(key)
        if not os.path.exists(place):
            raise PyruncError(NOT_FOUND, "no such snapshot", key)
        return str(_read_meta(place, f"snapshot {key}")["parent"])

    def prepare(self, key: str, parent: str = "") -> None:
        """A new writable snapshot on the committed one `parent`. Raises CONFLICT where the key is taken,
        NOT_FOUND where `parent` isn't there. From then on it keeps `parent`."""
        with locked(self._lock, exclusive=False):
            self._prepare(key, parent)

    def _prepare(self, key: str, parent: str) -> None:
        place = self.active_path(key)
        if os.path.exists(place):
            raise PyruncError(CONFLICT, "snapshot exists", key)
        if parent and not self.has(parent):
            raise PyruncError(NOT_FOUND, "no such snapshot", parent)
        aside = f"{self.root}/active/.{key}.{secrets.token_hex(8)}"
        try:
            with doing("prepare snapshot", key):
                for name in ("fs", "work"):
                    os.makedirs(f"{aside}/{name}", mode=0o755)
                self._fill(f"{aside}/fs", parent)
                self._take_root(f"{aside}/fs", parent)
                _write_meta(aside, {"parent": parent})
                os.rename(aside, place)
        except BaseException:
            remove_tree(aside)
            raise

    def _take_root(self, path: str, parent: str) -> None:
        """The root directory of a container has the owner and mode that the image gives it: an overlay shows
        those of its upper directory."""
        if parent:
            found = os.stat(self.layers_of(parent)[0])
            os.chown(path, found.st_uid, found.st_gid)
            os.chmod(path, found.st_mode & 0o7777)

    def mounts(self, key: str) -> Mounts:
        """Raises NOT_FOUND."""
        raise NotImplementedError

    def mount(self, key: str, target: str) -> None:
        """Mount the snapshot on the directory `target`. Raises PyruncError."""
        raise NotImplementedError

    def unmount(self, target: str) -> None:
        """What is mounted on `target`; nothing is no error. A busy one goes as soon as nobody uses it."""
        try:
            syscall.umount2(target, MNT_DETACH)
        except OSError as error:
            if error.errno not in (22, 2):  # EINVAL: no mount point, ENOENT
                raise PyruncError.from_errno(error.errno or 0, "unmount snapshot", target) from error

    def commit(self, key: str, name: str) -> None:
        """The active snapshot becomes the layer `name`: it must not be mounted any more. An active one of the
        same content that is committed twice is removed the second time. Raises NOT_FOUND."""
        place, parent = self.active_path(key), self.parent_of(key)
        usage = self.usage(key)
        with self.making(name, parent) as making:
            if making is not None:
                remove_tree(making.path)
                os.rename(f"{place}/fs", making.path)
                self.finish(making, usage)
        self.remove(key)

    def remove(self, key: str) -> None:
        """Nothing is no error: so what was interrupted can be asked for again."""
        place = self.active_path(key)
        gone = f"{self.root}/active/.{key}.gone"
        with doing("remove snapshot", key):
            remove_tree(gone)
            try:
                os.rename(place, gone)
            except FileNotFoundError:
                return
            remove_tree(gone)

    def cut_off(self) -> tuple[str, ...]:
        """Keys of which something lies aside: whoever was making or removing it was killed, or is still at
        it."""
        aside = (name for name in os.listdir(f"{self.root}/active") if name.startswith("."))
        return tuple(sorted({name[1:].rpartition(".")[0] for name in aside}))

    def clear(self, key: str) -> None:
        """Remove what lies aside. Only while nobody makes or removes it."""
        for name in os.listdir(f"{self.root}/active"):
            if name[1:].rpartition(".")[0] == key and name.startswith("."):
                remove_tree(f"{self.root}/active/{name}")

    def usage(self, key: str) -> Usage:
        """What the container has written. Raises NOT_FOUND."""
        if not os.path.exists(self.active_path(key)):
            raise PyruncError(NOT_FOUND, "no such snapshot", key)
        return count(f"{self.active_path(key)}/fs")

    def upper(self, key: str) -> str:
        """The directory with what was written (overlay) or everything (plain)."""
        return f"{self.active_path(key)}/fs"

    def _fill(self, path: str, parent: str) -> None:
        """Before a layer is unpacked into `path`, or a container writes to it."""


def _wait_for_orphan(path: str) -> None:
    """A worker whose employer was killed holds a lock on the directory until it has noticed."""
    try:
        fd = os.open(path, DIRECTORY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    finally:
        os.close(fd)


def _write_meta(place: str, meta: dict[str, object]) -> None:
    write_atomically(f"{place}/meta.json", jsonio.dumps(meta).encode())


def _read_meta(place: str, what: str) -> dict[str, object]:
    try:
        value = jsonio.loads(read_whole(f"{place}/meta.json"), f"{place}/meta.json")
    except OSError as error:
        raise PyruncError(INTERNAL, "snapshot is damaged", what, str(error)) from error
    if not isinstance(value, dict):
        raise PyruncError(INTERNAL, "snapshot is damaged", what)
    return value


def count(path: str) -> Usage:
    """What a directory holds, a file with several names once."""
    total = inodes = 0
    seen: set[tuple[int, int]] = set()
    pending = [path]
    while pending:
        directory = pending.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # a running container removes files
                    continue
                if found.st_nlink > 1 and not S_ISDIR(found.st_mode):
                    if (found.st_dev, found.st_ino) in seen:
                        continue
                    seen.add((found.st_dev, found.st_ino))
                inodes += 1
                if S_ISREG(found.st_mode):
                    total += found.st_size
                elif S_ISDIR(found.st_mode):
                    pending.append(entry.path)
    return Usage(bytes=total, inodes=inodes)


def remove_tree(path: str) -> None:
    """rmtree, which never follows a symlink; what isn't there is no error. Raises PyruncError."""
    with doing("remove directory"):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if os.path.lexists(path):
                shutil.rmtree(path)

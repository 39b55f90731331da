"""`docker cp`, `export`, `diff` and `commit`: a container's files from outside.

Names are looked up inside the container's root, by the kernel (openat2): the container's symlinks lead
nowhere else, however they are changed meanwhile. Of one that runs the root is the one that its processes
see, with its volumes; one that doesn't is mounted for the moment, and a path into a volume is looked up in
the volume.
"""

from __future__ import annotations

import os
import posix
from contextlib import ExitStack, contextmanager
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISGID, S_ISLNK, S_ISSOCK, S_ISUID, S_ISVTX

from pyrunc.engine.model import TMPFS
from pyrunc.errors import CONFLICT, DENIED, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.image.changes import changes
from pyrunc.image.commit import commit
from pyrunc.image.compression import decompressed
from pyrunc.image.layer import Unpacker
from pyrunc.image.options import CommitOptions
from pyrunc.image.tar import DIRECTORY, Reader
from pyrunc.image.tarwrite import Writer
from pyrunc.kernel.paths import open_inside, open_link_itself
from pyrunc.oci.state import format_time
from pyrunc.record import Record
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pyrunc.engine.containers import Containers
    from pyrunc.engine.layout import Layout
    from pyrunc.engine.locks import Locks
    from pyrunc.engine.model import Container, MountPoint
    from pyrunc.image.images import Image
    from pyrunc.image.options import Change
    from pyrunc.image.store import Store
    from pyrunc.image.tar import Entry

_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_LIMIT_BYTES, _LIMIT_ENTRIES = 1 << 50, 1 << 40  # the container's own disk is the bound

_MOUNTPOINTS = ("/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf")

# Go's os.FileMode: what is of a kind -> bit
_GO_KINDS: tuple[tuple[Callable[[int], bool], int], ...] = (
    (S_ISDIR, 1 << 31),
    (S_ISLNK, 1 << 27),
    (S_ISBLK, 1 << 26),
    (S_ISCHR, 1 << 26 | 1 << 21),
    (S_ISFIFO, 1 << 25),
    (S_ISSOCK, 1 << 24),
)
_GO_BITS = ((S_ISUID, 1 << 23), (S_ISGID, 1 << 22), (S_ISVTX, 1 << 20))


class PathStat(Record):
    """`mode`: as Go's FileMode has it; `modified`: RFC 3339."""

    name: str
    size: int
    mode: int
    modified: str
    link: str = ""


def go_mode(mode: int) -> int:
    made = mode & 0o777
    made |= next((bit for is_kind, bit in _GO_KINDS if is_kind(mode)), 0)
    return made | sum(bit for flag, bit in _GO_BITS if mode & flag)


class Archive:
    def __init__(self, layout: Layout, store: Store, locks: Locks, containers: Containers) -> None:
        self._layout, self._store, self._locks, self._containers = layout, store, locks, containers

    @contextmanager
    def _root(self, container: Container) -> Iterator[int]:
        """A descriptor of its root directory."""
        state = self._containers.state(container)
        with ExitStack() as held:
            if state.pid:
                path = f"/proc/{state.pid}/root"
            else:
                held.enter_context(self._locks.holding(container.id))
                path = self._layout.rootfs(container.id)
                os.makedirs(path, 0o755, exist_ok=True)
                if not os.path.ismount(path):
                    held.callback(self._store.snapshots.unmount, path)
                    self._store.snapshots.mount(container.id, path)
            with doing("open the container's root", path):
                root = posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            held.callback(posix.close, root)
            if state.pid and self._containers.state(container).pid != state.pid:  # another's by now, perhaps
                raise PyruncError(CONFLICT, f"container {container.name} has ended meanwhile")
            yield root

    @contextmanager
    def _place(self, container: Container, path: str) -> Iterator[tuple[int, str]]:
        """(root, path in it): of one that doesn't run, a volume's directory for what lies in the volume."""
        cleaned = _clean(path)
        if not self._containers.state(container).pid:
            for mount in sorted(container.mounts, key=lambda mount: -len(mount.destination)):
                below = cleaned.removeprefix(mount.destination)
                if below != cleaned and below[:1] in ("", "/") and mount.type != TMPFS:
                    root = _open_mounted(mount)
                    try:
                        yield root, below or "/"
                    finally:
                        posix.close(root)
                    return
        with self._root(container) as root:
            yield root, cleaned

    # --- cp ---------------------------------------------------------------------------------------

    def stat(self, text: str, path: str) -> PathStat:
        """Of `path` itself, if it is a link. Raises PyruncError NOT_FOUND."""
        container = self._containers.find(text)
        with self._place(container, path) as (root, inside):
            fd = self._open(root, inside, container, path)
            try:
                return _stat_of(fd, path)
            finally:
                posix.close(fd)

    def _open(self, root: int, inside: str, container: Container, path: str) -> int:
        try:
            return open_link_itself(root, inside)
        except OSError as error:
            raise PyruncError(
                NOT_FOUND,
                f"Could not find the file {path} in container {container.name}",
                "",
                "" if isinstance(error, FileNotFoundError) else str(error.strerror),
            ) from None

    def read(self, text: str, path: str, sink: Callable[[bytes], object]) -> None:
        """As a tar, whose first entry has the last name of `path`. Raises PyruncError NOT_FOUND."""
        container = self._containers.find(text)
        with self._place(container, path) as (root, inside):
            fd = self._open(root, inside, container, path)
            posix.close(fd)
            writer = Writer(sink)
            parent_path, _, last = inside.rstrip("/").rpartition("/")
            base = os.fsencode(_base(path))
            parent = open_inside(
                root, parent_path or "/", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
            )
            try:
                with doing("read", path):
                    _add(writer, parent, os.fsencode(last or "."), base)
                    writer.finish()
            finally:
                posix.close(parent)

    def write(self, text: str, path: str, source: Callable[[int], bytes], *, keeps_kinds: bool) -> None:
        """Unpack a tar into the directory `path`. `keeps_kinds`: a directory is not replaced by a file, nor
        the other way round. Raises PyruncError NOT_FOUND, INVALID; DENIED where the container's root is
        read-only."""
        container = self._containers.find(text)
        if container.host["ReadonlyRootfs"] and not self._is_in_volume(container, path):
            raise PyruncError(DENIED, "container rootfs is marked read-only")
        with self._place(container, path) as (root, inside):
            try:
                target = open_inside(root, inside, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
            except NotADirectoryError:
                raise PyruncError(INVALID, f"extraction point is not a directory: {path}") from None
            except OSError:
                what = f"Could not find the file {path} in container {container.name}"
                raise PyruncError(NOT_FOUND, what) from None
            try:
                reader: Any = Reader(decompressed(source))
                if keeps_kinds:
                    reader = _KeepingKinds(reader, target)
                unpacker = Unpacker(
                    target, whiteouts="none", limit_bytes=_LIMIT_BYTES, limit_entries=_LIMIT_ENTRIES
                )
                unpacker.unpack(reader)
            finally:
                posix.close(target)

    def _is_in_volume(self, container: Container, path: str) -> bool:
        cleaned = _clean(path)
        return any(
            cleaned == mount.destination or cleaned.startswith(f"{mount.destination}/")
            for mount in container.mounts
            if mount.writable
        )

    # --- the whole ----------------------------------------------------------------------------------

    def export(self, text: str, sink: Callable[[bytes], object]) -> None:
        container = self._containers.find(text)
        self._containers.publish(container, "export")
        with self._locks.holding(container.id), ExitStack() as held:
            path = self._layout.rootfs(container.id)
            os.makedirs(path, 0o755, exist_ok=True)
            if not os.path.ismount(path):
                held.callback(self._store.snapshots.unmount, path)
                self._store.snapshots.mount(container.id, path)
            root = posix.open(path, _DIRECTORY)
            held.callback(posix.close, root)
            writer = Writer(sink)
            with doing("export", path):
                for name in sorted(map(os.fsencode, posix.listdir(root))):
                    _add(writer, root, name, name)
                writer.finish()

    def changes(self, text: str) -> tuple[Change, ...]:
        """Without the mountpoints that the runtime has made for what a container gets anyway."""
        container = self._containers.find(text)
        ours = {*_MOUNTPOINTS, *(mount.destination for mount in container.mounts)}
        found = changes(self._store, container.id)
        hidden = _made_for(found, ours)
        return tuple(change for change in found if change.path not in hidden)

    def commit(
        self,
        text: str,
        *,
        reference: str,
        comment: str,
        author: str,
        instructions: tuple[str, ...],
        config: dict[str, Any],
        pauses: bool,
    ) -> Image:
        """`config`: settings that take the place of the container's. Raises PyruncError."""
        container = self._containers.find(text)
        directory = self._layout.container(container.id)
        settings = {
            **_image_settings(container.config),
            **{key: value for key, value in config.items() if value},
        }
        options = CommitOptions(
            image_id=container.image_id,
            config=settings,
            container=container.id,
            reference=reference,
            author=author,
            comment=comment,
            changes=instructions,
        )
        with ExitStack() as held:
            if pauses and self._containers.state(container).status == "running":
                protocol.call(directory, "pause")
                held.callback(protocol.call, directory, "resume")
            hidden = _made_for(changes(self._store, container.id), {*_MOUNTPOINTS})
            made = commit(self._store, container.id, options, hidden)
        self._containers.publish(container, "commit", comment=comment, imageID=made.id, imageRef=reference)
        return made


def _open_mounted(mount: MountPoint) -> int:
    """The directory that it shows. Raises OSError."""
    root = posix.open(mount.source, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    if not mount.subpath:
        return root
    try:
        return open_inside(root, mount.subpath, posix.O_PATH | posix.O_DIRECTORY)
    finally:
        posix.close(root)


def _made_for(found: Iterable[Change], mountpoints: set[str]) -> frozenset[str]:
    """Names that are there for the mounts alone; /etc with them, if nothing else was changed there."""
    hidden: set[str] = {"/etc"}
    shown: set[str] = set()
    for path in (change.path for change in found):
        is_ours = path in mountpoints or path.startswith(("/dev/", "/proc/", "/sys/"))
        (hidden if is_ours else shown).add(path)
    if any(path.startswith("/etc/") for path in shown):
        hidden.discard("/etc")
    return frozenset(hidden)


_SETTINGS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
    "Healthcheck", "Shell", "OnBuild",
)  # fmt: skip


def _image_settings(config: dict[str, Any]) -> dict[str, object]:
    return {key: config[key] for key in _SETTINGS if config.get(key)}


class _KeepingKinds:
    """A tar reader that refuses to put a file where a directory is, or a directory where a file is."""

    def __init__(self, reader: Any, target: int) -> None:
        self._reader, self._target = reader, target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._reader:
            self._require_same_kind(entry)
            yield entry

    def _require_same_kind(self, entry: Entry) -> None:
        name = os.fsdecode(entry.name)
        try:
            fd = open_link_itself(self._target, name)
        except (OSError, ValueError):
            return
        try:
            is_directory = S_ISDIR(posix.fstat(fd).st_mode)
        finally:
            posix.close(fd)
        if is_directory != (entry.kind == DIRECTORY):
            words = ("non-directory", "directory") if is_directory else ("directory", "non-directory")
            raise PyruncError(CONFLICT, f"cannot overwrite {words[1]} with {words[0]}", name)


def _clean(path: str) -> str:
    """From the root, without `.`; `..` stays at the root, as in it."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part and part != ".":
            kept.append(part)
    return "/" + "/".join(kept)


def _base(path: str) -> str:
    """What the first entry of an archive is called: `.` for a path that ends in it."""
    if path.rstrip("/").endswith("/.") or path.strip("/") in ("", "."):
        return "."
    return _clean(path).rpartition("/")[2]


def _stat_of(fd: int, path: str) -> PathStat:
    found = posix.fstat(fd)
    link = posix.readlink("", dir_fd=fd) if S_ISLNK(found.st_mode) else ""
    return PathStat(
        name=_clean(path).rpartition("/")[2] or "/",
        size=found.st_size,
        mode=go_mode(found.st_mode),
        modified=format_time(found.st_mtime_ns),
        link=link,
    )


def _add(writer: Writer, parent: int, last: bytes, name: bytes) -> None:
    """One, and all below it. What goes away meanwhile is left out."""
    try:
        found = posix.stat(last, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if S_ISSOCK(found.st_mode):
        return
    writer.add(parent, last, name, found)
    if not S_ISDIR(found.st_mode):
        return
    directory = posix.open(last, _DIRECTORY, dir_fd=parent)
    try:
        for inner in sorted(map(os.fsencode, posix.listdir(directory))):
            _add(writer, directory, inner, name + b"/" + inner)
    finally:
        posix.close(directory)

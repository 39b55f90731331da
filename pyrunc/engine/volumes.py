"""Volumes: directories with a name, which outlive containers. Only the local driver."""

from __future__ import annotations

import os
import secrets
import shutil
import time

from pyrunc.engine.binds import require_volume_name
from pyrunc.engine.model import ANONYMOUS_LABEL, Volume, container_from, to_document, volume_from
from pyrunc.errors import CONFLICT, NOT_FOUND, UNSUPPORTED, PyruncError, doing
from pyrunc.kernel import syscall
from pyrunc.kernel.const import MNT_DETACH
from pyrunc.kernel.paths import open_inside
from pyrunc.kernel.trees import copy_tree
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.db import Database
    from pyrunc.engine.events import Bus
    from pyrunc.engine.layout import Layout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# mount(2) options of --opt o=: name -> flag
_FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "bind": 4096, "rw": 0, "defaults": 0}


class VolumeUsage(Record):
    volume: Volume
    size_bytes: int
    references: int


class Volumes:
    def __init__(self, layout: Layout, database: Database, bus: Bus) -> None:
        self._layout, self._database, self._bus = layout, database, bus
        os.makedirs(layout.volumes, 0o711, exist_ok=True)

    def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
    ) -> Volume:
        """The volume of that name, made if it isn't there; an anonymous one without a name. Raises
        PyruncError INVALID for what is no name, CONFLICT for one with other options, NOT_FOUND for a driver
        that is not local."""
        if driver not in ("", "local", "default"):
            raise PyruncError(
                NOT_FOUND, f"create {name}: error looking up volume plugin {driver}: plugin not found"
            )
        if name:
            require_volume_name(name)
        _require_options(options or {})
        volume = Volume(
            name=name or secrets.token_hex(32),
            created_ns=time.time_ns(),
            labels=(labels or {}) if name else {**(labels or {}), ANONYMOUS_LABEL: ""},
            options=options or {},
        )
        with self._database.transaction():
            there = self._database.row("volumes", name=volume.name)
            if there is None:
                os.makedirs(self._layout.volume(volume.name), 0o755, exist_ok=True)
                self._database.insert("volumes", to_document(volume), name=volume.name)
        if there is not None:
            found = volume_from(there)
            if options and found.options != options:
                raise PyruncError(CONFLICT, f"a volume named {name} exists already with other options")
            return found
        self._bus.publish("volume", "create", volume.name, driver="local")
        return volume

    def get(self, name: str) -> Volume:
        """Raises PyruncError NOT_FOUND."""
        row = self._database.row("volumes", name=name)
        if row is None:
            raise PyruncError(NOT_FOUND, f"get {name}: no such volume")
        return volume_from(row)

    def all(self) -> list[Volume]:
        volumes = [volume_from(row) for row in self._database.rows("volumes")]
        return sorted(volumes, key=lambda volume: volume.name)

    def users(self, name: str) -> list[str]:
        """Ids of containers that have it."""
        return [
            container.id
            for container in map(container_from, self._database.rows("containers"))
            if any(mount.name == name for mount in container.mounts)
        ]

    def remove(self, name: str, *, force: bool = False, of: str = "") -> None:
        """Raises PyruncError NOT_FOUND (not with `force`), or CONFLICT while a container has it, but for the
        one that it is `of`."""
        with self._database.transaction():
            if self._database.row("volumes", name=name) is None:
                if force:
                    return
                raise PyruncError(NOT_FOUND, f"get {name}: no such volume")
            users = [id for id in self.users(name) if id != of]
            if users:
                raise PyruncError(CONFLICT, f"remove {name}: volume is in use - [{', '.join(users)}]")
            # out of sight before it is unlinked file by file: a crash leaves what the next removal takes
            self._database.delete("volumes", name=name)
        self._unmount(name)
        self._remove_files(name)
        self._bus.publish("volume", "destroy", name, driver="local")

    def _remove_files(self, name: str) -> None:
        with doing("remove volume", name):
            shutil.rmtree(os.path.dirname(self._layout.volume(name)), ignore_errors=False)

    def clean(self) -> None:
        """Directories without a record: of removals that were cut off."""
        known = {volume.name for volume in self.all()}
        for name in os.listdir(self._layout.volumes):
            if name not in known:
                self._unmount(name)
                self._remove_files(name)

    def prune(self, *, everything: bool, wanted: Any) -> tuple[list[str], int]:
        """Names, and bytes, of what no container has and `wanted(volume)` chooses: anonymous ones, or
        `everything`."""
        removed: list[str] = []
        reclaimed = 0
        for volume in self.all():
            if not (everything or volume.is_anonymous) or not wanted(volume) or self.users(volume.name):
                continue
            size = self.size_of(volume)
            try:
                self.remove(volume.name)
            except PyruncError as error:
                if error.kind not in (CONFLICT, NOT_FOUND):  # somebody was quicker
                    raise
                continue
            removed.append(volume.name)
            reclaimed += size
        self._bus.publish("volume", "prune", "", reclaimed=str(reclaimed))
        return removed, reclaimed

    def size_of(self, volume: Volume) -> int:
        """Bytes on disk, files with several names once."""
        seen: set[int] = set()
        total = 0
        for directory, _, names in os.walk(self._layout.volume(volume.name)):
            for name in names:
                try:
                    found = os.lstat(f"{directory}/{name}")
                except FileNotFoundError:
                    continue
                if found.st_ino not in seen:
                    seen.add(found.st_ino)
                    total += found.st_size
        return total

    def usage(self) -> list[VolumeUsage]:
        return [
            VolumeUsage(
                volume=volume, size_bytes=self.size_of(volume), references=len(self.users(volume.name))
            )
            for volume in self.all()
        ]

    def mountpoint(self, name: str) -> str:
        return self._layout.volume(name)

    def prepare(self, name: str) -> str:
        """Its directory, for a container that starts. One with a device is mounted there; that is done
        once."""
        volume = self.get(name)
        path = self._layout.volume(name)
        os.makedirs(path, 0o755, exist_ok=True)
        if volume.options.get("device") and not os.path.ismount(path):
            _mount(volume.options, path)
        return path

    def _unmount(self, name: str) -> None:
        path = self._layout.volume(name)
        if os.path.ismount(path):
            with doing("unmount volume", name):
                syscall.umount2(path, MNT_DETACH)

    def copy_up(self, name: str, rootfs: str, destination: str) -> None:
        """What the image has where the volume will be goes into the volume, as long as that is empty. The
        image's directory is opened inside its root; its owner and mode become the volume's."""
        volume = os.open(self._layout.volume(name), _DIRECTORY)
        try:
            if os.listdir(volume):
                return
            root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                source = open_inside(root, destination, _DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                return
            finally:
                os.close(root)
            try:
                with doing("copy what the image has into the volume", name):
                    copy_tree(source, volume)
                    found = os.fstat(source)
                    os.fchown(volume, found.st_uid, found.st_gid)
                    os.fchmod(volume, found.st_mode & 0o7777)
            finally:
                os.close(source)
        finally:
            os.close(volume)


def _require_options(options: dict[str, str]) -> None:
    unknown = sorted(set(options) - {"type", "device", "o"})
    if unknown:
        raise PyruncError(UNSUPPORTED, f'invalid option: "{unknown[0]}"', hint="type, device and o are known")
    if options and not (options.get("device") and options.get("type")):
        raise PyruncError(UNSUPPORTED, 'missing required option: "device" and "type" belong together')


def _mount(options: dict[str, str], path: str) -> None:
    flags, data = 0, []
    for word in options.get("o", "").split(","):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word:
            data.append(word)
    with doing("mount volume", options["device"]):
        syscall.mount(options["device"], path, options["type"], flags, ",".join(data))

"""What is looked up on the host for a config.json: device files, our own rights and limits."""

from __future__ import annotations

import os
import resource
from stat import S_IMODE, S_ISBLK, S_ISCHR

from pyrunc.engine.spec.capabilities import from_mask
from pyrunc.engine.spec.facts import Device
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_CAP_SYS_RESOURCE = "CAP_SYS_RESOURCE"
_BOUNDED_DEVICES = (
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
)
_NOT_OF_A_CONTAINER = (
    "pts",
    "shm",
    "fd",
    "mqueue",
    ".lxc",
    ".lxd-mounts",
    ".udev",
    "console",
    "ptmx",
    "core",
)


def find_devices(asked: Iterable[dict[str, Any]], *, everything: bool) -> tuple[Device, ...]:
    """`asked`: Docker's {PathOnHost, PathInContainer, CgroupPermissions}; a directory means all below it.
    `everything`: those of the host too. Raises PyruncError INVALID for one that is none."""
    found = list(_below("/dev", "/dev", "rwm")) if everything else []
    for one in asked:
        host = one.get("PathOnHost") or ""
        inside = one.get("PathInContainer") or host
        access = one.get("CgroupPermissions") or "rwm"
        if not access or not set(access) <= set("rwm"):
            raise PyruncError(INVALID, f"invalid device mode: {access}")
        if os.path.isdir(host):
            found += _below(host, inside, access)
        else:
            found.append(_read(host, inside, access))
    return tuple({device.path: device for device in found}.values())


def _read(host: str, inside: str, access: str) -> Device:
    try:
        info = os.stat(host)
    except OSError as error:
        raise PyruncError(
            INVALID,
            f'error gathering device information while adding custom device "{host}"',
            "",
            str(error.strerror),
        ) from None
    if not S_ISCHR(info.st_mode) and not S_ISBLK(info.st_mode):
        raise PyruncError(
            INVALID,
            f'error gathering device information while adding custom device "{host}": not a device node',
        )
    return Device(
        path=inside,
        type="c" if S_ISCHR(info.st_mode) else "b",
        major=os.major(info.st_rdev),
        minor=os.minor(info.st_rdev),
        access=access,
        mode=S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
    )


def with_numbers(host: dict[str, Any]) -> dict[str, Any]:
    """HostConfig, where the block devices whose I/O is bounded have their numbers beside their names. Raises
    PyruncError INVALID for one that is none."""
    found = dict(host)
    for key in _BOUNDED_DEVICES:
        found[key] = [{**one, **_numbers(one.get("Path") or "")} for one in host[key] or ()]
    return found


def _numbers(path: str) -> dict[str, int]:
    device = _read(path, path, "")
    if device.type != "b":
        raise PyruncError(INVALID, f"{path} is not a block device")
    return {"major": device.major, "minor": device.minor}


def _below(host: str, inside: str, access: str) -> Iterator[Device]:
    with os.scandir(host) as entries:
        for entry in entries:
            if entry.name in _NOT_OF_A_CONTAINER or entry.is_symlink():
                continue
            target = f"{inside}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, target, access)
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if S_ISCHR(mode) or S_ISBLK(mode):
                yield _read(entry.path, target, access)


def bounding_capabilities() -> frozenset[str]:
    """Ours (proc(5)): no child of ours can have more."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                return from_mask(int(line.split()[1], 16))
    return frozenset()


def limits_above_which_we_cannot_go(bounding: frozenset[str]) -> dict[str, int]:
    """Our hard limits by RLIMIT_*; none where we may raise them, or where there is none."""
    if _CAP_SYS_RESOURCE in bounding:
        return {}
    names = [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"]
    hard = {name: resource.getrlimit(getattr(resource, name))[1] for name in names}
    return {name: limit for name, limit in hard.items() if limit != resource.RLIM_INFINITY}

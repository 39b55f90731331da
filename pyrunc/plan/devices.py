"""/dev of the container: default and configured nodes, links, the console (config-linux.md, Devices)."""

from __future__ import annotations

from stat import S_IFBLK, S_IFCHR, S_IFIFO

from pyrunc.kernel import const as c
from pyrunc.oci.config import Device, Mount
from pyrunc.plan.makeops import MakeDevice, MakeSymlink, MoveMount, OpenTree
from pyrunc.plan.ops import Op
from pyrunc.record import Record

# Those that every container has; where the config has a node of the same path, the config's holds.
DEFAULT_DEVICES = tuple(
    Device(type="c", path=f"/dev/{name}", major=major, minor=minor, file_mode=0o666, uid=0, gid=0)
    for name, major, minor in (
        ("null", 1, 3),
        ("random", 1, 8),
        ("full", 1, 7),
        ("tty", 5, 0),
        ("zero", 1, 5),
        ("urandom", 1, 9),
    )
)
_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
_CORE = ("/dev/core", "/proc/kcore")
_KINDS = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}
_NOT_OURS = ("/dev/ptmx", "/dev/console")  # made by devpts and for the terminal, whatever the config says


class DevicePlan(Record):
    open: tuple[Op, ...] = ()
    make: tuple[Op, ...] = ()


def has_host_dev(mounts: tuple[Mount, ...]) -> bool:
    """Is /dev a bind mount? Then it is somebody's own and nothing is made in it."""
    return any(
        mount.destination.rstrip("/") == "/dev"
        and (mount.type == "bind" or {"bind", "rbind"} & set(mount.options))
        for mount in mounts
    )


def make_device_number(major: int, minor: int) -> int:
    """makedev(3): the kernel's 12 + 20 bits as mknod(2) takes them."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


def plan_devices(
    devices: tuple[Device, ...], mounts: tuple[Mount, ...], *, bind: bool, has_kcore: bool
) -> DevicePlan:
    """`bind`: in a user namespace mknod is refused, so the host's nodes are bound."""
    if has_host_dev(mounts):
        return DevicePlan()
    wanted = {device.path: device for device in DEFAULT_DEVICES}
    wanted |= {device.path: device for device in devices if device.path not in _NOT_OURS}
    opened: list[Op] = []
    made: list[Op] = []
    for device in wanted.values():
        if bind and device.type != "p":
            name = f"devices{device.path}"
            opened.append(
                OpenTree(source=device.path, saves=name, propagation=c.MS_PRIVATE, origin=device.origin)
            )
            made.append(MoveMount(takes=name, target=device.path, origin=device.origin))
        else:
            mode = 0o666 if device.file_mode is None else device.file_mode & 0o7777
            made.append(
                MakeDevice(
                    path=device.path,
                    mode=_KINDS[device.type] | mode,
                    device=make_device_number(device.major, device.minor),
                    uid=device.uid or 0,
                    gid=device.gid or 0,
                    origin=device.origin,
                )
            )
    made += [
        MakeSymlink(path=path, target=target) for path, target in (*_LINKS, *((_CORE,) if has_kcore else ()))
    ]
    made.append(MakeSymlink(path="/dev/ptmx", target="pts/ptmx", replace=True))
    return DevicePlan(open=tuple(opened), make=tuple(made))

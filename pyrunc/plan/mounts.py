"""`mounts` of config.json -> operations. Pure: reads no file, makes no call, asks the host nothing.

Bind mounts become a detached tree, opened and given its flags by whoever may open the source, and one step in
the child that attaches it (open_tree, mount_setattr, move_mount): the mount is never there with other flags
than asked for, and the flags of the source stay as they are unless an option says otherwise, as in mount(8).
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.kernel import const as c
from pyrunc.later import later
from pyrunc.oci.config import Mount
from pyrunc.plan.cgroupmounts import plan_cgroup_mount
from pyrunc.plan.facts import CgroupLayout
from pyrunc.plan.lsm import with_context
from pyrunc.plan.makeops import MountFilesystem, MoveMount, OpenTree, RemountReadonly, SetPropagation
from pyrunc.plan.namespaces import map_lines
from pyrunc.plan.ops import Op
from pyrunc.record import Record, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import rareops
else:
    rareops = later("pyrunc.plan.rareops")

# option -> (bits set, bits cleared): of two that disagree, the later wins, as in mount(8)
FLAGS = {
    "acl": (c.MS_POSIXACL, 0),
    "async": (0, c.MS_SYNCHRONOUS),
    "atime": (0, c.MS_NOATIME),
    "defaults": (0, 0),
    "dev": (0, c.MS_NODEV),
    "diratime": (0, c.MS_NODIRATIME),
    "dirsync": (c.MS_DIRSYNC, 0),
    "exec": (0, c.MS_NOEXEC),
    "iversion": (c.MS_I_VERSION, 0),
    "lazytime": (c.MS_LAZYTIME, 0),
    "loud": (0, c.MS_SILENT),
    "mand": (c.MS_MANDLOCK, 0),
    "noacl": (0, c.MS_POSIXACL),
    "noatime": (c.MS_NOATIME, 0),
    "nodev": (c.MS_NODEV, 0),
    "nodiratime": (c.MS_NODIRATIME, 0),
    "noexec": (c.MS_NOEXEC, 0),
    "noiversion": (0, c.MS_I_VERSION),
    "nolazytime": (0, c.MS_LAZYTIME),
    "nomand": (0, c.MS_MANDLOCK),
    "norelatime": (0, c.MS_RELATIME),
    "nostrictatime": (0, c.MS_STRICTATIME),
    "nosuid": (c.MS_NOSUID, 0),
    "nosymfollow": (c.MS_NOSYMFOLLOW, 0),
    "relatime": (c.MS_RELATIME, 0),
    "remount": (0, 0),
    "ro": (c.MS_RDONLY, 0),
    "rw": (0, c.MS_RDONLY),
    "silent": (c.MS_SILENT, 0),
    "strictatime": (c.MS_STRICTATIME, 0),
    "suid": (0, c.MS_NOSUID),
    "symfollow": (0, c.MS_NOSYMFOLLOW),
    "sync": (c.MS_SYNCHRONOUS, 0),
}
PROPAGATION = {
    "private": c.MS_PRIVATE,
    "rprivate": c.MS_PRIVATE | c.MS_REC,
    "rshared": c.MS_SHARED | c.MS_REC,
    "rslave": c.MS_SLAVE | c.MS_REC,
    "runbindable": c.MS_UNBINDABLE | c.MS_REC,
    "shared": c.MS_SHARED,
    "slave": c.MS_SLAVE,
    "unbindable": c.MS_UNBINDABLE,
}
# The attributes that a mount has besides its filesystem, as mount_setattr(2) knows them: (set, cleared).
ATTRIBUTES = {
    "atime": (0, c.MOUNT_ATTR__ATIME),
    "dev": (0, c.MOUNT_ATTR_NODEV),
    "diratime": (0, c.MOUNT_ATTR_NODIRATIME),
    "exec": (0, c.MOUNT_ATTR_NOEXEC),
    "noatime": (c.MOUNT_ATTR_NOATIME, c.MOUNT_ATTR__ATIME),
    "nodev": (c.MOUNT_ATTR_NODEV, 0),
    "nodiratime": (c.MOUNT_ATTR_NODIRATIME, 0),
    "noexec": (c.MOUNT_ATTR_NOEXEC, 0),
    "norelatime": (c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME),
    "nostrictatime": (0, c.MOUNT_ATTR__ATIME),
    "nosuid": (c.MOUNT_ATTR_NOSUID, 0),
    "nosymfollow": (c.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "relatime": (0, c.MOUNT_ATTR__ATIME),
    "ro": (c.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, c.MOUNT_ATTR_RDONLY),
    "strictatime": (c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME),
    "suid": (0, c.MOUNT_ATTR_NOSUID),
    "symfollow": (0, c.MOUNT_ATTR_NOSYMFOLLOW),
}
RECURSIVE_ATTRIBUTES = {f"r{name}": bits for name, bits in ATTRIBUTES.items()}
BINDS = ("bind", "rbind")
EXTENSIONS = ("tmpcopyup", "idmap", "ridmap", "copy-symlink", "src-nofollow", "dest-nofollow")
# What a filesystem of its own knows by name and not as an attribute of the mount.
_WORDS = ((c.MS_SYNCHRONOUS, "sync"), (c.MS_DIRSYNC, "dirsync"), (c.MS_LAZYTIME, "lazytime"))

_WITHOUT_CONTEXT = ("proc", "sysfs", "cgroup", "cgroup2")
# What may be mounted over inside /proc: files that lxcfs and CRI provide, nothing that a label is written to.
_OVER_PROC = frozenset(
    "/proc/" + name
    for name in (
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    )
)


class MountPlan(Record):
    """`open`: what the host side (or, without its rights, the child) opens first; `mount`: the child's
    steps, in order; `finish`: read-only at last, once all that belongs inside has been made."""

    open: tuple[Op, ...] = ()
    mount: tuple[Op, ...] = ()
    finish: tuple[Op, ...] = ()


class _Options(Record):
    flags: int
    set_flags: int
    clear_flags: int
    recursive_set: int
    recursive_clear: int
    propagation: tuple[int, ...]
    data: tuple[str, ...]
    is_bind: bool
    is_recursive: bool


def _parse_options(mount: Mount) -> _Options:
    flags = set_flags = clear_flags = recursive_set = recursive_clear = 0
    propagation, data = [], []
    for option in mount.options:
        if option in ATTRIBUTES:
            on, off = ATTRIBUTES[option]
            set_flags, clear_flags = set_flags & ~off | on, clear_flags & ~on | off
        if option in FLAGS:
            on, off = FLAGS[option]
            flags = flags & ~off | on
        elif option in PROPAGATION:
            propagation.append(PROPAGATION[option])
        elif option in RECURSIVE_ATTRIBUTES:
            on, off = RECURSIVE_ATTRIBUTES[option]
            recursive_set, recursive_clear = recursive_set & ~off | on, recursive_clear & ~on | off
        elif option not in BINDS and option not in EXTENSIONS:
            data.append(option)
    return _Options(
        flags=flags,
        set_flags=set_flags,
        clear_flags=clear_flags,
        recursive_set=recursive_set,
        recursive_clear=recursive_clear,
        propagation=tuple(propagation),
        data=tuple(data),
        is_bind=mount.type == "bind" or any(option in BINDS for option in mount.options),
        is_recursive="rbind" in mount.options,
    )


def is_bind(mount: Mount) -> bool:
    return mount.type == "bind" or any(option in BINDS for option in mount.options)


def plan_mounts(
    mounts: tuple[Mount, ...],
    *,
    bundle: str,
    rootfs_propagation: str,
    cgroups: CgroupLayout,
    cgroup_paths: tuple[tuple[str, str], ...],
    has_cgroup_namespace: bool,
    user_maps: tuple[str, str],
    label: str = "",
    opens_disks: bool = False,
) -> MountPlan:
    """All mounts, in the order of the list. `cgroup_paths`: the container's cgroup in each hierarchy;
    `user_maps`: uid_map and gid_map of its own user namespace, empty for one that it joins; `label`: of
    SELinux, for the filesystems that are made here; `opens_disks`: the host side has the rights to."""
    opened: list[Op] = []
    mounted: list[Op] = []
    finish: list[Op] = []
    for number, mount in enumerate(mounts):
        options = _parse_options(mount)
        if mount.type == "cgroup" and not options.is_bind:
            part = plan_cgroup_mount(
                mount,
                name=f"mounts/{number}",
                flags=options.flags,
                layout=cgroups,
                paths=cgroup_paths,
                has_namespace=has_cgroup_namespace,
            )
        elif options.is_bind:
            part = _plan_bind(mount, options, f"mounts/{number}", bundle, rootfs_propagation)
            part[0].extend(_plan_id_map(mount, f"mounts/{number}", user_maps))
        elif opens_disks and mount.source.startswith("/dev/"):
            part = _plan_disk(mount, options, f"mounts/{number}")
        else:
            part = _plan_filesystem(mount, options)
        opened += (labelled(op, label) for op in part[0]) if label else part[0]
        mounted += (labelled(op, label) for op in part[1]) if label else part[1]
        finish += part[2]
        mounted += [
            SetPropagation(target=_inside(mount), flags=bits, origin=mount.origin)
            for bits in options.propagation
        ]
    return MountPlan(open=tuple(opened), mount=tuple(mounted), finish=tuple(finish))


def labelled(op: Op, label: str) -> Op:
    """On some filesystems no context can be set: the kernel labels what is in them by itself, or there are no
    labels. A message queue's root is labelled afterwards, as runc does."""
    if isinstance(op, MountFilesystem):
        if op.fstype == "mqueue":
            return replaced(op, label=label)
        return op if op.fstype in _WITHOUT_CONTEXT else replaced(op, data=with_context(op.data, label))
    if isinstance(op, (rareops.CopyUp, rareops.OpenFilesystem)) and not any(
        item.startswith("context=") for item in op.options
    ):
        return replaced(op, options=(*op.options, f"context={label}"))
    return op


_Parts = tuple[list[Op], list[Op], list[Op]]


def _inside(mount: Mount) -> str:
    """A relative destination means from `/` (deprecated, spec 1.2)."""
    return "/" + mount.destination.strip("/")


def _may_cover_proc(mount: Mount) -> bool:
    return _inside(mount) in _OVER_PROC


def _plan_filesystem(mount: Mount, options: _Options) -> _Parts:
    """A filesystem of the mount's type. A tmpfs that is to be read-only becomes so at the end: other mounts
    may need directories in it."""
    target = _inside(mount)
    flags, finish = options.flags, []
    if mount.type == "tmpfs" and flags & c.MS_RDONLY:
        flags &= ~c.MS_RDONLY
        finish.append(RemountReadonly(target=target, origin=mount.origin))
    has_mode = any(item.startswith("mode=") for item in options.data)
    if mount.type == "tmpfs" and "tmpcopyup" in mount.options:
        words = tuple(word for bit, word in _WORDS if flags & bit)
        copied = rareops.CopyUp(
            target=target,
            source=mount.source or mount.type,
            attributes=options.set_flags & ~c.MOUNT_ATTR_RDONLY,
            options=(*words, *options.data),
            inherit_mode=not has_mode,
            origin=mount.origin,
        )
        return [], [copied], list(finish)
    first = MountFilesystem(
        target=target,
        fstype=mount.type,
        source=mount.source or mount.type or "none",
        flags=flags,
        data=",".join(options.data),
        strict=mount.type in ("proc", "sysfs"),
        inherit_mode=mount.type == "tmpfs" and not has_mode,
        may_cover_proc=mount.type == "proc" or _may_cover_proc(mount),
        origin=mount.origin,
    )
    return [], [first], list(finish)


def _plan_disk(mount: Mount, options: _Options, name: str) -> _Parts:
    """A filesystem on a block device. What devices the container may open is a rule of its cgroup, in which
    the child is by now: what its config mounts is not a matter of that."""
    words = ((c.MS_RDONLY, "ro"), *_WORDS)
    made = rareops.OpenFilesystem(
        fstype=mount.type,
        source=mount.source,
        saves=name,
        options=(*(word for bit, word in words if options.flags & bit), *options.data),
        attributes=options.set_flags,
        origin=mount.origin,
    )
    return [made], [MoveMount(takes=name, target=_inside(mount), origin=mount.origin)], []


def _plan_bind(mount: Mount, options: _Options, name: str, bundle: str, rootfs_propagation: str) -> _Parts:
    if options.data:
        raise PyruncError(
            INVALID,
            "bind mounts cannot have any filesystem-specific options applied",
            f"{mount.origin}/options",
            ",".join(options.data),
        )
    source = mount.source if mount.source.startswith("/") else f"{bundle}/{mount.source}"
    recursive_flags = bool(options.recursive_set | options.recursive_clear)
    opened: list[Op] = [
        OpenTree(
            source=source,
            saves=name,
            recursive=options.is_recursive,
            follow=not {"src-nofollow", "copy-symlink"} & set(mount.options),
            set_flags=options.set_flags,
            clear_flags=options.clear_flags,
            propagation=_keep_apart(rootfs_propagation),
            origin=f"{mount.origin}/source",
        )
    ]
    target = _inside(mount)
    if recursive_flags:
        opened.append(
            rareops.SetTreeFlags(
                takes=name,
                set_flags=options.recursive_set,
                clear_flags=options.recursive_clear,
                origin=f"{mount.origin}/options",
            )
        )
    moved = MoveMount(
        takes=name,
        target=target,
        follow="dest-nofollow" not in mount.options,
        copy_link="copy-symlink" in mount.options,
        may_cover_proc=_may_cover_proc(mount) or target == "/proc",
        must_be_proc=target == "/proc",
        origin=mount.origin,
    )
    return opened, [moved], []


def _plan_id_map(mount: Mount, name: str, user_maps: tuple[str, str]) -> tuple[rareops.MapTree, ...]:
    """By the mount's own mappings; without, by those of the container's user namespace."""
    if not mount.uid_mappings and not {"idmap", "ridmap"} & set(mount.options):
        return ()
    maps = (map_lines(mount.uid_mappings), map_lines(mount.gid_mappings)) if mount.uid_mappings else user_maps
    return (
        rareops.MapTree(
            takes=name,
            recursive="ridmap" in mount.options,
            uid_map=maps[0],
            gid_map=maps[1],
            namespace="" if maps[0] else "ns/user",
            origin=mount.origin,
        ),
    )


def _keep_apart(rootfs_propagation: str) -> int:
    """How a clone of a host mount is related to it. As in runc, mounts are made slaves of the host's first
    unless rootfsPropagation says otherwise; shared keeps them peers, so that mounts reach the host."""
    if rootfs_propagation in ("shared", "rshared"):
        return 0
    return c.MS_PRIVATE if rootfs_propagation in ("private", "rprivate") else c.MS_SLAVE

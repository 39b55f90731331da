"""Operations that few launches have: of a user namespace, for systemd, resctrl and an agent, and for the
rarer words of config.json. To make a class takes some 55,000 instructions, so a planner asks for this module
when the config names one of them (`later`). That is before the clone: the child finds what to do by an
operation's name, and imports nothing.
"""

from __future__ import annotations

from pyrunc.plan.ops import Op

TYPE_CHECKING = False
if TYPE_CHECKING:
    Scalar = bool | int | float | str
    PropertyValue = Scalar | bytes | tuple[Scalar, ...] | tuple[tuple[str, str], ...]
    Property = tuple[str, str, PropertyValue]  # of a systemd unit: name, D-Bus signature, value


class ChownCgroup(Op):
    """Delegate the v2 cgroup `path` to `uid`: the directory and the files that the kernel names for it."""

    words = "delegate cgroup {path} to {uid}"
    path: str
    uid: int


class StartUnit(Op):
    """Have systemd make the transient scope `unit` around the child, and wait until that is done."""

    words = "start systemd unit {unit}"
    unit: str
    properties: tuple[Property, ...] = ()
    is_user: bool = False


class SetUnitProperties(Op):
    words = "set properties of systemd unit {unit}"
    unit: str
    properties: tuple[Property, ...]
    is_user: bool = False


class EnterCgroup(Op):
    """Put the child into the v1 cgroup `path`."""

    words = "enter cgroup {path}"
    path: str


class MakeResctrl(Op):
    """Make the group `path` of resctrl and write `lines` to its schemata. One that `is_shared` and there
    already has to have them; with `must_exist` none is made. `status`: where the kernel explains itself."""

    words = "make resctrl group {path}"
    path: str
    lines: tuple[str, ...] = ()
    must_exist: bool = False
    is_shared: bool = False
    status: str = ""


class EnterResctrl(Op):
    """Put the child into the group `path` of resctrl."""

    words = "enter resctrl group {path}"
    path: str


class SetTreeFlags(Op):
    """MOUNT_ATTR_* for every mount of the detached tree `takes` (rro and its kin)."""

    words = "set flags of the mounts below {takes}"
    takes: str
    set_flags: int = 0
    clear_flags: int = 0


class OpenFilesystem(Op):
    """A new instance of a filesystem, detached: of a block device, which only the host side may be sure to
    open. `attributes` are MOUNT_ATTR_*."""

    words = 'mount {fstype} "{source}"'
    fstype: str
    source: str
    saves: str
    options: tuple[str, ...] = ()
    attributes: int = 0


class MapTree(Op):
    """Id-map the detached tree `takes`, all of its mounts if `recursive`: what belongs to an id inside the
    user namespace is shown as the id outside. The namespace is open as `namespace`; without one it is made
    for these lines of uid_map and gid_map."""

    words = "id-map {takes}"
    takes: str
    recursive: bool
    uid_map: str = ""
    gid_map: str = ""
    namespace: str = ""


class WriteIdMap(Op):
    """Write uid_map or gid_map (user_namespaces(7)): lines of inside, outside, size to `file`.
    `helper`: newuidmap or newgidmap, when we may not write it ourselves."""

    words = "write {file}"
    file: str
    text: str
    helper: str = ""


class DenySetgroups(Op):
    """Write `deny` to /proc/PID/setgroups: an unprivileged gid_map is refused otherwise."""

    words = "deny setgroups"


class SetRlimit(Op):
    """prlimit(2) on the child, from outside: it may be more than the child may raise itself."""

    words = "set {name} to {soft}:{hard}"
    resource: int
    name: str
    soft: int
    hard: int


class SendListener(Op):
    """Take the seccomp listener of the child and hand it to the agent at the socket `path`."""

    words = "hand the seccomp listener to {path}"
    path: str
    metadata: str


class MoveNetDevice(Op):
    """Move our network device `device` into the container's network namespace, there to be `name` (%d: a
    number that is free). `takes`: that namespace, where it is one that is joined."""

    words = 'move network device {device} as "{name}"'
    device: str
    name: str
    takes: str = ""


class SetCpuAffinity(Op):
    """sched_setaffinity(2) on ourselves: bit N of `mask` for CPU N."""

    words = "run on CPUs {cpus}"
    cpus: str
    mask: bytes


class WriteTimeOffsets(Op):
    """Offsets of the time namespace that our children will be in; only while no process is in it."""

    words = "set time offsets"
    text: str


class BecomeRoot(Op):
    """Take the ids that the user namespace maps to 0, and no supplementary groups if `drop_groups`."""

    words = "become root of the user namespace"
    drop_groups: bool


class LabelKeys(Op):
    """The label of SELinux that new keys get until our execve, asked for in the directory `takes`."""

    words = "set selinux label {label}"
    takes: str
    label: str


class CopyUp(Op):
    """A tmpfs at `target` which begins as a copy of the directory there. It is filled before anything else
    can see it. `attributes` are MOUNT_ATTR_*."""

    words = 'copy "{target}" up to a tmpfs'
    target: str
    source: str
    attributes: int = 0
    options: tuple[str, ...] = ()
    inherit_mode: bool = False


class MoveRoot(Op):
    """As PivotRoot where pivot_root cannot work (a root on initramfs): MS_MOVE and chroot. `hide`: mounts of
    the host's procfs and sysfs that have to go first."""

    words = "move root"
    hide: tuple[str, ...]


class ChangeRoot(Op):
    """chroot(2) into the rootfs, for a container without a mount namespace of its own."""

    words = "chroot to {path}"
    path: str


class ChangeRootTo(Op):
    """chroot(2) to the directory that is open as `takes`."""

    words = "chroot to the container's root"
    takes: str


class SetDomainname(Op):
    words = "set domainname {name}"
    name: str

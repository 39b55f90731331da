"""Operations that make a container what it is: its cgroup and its root filesystem. What is executed in one
that is there has none of them, and pays for none. `ops` has those of both.
"""

from __future__ import annotations

from pyrunc.plan.ops import Op


class MakeCgroup(Op):
    """Make the directory `path` and what is missing above it, up to the mount at `mountpoint`.

    On v1 `controllers` are those of the hierarchy: in one with cpuset, a new directory first takes over
    cpuset.cpus and cpuset.mems of its parent. With `is_unified` they are those to switch on in the
    cgroup.subtree_control of each directory above `path`; without one of `required`, that is an error.

    The cgroup must not be frozen, nor, where `is_guarded`, hold processes already (runc's guards)."""

    words = "make cgroup {path}"
    path: str
    mountpoint: str
    controllers: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    is_unified: bool = False
    is_guarded: bool = True


class WriteCgroup(Op):
    """Write `value` to the file `path`, each line of it by a write(2) of its own.

    A file that doesn't exist: the first of `otherwise`, (path, value), that does is written instead. If
    none does, that is an error unless `optional`."""

    words = "write {value!r} to {path}"
    path: str
    value: str
    otherwise: tuple[tuple[str, str], ...] = ()
    optional: bool = False


class AttachDeviceProgram(Op):
    """Load the BPF `program` (BPF_PROG_TYPE_CGROUP_DEVICE) and attach it to the v2 cgroup `path`, in place
    of any that is attached there."""

    words = "attach device program to {path}"
    path: str
    program: bytes


class OpenTree(Op):
    """Clone the mount that `source` lies on from there on, detached (open_tree(2)): the source of a bind
    mount, opened once, where the caller's rights and paths hold. Without `follow` a symlink is the source
    itself. `set_flags` and `clear_flags` are MOUNT_ATTR_*, for the topmost mount; `propagation` is MS_* for
    the whole tree, 0 to keep it."""

    words = "open {source} for a bind mount"
    source: str
    saves: str
    recursive: bool = False
    follow: bool = True
    set_flags: int = 0
    clear_flags: int = 0
    propagation: int = 0


class OpenNamespace(Op):
    """Open the namespace file at `path`; it must be of the kind `flag` (CLONE_NEW*)."""

    words = "open namespace {path}"
    path: str
    flag: int
    saves: str


class LoopbackUp(Op):
    """Set `lo` up: one ioctl."""

    words = "set loopback up"


class SetPropagation(Op):
    """Propagation of the mount at `target` (MS_*), inside the root; of our whole namespace for "/" before
    the root is attached."""

    words = "set propagation of {target} to {flags:#x}"
    target: str
    flags: int


class AttachRoot(Op):
    """Mount the tree `takes` where the rootfs is, `path`, so that hooks find the container's root there. Its
    propagation until the pivot, which refuses a shared one, is private or slave (MS_*)."""

    words = "mount rootfs at {path}"
    takes: str
    path: str
    propagation: int


class MountFilesystem(Op):
    """A new filesystem instance at `target`, a name inside the rootfs, made if missing.

    `strict`: target may not be or pass a symlink (/proc, /sys). `inherit_mode`: of a directory that is
    there already the root of the new filesystem takes the mode over. `may_cover_proc` as in MoveMount.
    `otherwise`: the tree that is attached where the kernel does not let us mount (EPERM, EBUSY). `label`: of
    SELinux, for its root alone."""

    words = 'mount {fstype} "{source}" at "{target}"'
    target: str
    fstype: str
    source: str
    flags: int = 0
    data: str = ""
    strict: bool = False
    inherit_mode: bool = False
    may_cover_proc: bool = False
    otherwise: str = ""
    label: str = ""


class MoveMount(Op):
    """Attach the tree `takes` at `target`, made if missing as what the source is, directory or file.

    `follow`: as its last component a symlink counts for what it points to. `copy_link`: a tree which is a
    symlink is not attached, but made anew. `may_cover_proc`: the few files of /proc which may be mounted
    over; anything else in it is refused."""

    words = 'mount what is open as {takes} at "{target}"'
    takes: str
    target: str
    follow: bool = True
    copy_link: bool = False
    may_cover_proc: bool = False
    must_be_proc: bool = False


class RemountReadonly(Op):
    """Make the mount at `target` read-only; its other flags stay."""

    words = "remount {target} read-only"
    target: str


class MakeDevice(Op):
    """mknod(2) at `path`; a node that is there must be the same. `mode` holds S_IFCHR, S_IFBLK or S_IFIFO."""

    words = "make device {path}"
    path: str
    mode: int
    device: int
    uid: int
    gid: int


class MakeSymlink(Op):
    """A symlink at `path`; one that is there already and says the same is fine. `replace`: remove what is
    in its way first (an old /dev/ptmx)."""

    words = "make symlink {path} to {target}"
    path: str
    target: str
    replace: bool = False


class WriteSysctl(Op):
    """Write below /proc/sys of the host's procfs: which namespace it means is decided by who writes."""

    words = "write {value!r} to /proc/sys/{path}"
    path: str
    value: str


class ReadonlyPath(Op):
    """Bind `path` on itself, read-only with all below. Missing: nothing to do."""

    words = "make {path} read-only"
    path: str


class MaskPath(Op):
    """Hide `path`: an empty read-only tmpfs over a directory, the host's /dev/null over a file. Missing:
    nothing to do. `context`: a further option of the tmpfs."""

    words = "mask {path}"
    path: str
    context: str = ""


class PivotRoot(Op):
    """Make the container's root our `/` and let go of the host's."""

    words = "pivot_root"


class SetHostname(Op):
    words = "set hostname {name}"
    name: str


class MakeDirectory(Op):
    """The working directory, made if missing while the root is writable still."""

    words = "make directory {path}"
    path: str

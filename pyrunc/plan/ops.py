"""The vocabulary of a launch: one Record per thing the kernel is asked to do. Data only.

How each is done is known by `linux.apply` (host side) and `child.steps` (between clone and exec); nothing
here does anything. What exists only at run time, an open descriptor, goes by a name: `saves` gives it,
`takes` uses it. Targets inside the container are names resolved inside its root, never followed out of it.
"""

from __future__ import annotations

from pyrunc.oci.config import Hook as Hook  # linux and child know hooks from here
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    Scalar = bool | int | float | str
    PropertyValue = Scalar | bytes | tuple[Scalar, ...] | tuple[tuple[str, str], ...]
    Property = tuple[str, str, PropertyValue]  # of a systemd unit: name, D-Bus signature, value


class Op(Record):
    """`words` say what it does, with its fields: for `pyrunc plan`, and for the sentence when it fails."""

    words = ""
    origin: str = ""  # JSON pointer into config.json: who asked for this

    def describe(self) -> str:
        return self.words.format(**self.__dict__)


# --- the container's cgroup (host side) -----------------------------------------------------------


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


class ChownCgroup(Op):
    """Delegate the v2 cgroup `path` to `uid`: the directory and the files that the kernel names for it."""

    words = "delegate cgroup {path} to {uid}"
    path: str
    uid: int


class OpenCgroup(Op):
    """Open what a process joins the cgroup through: on v1 its `tasks` file, on v2 the directory itself."""

    words = "open cgroup {path}"
    path: str
    saves: str
    is_unified: bool = False


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


# --- descriptors that the host side opens ---------------------------------------------------------


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


class OpenNamespace(Op):
    """Open the namespace file at `path`; it must be of the kind `flag` (CLONE_NEW*)."""

    words = "open namespace {path}"
    path: str
    flag: int
    saves: str


# --- the host side, once the child has a pid ------------------------------------------------------


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


class SetOomScoreAdj(Op):
    words = "set oom_score_adj to {value}"
    value: int


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


class RunHooks(Op):
    """The hooks of one kind, in order. On the host side; createContainer's in the child, before the pivot."""

    words = "run {kind} hooks"
    kind: str
    hooks: tuple[Hook, ...]


# --- the child, in the container's namespaces -----------------------------------------------------


class JoinCgroup(Op):
    """Write ourselves into the `tasks` file `takes`: no grace period, unlike a pid in cgroup.procs."""

    words = "join what is open as {takes}"
    takes: str


class CloseCgroups(Op):
    """Close what JoinCgroup was done with."""

    words = "close what led to the cgroups"


class SetCpuAffinity(Op):
    """sched_setaffinity(2) on ourselves: bit N of `mask` for CPU N."""

    words = "run on CPUs {cpus}"
    cpus: str
    mask: bytes


class ResetCpuAffinity(Op):
    """Undo a restriction that is the caller's, containerd's or a systemd unit's, and not the container's."""

    words = "run on any CPU"


class Await(Op):
    """Wait for the parent to say that it has done its part up to `point`."""

    words = "wait for {point}"
    point: str


class Tell(Op):
    """Tell the parent that we are at `point`."""

    words = "tell {point}"
    point: str


class SetDumpable(Op):
    """Nobody but host root may look into or trace us from here on."""

    words = "set dumpable to {value}"
    value: bool


class JoinNamespace(Op):
    words = "join the namespaces of {takes}"
    takes: str
    flags: int


class Unshare(Op):
    words = "unshare {flags:#x}"
    flags: int


class WriteTimeOffsets(Op):
    """Offsets of the time namespace that our children will be in; only while no process is in it."""

    words = "set time offsets"
    text: str


class BecomeRoot(Op):
    """Take the ids that the user namespace maps to 0, and no supplementary groups if `drop_groups`."""

    words = "become root of the user namespace"
    drop_groups: bool


class NewSession(Op):
    """setsid(2)"""

    words = "make a new session"


class SessionKeyring(Op):
    """A session keyring of the container's own, so that it sees none of the caller's keys."""

    words = "join session keyring {name}"
    name: str


class LabelKeys(Op):
    """The label of SELinux that new keys get until our execve, asked for in the directory `takes`."""

    words = "set selinux label {label}"
    takes: str
    label: str


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


class CopyUp(Op):
    """A tmpfs at `target` which begins as a copy of the directory there. It is filled before anything else
    can see it. `attributes` are MOUNT_ATTR_*."""

    words = 'copy "{target}" up to a tmpfs'
    target: str
    source: str
    attributes: int = 0
    options: tuple[str, ...] = ()
    inherit_mode: bool = False


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


class OpenConsole(Op):
    """A pty of the container's devpts becomes our controlling terminal and stdio, is bound to /dev/console
    (`bind`), owned by `uid`, and its master end goes to the socket `takes`."""

    words = "open console"
    takes: str
    uid: int
    rows: int
    columns: int
    bind: bool


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


class OpenRoot(Op):
    """What is `/` now is the root that names are resolved in."""

    words = "open the root"


class SetHostname(Op):
    words = "set hostname {name}"
    name: str


class SetDomainname(Op):
    words = "set domainname {name}"
    name: str


class SetUmask(Op):
    words = "set umask {mask:04o}"
    mask: int


class OpenLabels(Op):
    """Open the directory `path` of the child's own in procfs, by which a process says what it wants to be
    labelled: in the host's, or a new one that `is_private`."""

    words = "open /proc/thread-self/{path}"
    path: str
    saves: str
    is_private: bool = True


class TakeStdio(Op):
    """Standard streams for which the host side has made others (saved as stdio/N) become those."""

    words = "take stdio"


class ReopenNull(Op):
    """Standard streams that are the host's /dev/null become the container's."""

    words = "reopen /dev/null"


class OwnStdio(Op):
    """Give the standard streams to the container's user, so that it may open /dev/stderr."""

    words = "give stdio to user {uid}"
    uid: int


class MakeDirectory(Op):
    """The working directory, made if missing while the root is writable still."""

    words = "make directory {path}"
    path: str


class ChangeDirectory(Op):
    """chdir to `path`, with the rights of the user if root's don't do (NFS, FUSE). It must
    lie inside the root (CVE-2024-21626)."""

    words = 'chdir to cwd ("{path}") set in config.json'
    path: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class FindProgram(Op):
    """Find the program among `candidates` with the rights of the user (`as_user`), and write the address of
    its name into the stub."""

    words = "find program {candidates}"
    candidates: tuple[str, ...]
    addresses: tuple[int, ...]
    slot: int
    uid: int
    gid: int
    groups: tuple[int, ...]
    as_user: bool


class FillHome(Op):
    """Look the home directory of `uid` up in the container's /etc/passwd, and write `HOME=…` into the stub:
    its text at `text_at`, where `size` bytes are reserved, and `pointer` at `pointer_at`."""

    words = "look up HOME of user {uid}"
    uid: int
    text_at: int
    size: int
    pointer_at: int
    pointer: bytes


class ResetSignals(Op):
    """Undo what the interpreter has changed (SIGPIPE and SIGXFSZ ignored), and block no signal."""

    words = "reset signals"


class ExecStub(Op):
    """Seal the stub and execute it. Of all descriptors it keeps 0-2, the `preserve` ones after them, its
    channel, the fifo, and the directory that is open as `labels`. `argv`: what its command line shows, if it
    is to stay."""

    words = "execute stub"
    preserve: int
    labels: str = ""
    argv: tuple[bytes, ...] = ()


# What an OSError from a step can say beyond errno(3): refusals of our own, numbered above the kernel's.
INSIDE_PROC, NOT_ORDINARY, OUTSIDE_ROOT, NOT_A_DEVICE, NOT_PROC, WRONG_NODE = range(10_001, 10_007)
REFUSALS = {
    INSIDE_PROC: "cannot be mounted because it is inside /proc",
    NOT_ORDINARY: "must be mounted on ordinary directory",
    OUTSIDE_ROOT: "current working directory is outside of container mount namespace root "
    "-- possible container breakout detected",
    NOT_A_DEVICE: "is not the device that it should be",
    NOT_PROC: "the source of a bind mount on /proc must be procfs",
    WRONG_NODE: "exists already and is not that device",
}

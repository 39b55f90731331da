"""The vocabulary of a launch: one Record per thing the kernel is asked to do. Data only.

How each is done is known by `linux.apply` (host side) and `child.steps` (between clone and exec), which find
it by its name; nothing here does anything. Here is what an exec has, too, and what callers ask for every day:
`makeops` has what makes a container, `rareops` what few launches have. What exists only at run time, an open
descriptor, goes by a name: `saves` gives it, `takes` uses it. Targets inside the container are names resolved
inside its root, never followed out of it.
"""

from __future__ import annotations

from pyrunc.oci.config import Hook as Hook  # linux and child know hooks from here
from pyrunc.record import Record


class Op(Record):
    """`words` say what it does, with its fields: for `pyrunc plan`, and for the sentence when it fails."""

    words = ""
    origin: str = ""  # JSON pointer into config.json: who asked for this

    def describe(self) -> str:
        return self.words.format(**self.__dict__)


class OpenCgroup(Op):
    """Open what a process joins the cgroup through: on v1 its `tasks` file, on v2 the directory itself."""

    words = "open cgroup {path}"
    path: str
    saves: str
    is_unified: bool = False


class SetOomScoreAdj(Op):
    words = "set oom_score_adj to {value}"
    value: int


class RunHooks(Op):
    """The hooks of one kind, in order. On the host side; createContainer's in the child, before the pivot."""

    words = "run {kind} hooks"
    kind: str
    hooks: tuple[Hook, ...]


class JoinCgroup(Op):
    """Write ourselves into the `tasks` file `takes`: no grace period, unlike a pid in cgroup.procs."""

    words = "join what is open as {takes}"
    takes: str


class CloseCgroups(Op):
    """Close what JoinCgroup was done with."""

    words = "close what led to the cgroups"


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


class NewSession(Op):
    """setsid(2)"""

    words = "make a new session"


class SessionKeyring(Op):
    """A session keyring of the container's own, so that it sees none of the caller's keys."""

    words = "join session keyring {name}"
    name: str


class OpenConsole(Op):
    """A pty of the container's devpts becomes our controlling terminal and stdio, is bound to /dev/console
    (`bind`), owned by `uid`, and its master end goes to the socket `takes`."""

    words = "open console"
    takes: str
    uid: int
    rows: int
    columns: int
    bind: bool


class OpenRoot(Op):
    """What is `/` now is the root that names are resolved in."""

    words = "open the root"


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

"""What the launch of a container and an execution in one have in common: what comes of both, and their last
steps. An execution imports this, and nothing of what makes a container.
"""

from __future__ import annotations

from pyrunc.kernel import const as c
from pyrunc.later import later
from pyrunc.oci.config import Linux, Process
from pyrunc.plan.lsm import LABELS
from pyrunc.plan.ops import (
    Await,
    ChangeDirectory,
    Op,
    OpenCgroup,
    OwnStdio,
    ReopenNull,
    SessionKeyring,
    SetUmask,
    TakeStdio,
    Tell,
)
from pyrunc.plan.process import ProcessPlan
from pyrunc.plan.stub import Stub, StubCall
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import rareops
else:
    rareops = later("pyrunc.plan.rareops")


class Launch(Record):
    """`prepare`: host side, before the clone. `stage`: a process between, if not empty. `attach`: host side,
    with the child's pid. `child`: between clone and exec. `stub`: what it executes; `calls`: that, readable.
    `program`: args[0], for sentences. Sync points stand in `attach` and `child`: Tell in one,
    Await in the other."""

    clone_flags: int
    prepare: tuple[Op, ...]
    stage: tuple[Op, ...]
    attach: tuple[Op, ...]
    child: tuple[Op, ...]
    stub: Stub
    calls: tuple[StubCall, ...]
    program: str
    has_terminal: bool


def keyring_steps(process: Process, name: str) -> tuple[Op, ...]:
    """The keyring is labelled as it is made, for it is a key too."""
    label, origin = process.selinux_label, f"{process.origin}/selinuxLabel"
    labelled = (rareops.LabelKeys(takes=LABELS, label=label, origin=origin),) if label else ()
    return (*labelled, SessionKeyring(name=name))


def listener_steps(linux: Linux) -> tuple[Op, ...]:
    """The host side's part where the seccomp profile has notifications; the stub's is in plan.process."""
    seccomp = linux.seccomp
    if seccomp is None or not any(item.action == "SCMP_ACT_NOTIFY" for item in seccomp.syscalls):
        return ()
    send = rareops.SendListener(
        path=seccomp.listener_path, metadata=seccomp.listener_metadata, origin="/linux/seccomp/listenerPath"
    )
    return (Await(point="filtered"), send, Tell(point="go"))


def process_steps(process: Process, plan: ProcessPlan) -> tuple[Op, ...]:
    """The last steps of the child, of an init as of an exec: streams, umask, directory, program."""
    user = process.user
    return (
        *(() if process.terminal else (TakeStdio(), ReopenNull(), OwnStdio(uid=user.uid))),
        SetUmask(mask=0o022 if user.umask is None else user.umask, origin=f"{user.origin}/umask"),
        ChangeDirectory(
            path=process.cwd,
            uid=user.uid,
            gid=user.gid,
            groups=user.additional_gids,
            origin=f"{process.origin}/cwd",
        ),
        *plan.last,
    )


def by_file(op: OpenCgroup) -> OpenCgroup:
    """The unified hierarchy is joined through a file, too, instead of being born into the directory."""
    if not op.is_unified:
        return op
    return OpenCgroup(path=f"{op.path}/cgroup.procs", saves="cgroup/unified", origin=op.origin)


# type -> (CLONE_NEW*, its name below /proc/PID/ns)
KINDS = {
    "cgroup": (c.CLONE_NEWCGROUP, "cgroup"),
    "ipc": (c.CLONE_NEWIPC, "ipc"),
    "mount": (c.CLONE_NEWNS, "mnt"),
    "network": (c.CLONE_NEWNET, "net"),
    "pid": (c.CLONE_NEWPID, "pid"),
    "time": (c.CLONE_NEWTIME, "time"),
    "user": (c.CLONE_NEWUSER, "user"),
    "uts": (c.CLONE_NEWUTS, "uts"),
}

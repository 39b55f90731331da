"""A further process in a container -> a Launch: join what the init is in, then what its process object says.

There is no fifo: the stub goes on at once, and its channel closes when the program is executed. Limits that
the host side sets are waited for in between.
"""

from __future__ import annotations

from pyrunc.kernel import const as c
from pyrunc.later import later
from pyrunc.oci.config import Linux, Process
from pyrunc.plan.facts import HostFacts
from pyrunc.plan.lsm import LABELS, has_label, open_labels
from pyrunc.plan.ops import (
    Await,
    CloseCgroups,
    ExecStub,
    JoinCgroup,
    JoinNamespace,
    NewSession,
    Op,
    OpenCgroup,
    OpenConsole,
    OpenRoot,
    ResetSignals,
    SetDumpable,
    Tell,
)
from pyrunc.plan.process import EVERY_CAPABILITY, ProcessPlan, plan_process
from pyrunc.plan.scheduling import final_cpus, initial_cpus
from pyrunc.plan.shared import Launch, by_file, keyring_steps, process_steps
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import rareops
    from pyrunc.plan.seccomp import SeccompProgram
else:
    rareops = later("pyrunc.plan.rareops")


class ExecutionRequest(Record):
    """`namespaces`: CLONE_NEW* of those in which the init differs from us. `may_set_groups`: its user
    namespace lets us. `keyring`: the name of its session keyring, or empty. `program`: what to execute if it
    isn't args[0]; it is a hook's then, whose environment is its own. `is_watched`: processes of the container
    have CAP_SYS_PTRACE over ours."""

    namespaces: int
    may_set_groups: bool = True
    keyring: str = ""
    is_watched: bool = False
    program: str = ""
    preserve_fds: int = 0
    listen_fds: int = 0


def plan_execution(
    process: Process,
    linux: Linux,
    facts: HostFacts,
    cgroup: tuple[OpenCgroup, ...],
    seccomp: SeccompProgram | None,
    listener: tuple[Op, ...],
    request: ExecutionRequest,
) -> Launch:
    """`listener`: the steps of launch.listener_steps. Descriptors that the host side has to have: "init", a
    pidfd, and "root", where mounts are ours too."""
    in_user_namespace = bool(request.namespaces & c.CLONE_NEWUSER)
    plan = plan_process(
        process,
        linux,
        facts=facts,
        grantable=EVERY_CAPABILITY if in_user_namespace else facts.capability_mask,
        seccomp=seccomp,
        has_fifo=False,
        may_set_groups=request.may_set_groups,
        preserve_fds=request.preserve_fds,
        listen_fds=request.listen_fds,
        program=request.program,
        in_user_namespace=in_user_namespace,
        adds_home=not request.program,
    )
    # Only children are born into a pid namespace that is joined; unprivileged, the user namespace gives us
    # the right to any of it, so a process between has to join that first.
    staged = request.namespaces & (c.CLONE_NEWPID | (0 if facts.is_privileged else c.CLONE_NEWUSER))
    joined = request.namespaces & ~staged
    if request.is_watched:
        cgroup = tuple(by_file(op) for op in cgroup)
    joins = tuple(JoinCgroup(takes=op.saves) for op in cgroup if op.saves != "cgroup")
    child = (
        ResetSignals(),
        *open_labels(process, may_mount=facts.is_privileged),
        SetDumpable(value=False),
        *(() if request.is_watched else joins),
        *final_cpus(process),
        *((JoinNamespace(takes="init", flags=joined),) if joined else ()),
        *((rareops.BecomeRoot(drop_groups=request.may_set_groups),) if in_user_namespace else ()),
        *_enter(process, request),
        *_console(process),
        *process_steps(process, plan),
        ExecStub(preserve=request.preserve_fds, labels=LABELS if has_label(process) else ""),
    )
    return Launch(
        clone_flags=0,
        prepare=cgroup,
        stage=_stage(process, staged, joins, request),
        attach=(*listener, *_outside(plan)),
        child=child,
        stub=plan.stub,
        calls=plan.calls,
        program=request.program or process.args[0],
        has_terminal=process.terminal,
    )


def _enter(process: Process, request: ExecutionRequest) -> tuple[Op, ...]:
    """The container's root, a session, and its keyring."""
    keyring = keyring_steps(process, request.keyring) if request.keyring else ()
    change = () if request.namespaces & c.CLONE_NEWNS else (rareops.ChangeRootTo(takes="root"),)
    root = (OpenRoot(),) if process.terminal else ()  # joined, its root is where we are
    return (*change, *root, NewSession(), *keyring)


def _outside(plan: ProcessPlan) -> tuple[Op, ...]:
    return (Await(point="ready"), *plan.outside, Tell(point="go")) if plan.outside else ()


def _stage(process: Process, staged: int, joins: tuple[Op, ...], request: ExecutionRequest) -> tuple[Op, ...]:
    """Who may trace us may take our descriptors. So that none which leads to the host's cgroups is there to
    be taken, a process that they can't see joins those, and closes them, before the child is born among
    them. It is also the one to have the CPUs that are for the time before that."""
    return (
        *initial_cpus(process),
        *((*joins, CloseCgroups()) if request.is_watched else ()),
        *((JoinNamespace(takes="init", flags=staged),) if staged else ()),
    )


def _console(process: Process) -> tuple[OpenConsole, ...]:
    if not process.terminal:
        return ()
    size = process.console_size
    return (
        OpenConsole(
            takes="console",
            uid=process.user.uid,
            rows=size.height if size else 0,
            columns=size.width if size else 0,
            bind=False,
            origin=f"{process.origin}/terminal",
        ),
    )

"""Carry a Launch out: prepare, clone, the dance of sync points, and what to say when a step failed.

The child is our own process until it executes the stub; the plan is held on both sides, so that all it has
to tell is a number (child/channel.py draws the frames).
"""

from __future__ import annotations

import posix
from errno import EACCES, EINVAL, ENOENT, ENOEXEC, ENOTDIR, EPERM
from select import POLLIN

from pyrunc import log
from pyrunc.child import channel, steps
from pyrunc.child.context import Child
from pyrunc.errors import INTERNAL, NOT_FOUND, PyruncError, describe_errno, doing
from pyrunc.files import write_all
from pyrunc.kernel import const as c
from pyrunc.kernel import fds, syscall
from pyrunc.kernel.procfs import read_stat
from pyrunc.later import later
from pyrunc.linux.apply import Host, apply
from pyrunc.plan import ops
from pyrunc.plan.shared import Launch
from pyrunc.plan.stub import STEP_EXECVE, STEP_SECCOMP, find_call
from pyrunc.runtime import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrunc.kernel import spawn as programs
    from pyrunc.linux import hooks
    from pyrunc.waiting import Work
else:
    programs = later("pyrunc.kernel.spawn")
    hooks = later("pyrunc.linux.hooks")

_FRAME_BYTES = 4096
_STAGE = 0x10000  # steps of the stage are told apart by this
_UNABLE = "unable to start container process"
_DURING_INIT = f"{_UNABLE}: error during container init"


class Born:
    """A child on its way. `pid` as we see it; `channel` is ours to close, as `pidfd` is. `early`: frames that
    came before the stage had said the pid."""

    __slots__ = ("channel", "early", "launch", "pid", "pidfd")

    def __init__(self, launch: Launch, pid: int, pidfd: int, channel_fd: int) -> None:
        self.launch, self.pid, self.pidfd, self.channel = launch, pid, pidfd, channel_fd
        self.early: list[bytes] = []

    def start_time(self) -> int:
        """Field 22 of its stat, which with the pid names it for good."""
        stat = read_stat(self.pid)
        return stat.start_time if stat is not None else 0

    def kill(self) -> None:
        """End it, and reap it: nothing may be left of a launch that failed."""
        if self.pid > 0:
            try:
                posix.kill(self.pid, 9)
                posix.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self.pid = 0

    def close(self) -> None:
        for fd in (self.channel, self.pidfd):
            if fd >= 0:
                posix.close(fd)
        self.channel = self.pidfd = -1


def clone(launch: Launch, host: Host, fifo: int = -1, *, has_others: bool = False) -> Born:
    """One clone3 with every namespace; a process between only for what counts for children alone, or has to
    be done with rights that the child won't have. `has_others`: we hold descriptors which are no business of
    this child's. Raises PyruncError."""
    for plan in (launch.stage, launch.child):
        steps.fetch(plan)
    stub = _make_stub(launch.stub.image)
    ours, theirs = fds.socket_pair()
    child = Child(host.saved, theirs, stub, fifo, _preserved(launch) if has_others else -1)
    cgroup_fd = host.saved.get("cgroup", -1)
    born = Born(launch, 0, -1, ours)
    try:
        joins = tuple(op for op in launch.stage if isinstance(op, ops.JoinNamespace))
        only_pids = joins == launch.stage and all(op.flags == c.CLONE_NEWPID for op in joins)
        own = _way_back() if joins and only_pids else -1
        if own >= 0 or not launch.stage:
            _clone_here(born, child, joins, own, cgroup_fd)
        else:
            _clone_through_stage(born, child, cgroup_fd)
    except BaseException:
        born.kill()
        born.close()
        raise
    finally:
        posix.close(theirs)
        posix.close(stub)
    return born


def _preserved(launch: Launch) -> int:
    return sum(op.preserve for op in launch.child if isinstance(op, ops.ExecStub))


def _make_stub(image: bytes) -> int:
    """A memfd, executable even where vm.memfd_noexec would make it not so; the child seals it."""
    flags = c.MFD_CLOEXEC | c.MFD_ALLOW_SEALING
    try:
        fd = posix.memfd_create("stub", flags | c.MFD_EXEC)
    except OSError as error:
        if error.errno != EINVAL:  # MFD_EXEC is known since Linux 6.3
            raise PyruncError.from_errno(error.errno or 0, "make the stub") from error
        fd = posix.memfd_create("stub", flags)
    with doing("make the stub"):
        write_all(fd, image)  # of a low RLIMIT_FSIZE the kernel says nothing before it is reached
    return fd


def _way_back() -> int:
    """Our own pid namespace, if we may return to it from another; joining it while in it changes nothing. Who
    is root in a user namespace alone, as rootless podman is, has no right to the host's, and gets -1."""
    own = posix.open("/proc/self/ns/pid", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        syscall.setns(own, c.CLONE_NEWPID)
    except OSError as error:
        posix.close(own)
        if error.errno != EPERM:
            raise PyruncError.from_errno(
                error.errno or 0, f"{_UNABLE}: stay in our own pid namespace"
            ) from error
        return -1
    return own


def _clone_here(
    born: Born, child: Child, stage: tuple[ops.JoinNamespace, ...], own: int, cgroup_fd: int
) -> None:
    """A joined pid namespace counts for our next child; afterwards we take our `own` for the next again.
    Others live in there: that child is born so that they can't trace it."""
    launch = born.launch
    try:
        if stage:
            syscall.prctl(c.PR_SET_DUMPABLE, 0)
        for op in stage:
            with doing(f"{_UNABLE}: {op.describe()}", op.origin):
                syscall.setns(child.saved[op.takes], op.flags)
        try:
            born.pid, born.pidfd = syscall.clone3(launch.clone_flags, cgroup_fd)
        except OSError as error:
            raise _cannot_clone(launch, error.errno or 0) from error
        if born.pid == 0:
            steps.run(launch.child, child, born.channel)
    finally:
        if stage:
            syscall.prctl(c.PR_SET_DUMPABLE, 1)
            syscall.setns(own, c.CLONE_NEWPID)
            posix.close(own)


def _cannot_clone(launch: Launch, code: int) -> PyruncError:
    what = f"{_UNABLE}: clone3 with flags {launch.clone_flags:#x}"
    return PyruncError.from_errno(code, what, "/linux/namespaces")


def _clone_through_stage(born: Born, child: Child, cgroup_fd: int) -> None:
    """The process between joins, clones as if it were us (CLONE_PARENT), says the pid, and is gone."""
    launch = born.launch
    has_rights = not any(
        isinstance(op, (ops.JoinNamespace, ops.Unshare)) and op.flags & c.CLONE_NEWUSER for op in launch.stage
    )
    try:
        if has_rights:
            syscall.prctl(c.PR_SET_DUMPABLE, 0)
        middle, middle_fd = syscall.clone3(0)
    except OSError as error:
        raise _cannot_clone(launch, error.errno or 0) from error
    finally:
        if has_rights:
            syscall.prctl(c.PR_SET_DUMPABLE, 1)
    if middle == 0:
        _be_stage(launch, child, cgroup_fd)
    posix.close(middle_fd)
    said = [_receive(born)]
    while said[-1] and frames.decode_pid(said[-1]) is None and not _is_from_stage(said[-1]):
        said.append(_receive(born))  # the child, which has overtaken the stage
    posix.waitpid(middle, 0)
    pid = frames.decode_pid(said[-1])
    if pid is None:
        raise_failure(launch, said[0])
    born.early = said[:-1]
    born.pid = pid
    born.pidfd = posix.pidfd_open(pid)


def _is_from_stage(frame: bytes) -> bool:
    failure = frames.decode_failure(frame)
    return failure is not None and failure[0] == channel.STEP_FAILED and failure[1] >= _STAGE


def _be_stage(launch: Launch, child: Child, cgroup_fd: int) -> NoReturn:
    step = 0
    try:
        child.preserved = _preserved(launch)
        child.close_others()
        for op in launch.stage:
            steps.STEPS[type(op).__name__](op, child)
            step += 1
        pid, _ = syscall.clone3(launch.clone_flags | c.CLONE_PARENT, cgroup_fd)
        if pid == 0:
            steps.run(launch.child, child, -1)
        fds.send(child.channel, channel.encode_pid(pid))
        posix._exit(0)
    except OSError as error:
        fds.send(child.channel, channel.encode_failure(_STAGE + step, error.errno or 0))
    finally:
        posix._exit(1)


def attend(born: Born, host: Host) -> Work[None]:
    """The parent's half of the dance: `launch.attach`, in order. Raises PyruncError. What the host side has
    open it lets go of before the last wait, while the child is at work and we are not."""
    for number, op in enumerate(born.launch.attach, 1):
        if log.is_debugging():
            log.debug(f"{born.pid}: {op.describe()}")
        if isinstance(op, ops.Await):
            if number == len(born.launch.attach):
                host.close()
            yield from _await(born, op.point)
        elif isinstance(op, ops.Tell):
            _tell(born, op.point, host)
        elif isinstance(op, ops.RunHooks):
            yield from hooks.run_hooks(op.kind, op.hooks, host.state_json("creating"), host.bundle)
        else:
            apply(op, host)


def _await(born: Born, point: str) -> Work[None]:
    """A frame, or the end of the child, which it may meet without a word (the OOM killer)."""
    if not born.early:
        yield born.channel, POLLIN, None
    frame = _receive(born)
    if frame != channel.POINTS[point]:
        raise_failure(born.launch, frame)


def _tell(born: Born, point: str, host: Host) -> None:
    """With "hooks run" goes the state, in a file: it may be longer than a frame."""
    try:
        if point != "hooks run":
            fds.send(born.channel, channel.POINTS[point])
            return
        fd = posix.memfd_create("pyrunc-state", c.MFD_CLOEXEC)
        try:
            write_all(fd, host.state_json("creating", is_inside=True))
            fds.send(born.channel, channel.POINTS[point], (fd,))
        finally:
            posix.close(fd)
    except BrokenPipeError:
        raise_failure(born.launch, _receive(born))


def await_exec(born: Born) -> Work[None]:
    """Without a fifo: the channel closes when the program is executed. Raises PyruncError if it isn't."""
    if not born.early:
        yield born.channel, POLLIN, None
    frame = _receive(born)
    if frame:
        raise_failure(born.launch, frame)


def _receive(born: Born) -> bytes:
    """What the child says next; nothing if it is gone."""
    if born.early:
        return born.early.pop(0)
    try:
        return posix.read(born.channel, _FRAME_BYTES)
    except ConnectionResetError:
        return b""


def raise_failure(launch: Launch, frame: bytes) -> NoReturn:
    """Turn what the child said, or its silence, into the error that a person reads."""
    hook = frames.decode_hook_failure(frame)
    if hook is not None:
        number, status, timed_out, words = hook
        outcome = programs.Outcome(status=status, output=b"", errors=words, timed_out=timed_out)
        raise hooks.describe_failure("createContainer", number, outcome, None).prefixed(_DURING_INIT)
    failure = frames.decode_failure(frame)
    if failure is None:
        raise PyruncError(
            INTERNAL,
            _DURING_INIT,
            "",
            "the init process ended without a word",
            "was it out of memory? a very small /linux/resources/memory/limit kills it here",
        )
    kind, step, code = failure
    if kind == channel.CALL_FAILED:
        raise describe_call(launch, step, code)
    raise _describe_step(launch, step, code)


def _describe_step(launch: Launch, step: int, code: int) -> PyruncError:
    if step >= _STAGE + len(launch.stage):
        return _cannot_clone(launch, code)
    op = launch.stage[step - _STAGE] if step >= _STAGE else launch.child[step]
    if isinstance(op, ops.FindProgram):
        return describe_program(launch.program, code)
    what = f"{_DURING_INIT}: {op.describe()}"
    if isinstance(op, ops.ChangeDirectory):
        what += " failed"  # so runc says, and its callers know
    if code in ops.REFUSALS:
        return PyruncError(INTERNAL, what, op.origin, ops.REFUSALS[code])
    if code == 0:
        return PyruncError(INTERNAL, what, op.origin, "internal error, please report it")
    return PyruncError.from_errno(code, what, op.origin)


def describe_program(program: str, code: int) -> PyruncError:
    """The sentences of Go's exec.LookPath, by which podman and Docker choose 126 or 127."""
    if code not in (ENOENT, ENOTDIR):
        return PyruncError(INTERNAL, f'{_UNABLE}: exec: "{program}": {describe_errno(code)}')
    why = (
        f"stat {program}: {describe_errno(code)}" if "/" in program else "executable file not found in $PATH"
    )
    return PyruncError(NOT_FOUND, f'{_UNABLE}: exec: "{program}": {why}')


def describe_call(launch: Launch, step: int, code: int) -> PyruncError:
    """A call of the stub. execve and a late seccomp are told by numbers of their own."""
    if step == STEP_EXECVE:
        return describe_execve(launch.program, code)
    call = find_call(launch.calls, step)
    name, origin = (call.words or call.call, call.origin) if call is not None else ("stub", "")
    hint = ""
    if step == STEP_SECCOMP and code == EACCES:
        hint = "without noNewPrivileges a seccomp profile needs CAP_SYS_ADMIN"
    elif name == "sched_setattr" and code == EPERM:
        hint = (
            "real-time policies and nice values below 0 need CAP_SYS_NICE; on cgroup v1 the former may need "
        )
        hint += "/linux/resources/cpu/realtimeRuntime, too"
    elif call is not None and call.call == "prlimit64" and code == EPERM:
        hint = "a hard limit above our own needs CAP_SYS_RESOURCE (prlimit(2)); `ulimit -H` shows ours"
    return PyruncError.from_errno(code, f"{_DURING_INIT}: {name}", origin, hint)


def describe_execve(program: str, code: int) -> PyruncError:
    """What the kernel says of the program itself, with the usual reason for it."""
    hint = ""
    if code == ENOEXEC:
        hint = "is it built for this machine's architecture? does a script begin with #! and an interpreter?"
    elif code == ENOENT:
        hint = "the file is there: its interpreter (after #!, or the ELF loader) is missing in the rootfs"
    elif code == EACCES:
        hint = "is the file system mounted noexec? is the file's mode executable for this user?"
    return PyruncError.from_errno(code, f'{_UNABLE}: exec: "{program}"', "", hint)

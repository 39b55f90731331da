"""Carry out the cgroup operations of `plan.ops`, a function each."""

from __future__ import annotations

import posix
from errno import E2BIG, EACCES, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENOSPC, EOPNOTSUPP, EPERM, EROFS

from pyrunc.errors import CONFLICT, UNSUPPORTED, WRONG_STATE, PyruncError, describe_errno
from pyrunc.kernel.procfs import read_text
from pyrunc.later import later
from pyrunc.linux.cgroups.files import is_frozen, read_if_there, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.linux.cgroups import processes
    from pyrunc.plan.makeops import AttachDeviceProgram, MakeCgroup, WriteCgroup
    from pyrunc.plan.rareops import ChownCgroup
else:
    processes = later("pyrunc.linux.cgroups.processes")

_DELEGATE_FILE = "/sys/kernel/cgroup/delegate"
_DELEGATED_BEFORE_4_15 = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
# Controllers of v2 that manage processes as wholes: they can't be had in a threaded subtree.
_DOMAIN_CONTROLLERS = ("memory", "io", "hugetlb")

_MKDIR_HINTS = {
    EROFS: "the cgroup filesystem is mounted read-only here: is this a container of its own?",
    EACCES: "this user may not make cgroups there: cgroup delegation is needed",
    EPERM: "this user may not make cgroups there: cgroup delegation is needed",
    ENOSPC: "there are too many cgroups: look for left-over ones, and at cgroup.max.descendants above",
}
_ENABLE_HINTS = {
    EBUSY: "there are processes in that cgroup: they must move to one below it first",
    EOPNOTSUPP: "that cgroup is threaded",
    EACCES: "this user may not do that: cgroup delegation is needed",
}
_SWAP_HINT = "swap is accounted for only after booting with swapaccount=1"
_BANDWIDTH_HINT = "the share of CPU time must not exceed that of the cgroup above, nor the burst the quota"
_DEVICE_HINT = "only whole disks can be limited, and only such as exist"
_WRITE_HINTS = {
    ("memory.memsw.limit_in_bytes", ENOENT): _SWAP_HINT,
    ("memory.swap.max", ENOENT): _SWAP_HINT,
    ("memory.memsw.limit_in_bytes", EINVAL): "memory+swap must not be below the memory limit",
    ("memory.limit_in_bytes", EINVAL): "memory must not be above the memory+swap limit",
    ("cpu.cfs_quota_us", EINVAL): _BANDWIDTH_HINT,
    ("cpu.cfs_period_us", EINVAL): _BANDWIDTH_HINT,
    ("cpu.cfs_burst_us", EINVAL): _BANDWIDTH_HINT,
    ("cpu.max", EINVAL): _BANDWIDTH_HINT,
    ("cpu.max.burst", EINVAL): _BANDWIDTH_HINT,
    ("cpu.rt_runtime_us", EINVAL): "each cgroup above must have at least that cpu.rt_runtime_us",
    ("cpu.weight", EINVAL): "an idle cgroup (cpu.idle) has no weight",
    ("cpu.shares", EINVAL): "an idle cgroup (cpu.idle) has no shares",
    ("cpu.idle", ENOENT): "idle cgroups came with Linux 5.15",
    ("cpuset.cpus", EACCES): "the cgroup above doesn't have all of these CPUs",
    ("cpuset.mems", EACCES): "the cgroup above doesn't have all of these memory nodes",
    ("io.bfq.weight", ENOENT): "weights need the bfq scheduler or io.cost",
    ("blkio.bfq.weight", ENOENT): "weights need the bfq scheduler",
    ("io.max", ENODEV): _DEVICE_HINT,
    ("devices.allow", EPERM): "the cgroup above doesn't allow this device itself",
}


# --- make -----------------------------------------------------------------------------------------


def make_cgroup(op: MakeCgroup) -> bool:
    """True if we made it, and it is ours to remove when something fails later."""
    try:
        is_new = _make_directory(op.path, op)
    except OSError as error:
        code = error.errno or 0
        hint = _MKDIR_HINTS.get(code, "")
        raise PyruncError.from_errno(code, "failed to create cgroup", op.path, hint) from error
    try:
        if op.is_unified:
            _enable_controllers(op)
        if not is_new and op.is_guarded:
            _require_empty(op.path)
        if not is_new and not op.is_unified and "cpuset" in op.controllers:
            _inherit_missing_cpuset(op.path, op.mountpoint)
        _require_thawed(op)
    except BaseException:
        if is_new:
            posix.rmdir(op.path)
        raise
    return is_new


def _make_directory(path: str, op: MakeCgroup) -> bool:
    """False if it exists. Without a parent, that comes first: seldom, so we don't look beforehand."""
    try:
        posix.mkdir(path, 0o755)
    except OSError as error:
        if error.errno == EEXIST:
            return False
        if error.errno != ENOENT or len(path) <= len(op.mountpoint):
            raise
        _make_directory(path.rpartition("/")[0], op)
        posix.mkdir(path, 0o755)
    if not op.is_unified and "cpuset" in op.controllers:
        try:
            _inherit_cpuset(path, op.mountpoint)
        except OSError:
            posix.rmdir(path)
            raise
    return True


def _inherit_cpuset(path: str, mountpoint: str) -> None:
    """A cpuset of v1 begins empty, and no process can enter it. So may one above be that another made."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        write_file(f"{path}/{name}", _inherited(path.rpartition("/")[0], mountpoint, name))


def _inherit_missing_cpuset(path: str, mountpoint: str) -> None:
    """As for a new one, where whoever made it has left it empty."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not read_text(f"{path}/{name}").strip():
            write_file(f"{path}/{name}", _inherited(path.rpartition("/")[0], mountpoint, name))


def _inherited(directory: str, mountpoint: str, name: str) -> str:
    value = read_text(f"{directory}/{name}").strip()
    if not value and len(directory) > len(mountpoint):
        value = _inherited(directory.rpartition("/")[0], mountpoint, name)
        write_file(f"{directory}/{name}", value)
    return value


def _enable_controllers(op: MakeCgroup) -> None:
    """Usually they are on already, and one read tells."""
    missing = _not_offered(op.path, op.controllers)
    if not missing:
        return
    refusals: dict[str, tuple[str, int]] = {}
    directory = op.mountpoint
    for part in op.path[len(op.mountpoint) + 1 :].split("/"):
        _switch_on(directory, missing, refusals)
        directory = f"{directory}/{part}"
    still_missing = _not_offered(op.path, op.required)
    if still_missing:
        raise _not_enabled(still_missing[0], refusals, op)
    _join_threaded_parent(op)


def _not_offered(directory: str, controllers: tuple[str, ...]) -> tuple[str, ...]:
    if not controllers:
        return ()
    offered = read_text(f"{directory}/cgroup.controllers").split()
    return tuple(name for name in controllers if name not in offered)


def _switch_on(directory: str, controllers: tuple[str, ...], refusals: dict[str, tuple[str, int]]) -> None:
    """All at once; if the kernel refuses, one by one, for it doesn't say which of them it meant. Not so where
    processes are in the way: some controllers could be had there, but would make the cgroup a threaded one,
    into whose children no container can be born."""
    path = f"{directory}/cgroup.subtree_control"
    enabled = read_text(path).split()
    offered = read_text(f"{directory}/cgroup.controllers").split()
    names = [name for name in controllers if name in offered and name not in enabled]
    if not names:
        return
    try:
        write_file(path, " ".join(f"+{name}" for name in names))
    except OSError as error:
        if error.errno == EBUSY:
            refusals.update(dict.fromkeys(names, (path, EBUSY)))
            return
        for name in names:
            try:
                write_file(path, f"+{name}")
            except OSError as single:
                refusals[name] = (path, single.errno or 0)


def _not_enabled(controller: str, refusals: dict[str, tuple[str, int]], op: MakeCgroup) -> PyruncError:
    what = f"cannot enable the {controller} cgroup controller"
    if controller in refusals:
        path, code = refusals[controller]
        return PyruncError.from_errno(code, what, path, _ENABLE_HINTS.get(code, ""))
    return PyruncError(UNSUPPORTED, what, op.path, "the cgroups above don't offer it", _ENABLE_HINTS[EACCES])


def _join_threaded_parent(op: MakeCgroup) -> None:
    """Below a threaded cgroup a new one is "domain invalid": it holds nothing until it is threaded, too."""
    kind = (read_if_there(f"{op.path}/cgroup.type") or "domain").strip()
    if kind in ("domain", "domain threaded"):
        return
    if any(name in _DOMAIN_CONTROLLERS for name in op.required):
        what = f'cannot enter cgroupv2 "{op.path}" with domain controllers -- it is in {kind} mode'
        raise PyruncError(UNSUPPORTED, what)
    if kind == "domain invalid":
        write_file(f"{op.path}/cgroup.type", "threaded")


def _require_empty(path: str) -> None:
    """To share a cgroup would mean to be frozen, killed and counted together with others."""
    count = len(processes.processes_below(path))
    if count:
        raise PyruncError(CONFLICT, f"container's cgroup is not empty: {count} process(es) found", path)


def _require_thawed(op: MakeCgroup) -> None:
    """In a frozen cgroup, or below one, the container's first process would never run, and we wait for it."""
    if op.is_unified:
        paths = (("", op.path),)
    elif "freezer" in op.controllers:
        paths = (("freezer", op.path),)
    else:
        return
    if is_frozen(paths):
        raise PyruncError(WRONG_STATE, "container's cgroup unexpectedly frozen", op.path)


# --- write ----------------------------------------------------------------------------------------


def write_cgroup(op: WriteCgroup) -> None:
    for path, value in ((op.path, op.value), *op.otherwise):
        try:
            fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        except OSError as error:
            if error.errno == ENOENT:
                continue
            raise _refused(op, path, value, error.errno or 0) from error
        line = ""
        try:
            for line in value.split("\n"):
                posix.write(fd, line.encode())
        except OSError as error:
            raise _refused(op, path, line, error.errno or 0) from error
        finally:
            posix.close(fd)
        return
    if not op.optional:
        raise _refused(op, op.path, op.value, ENOENT)


def _refused(op: WriteCgroup, path: str, value: str, code: int) -> PyruncError:
    directory, _, name = path.rpartition("/")
    if name == "memory.limit_in_bytes" and code == EBUSY:
        usage = (read_if_there(f"{directory}/memory.usage_in_bytes") or "?").strip()
        peak = (read_if_there(f"{directory}/memory.max_usage_in_bytes") or "?").strip()
        what = f"unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})"
    else:
        what = f'failed to write "{value}" to {path}'
    hint = _WRITE_HINTS.get((name, code), "")
    if name.startswith("blkio.throttle.") and code == ENODEV:
        hint = _DEVICE_HINT
    elif name.startswith("hugetlb.") and code == ENOENT:
        hint = "this machine has no huge pages of that size"
    return PyruncError.from_errno(code, what, op.origin, hint)


def attach_device_program(op: AttachDeviceProgram) -> None:
    """The new program is there before the old ones go: at no moment is more allowed than either permits."""
    bpf: Any = __import__("pyrunc.kernel.bpf", fromlist=("",))  # a host with v1 needs it not
    opened: list[int] = []
    try:
        cgroup = posix.open(op.path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        opened.append(cgroup)
        old = [bpf.open_program(number) for number in bpf.attached_device_programs(cgroup)]
        opened += old
        program = bpf.load_device_program(op.program)
        opened.append(program)
        bpf.attach_device_program(cgroup, program)
        for replaced in old:
            bpf.detach_device_program(cgroup, replaced)
    except OSError as error:
        code = error.errno or 0
        if code in (EINVAL, EACCES, E2BIG):  # the kernel's verifier didn't like it
            why = bpf.explain_device_program(op.program) or describe_errno(code)
            raise PyruncError(
                UNSUPPORTED, f"failed to restrict devices of {op.path}", op.origin, why
            ) from error
        hint = "that takes CAP_SYS_ADMIN, or CAP_BPF with CAP_NET_ADMIN, of the host" if code == EPERM else ""
        raise PyruncError.from_errno(
            code, f"failed to restrict devices of {op.path}", op.origin, hint
        ) from error
    finally:
        for fd in opened:
            posix.close(fd)


def chown_cgroup(op: ChownCgroup) -> None:
    listed = read_if_there(_DELEGATE_FILE)
    names = listed.split() if listed else _DELEGATED_BEFORE_4_15
    try:
        posix.chown(op.path, op.uid, -1)
        for name in names:
            try:
                posix.chown(f"{op.path}/{name}", op.uid, -1)
            except OSError as error:
                if error.errno != ENOENT:  # of a controller that isn't enabled here
                    raise
    except OSError as error:
        raise PyruncError.from_errno(error.errno or 0, "failed to delegate cgroup", op.path) from error


# --- without permission ---------------------------------------------------------------------------


def find_denied(make: tuple[Any, ...]) -> tuple[str, ...]:
    """Which of the cgroups in a plan we may not make: for `plan.cgroups.plan_without`. Made for users
    other than root; to ask beforehand, as the plan for those without is another one."""
    return tuple(op.path for op in make if type(op).__name__ == "MakeCgroup" and not _may_make(op))


def _may_make(op: MakeCgroup) -> bool:
    directory = op.path
    while len(directory) > len(op.mountpoint) and read_if_there(f"{directory}/cgroup.procs") is None:
        directory = directory.rpartition("/")[0]
    wanted = [directory]
    if op.is_unified:  # who is born into a cgroup moves there from ours, through the one above both
        wanted.append(f"{directory}/cgroup.procs")
    return all(posix.access(path, posix.W_OK, effective_ids=True) for path in wanted)

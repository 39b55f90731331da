"""Carry out the operations of the host side: before the clone, and on the child once it has a pid. Hooks are
run by who can wait for them (runtime.spawn).

Errors leave as PyruncError, with the operation's words and the JSON pointer that asked for it.
"""

from __future__ import annotations

import posix
from errno import EACCES, EINVAL, EPERM

from pyrunc.errors import INTERNAL, INVALID, UNSUPPORTED, PyruncError
from pyrunc.kernel import const as c
from pyrunc.kernel import syscall
from pyrunc.later import later
from pyrunc.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.kernel import mounts, spawn
    from pyrunc.linux import idmap
    from pyrunc.linux.cgroups import apply as cgroups
    from pyrunc.plan import makeops, ops, rareops
else:
    mounts = later("pyrunc.kernel.mounts")
    spawn = later("pyrunc.kernel.spawn")
    cgroups = later("pyrunc.linux.cgroups.apply")
    idmap = later("pyrunc.linux.idmap")

_MAP_HELPERS = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin")
_USER_NAMESPACE_HINT = (
    "unprivileged user namespaces may be forbidden here: see kernel.unprivileged_userns_clone, "
    "user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns"
)


class Host:
    """What the host-side operations of one launch share. `saved`: descriptors by their names in the plan;
    `pid`, `pidfd`: the child's, once there is one; `state_json` makes the state for hooks; `made_cgroups`:
    those that weren't there before, in the form that a container's state has; `unit`: what systemd made;
    `made_groups`: of resctrl, the inner ones first."""

    __slots__ = ("bundle", "made_cgroups", "made_groups", "pid", "pidfd", "saved", "state_json", "unit")

    def __init__(self, bundle: str, state_json: Callable[..., bytes]) -> None:
        self.bundle = bundle
        self.state_json = state_json
        self.saved: dict[str, int] = {}
        self.made_cgroups: list[tuple[str, str]] = []
        self.made_groups: list[str] = []
        self.unit: rareops.StartUnit | None = None
        self.pid = 0
        self.pidfd = -1

    def close(self) -> None:
        """What the child needed has been inherited by it."""
        for fd in self.saved.values():
            posix.close(fd)
        self.saved.clear()


def no_state(_status: str, *, is_inside: bool = False) -> bytes:
    """For a Host none of whose operations is a hook."""
    return b""


def apply(op: ops.Op, host: Host) -> None:
    """Raises PyruncError."""
    try:
        DONE[type(op).__name__](op, host)
    except OSError as error:
        raise PyruncError.from_errno(error.errno or 0, op.describe(), op.origin) from error


def _open_tree(op: makeops.OpenTree, host: Host) -> None:
    host.saved[op.saves] = mounts.clone_tree(
        op.source,
        recursive=op.recursive,
        follow=op.follow,
        set_flags=op.set_flags,
        clear_flags=op.clear_flags,
        propagation=op.propagation,
    )


def _open_filesystem(op: rareops.OpenFilesystem, host: Host) -> None:
    host.saved[op.saves] = mounts.make_filesystem(op.fstype, op.source, op.options, op.attributes)


def _set_tree_flags(op: rareops.SetTreeFlags, host: Host) -> None:
    tree = host.saved[op.takes]
    syscall.mount_setattr(tree, recursive=True, attr_set=op.set_flags, attr_clear=op.clear_flags)


def _map_tree(op: rareops.MapTree, host: Host) -> None:
    """Trees with the same mapping share a user namespace."""
    name = op.namespace or f"idmap {op.uid_map}/{op.gid_map}"
    if name not in host.saved:
        host.saved[name] = idmap.open_user_namespace(op.uid_map, op.gid_map)
    try:
        syscall.mount_setattr(
            host.saved[op.takes],
            recursive=op.recursive,
            attr_set=c.MOUNT_ATTR_IDMAP,
            userns=host.saved[name],
        )
    except OSError as error:
        if error.errno != EINVAL:
            raise
        why = "its filesystem, or one mounted below it, does not support id-mapped mounts on this kernel"
        raise PyruncError(UNSUPPORTED, op.describe(), op.origin, why) from error


def _open_namespace(op: makeops.OpenNamespace, host: Host) -> None:
    """The kernel is asked what it is: setns(2) with a wrong kind would fail late, in the child."""
    fd = posix.open(op.path, posix.O_RDONLY | posix.O_CLOEXEC)
    host.saved[op.saves] = fd
    try:
        kind = syscall.ioctl_int(fd, c.NS_GET_NSTYPE)
    except OSError:
        kind = 0
    if kind != op.flag:
        raise PyruncError(
            INVALID,
            op.describe(),
            op.origin,
            "it is not a namespace of that type" if kind else "no namespace",
        )


def _write_file(path: str, text: str) -> None:
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    finally:
        posix.close(fd)


def _write_id_map(op: rareops.WriteIdMap, host: Host) -> None:
    if op.helper:
        _run_map_helper(op, host.pid)
        return
    try:
        _write_file(f"/proc/{host.pid}/{op.file}", op.text)
    except OSError as error:
        hint = _USER_NAMESPACE_HINT if error.errno in (EPERM, EACCES) else ""
        raise PyruncError.from_errno(error.errno or 0, op.describe(), op.origin, hint) from error


def _run_map_helper(op: rareops.WriteIdMap, pid: int) -> None:
    """newuidmap(1): only it may map the ranges that /etc/subuid grants. No PATH is needed to find it."""
    for directory in _MAP_HELPERS:
        try:
            outcome = finish(
                spawn.run_program(f"{directory}/{op.helper}", (op.helper, str(pid), *op.text.split()), None)
            )
        except FileNotFoundError:
            continue
        if outcome.status:
            why = outcome.errors.decode("utf-8", "backslashreplace").strip()
            hint = "do /etc/subuid and /etc/subgid grant this user the ids of the mapping?"
            raise PyruncError(INTERNAL, op.describe(), op.origin, why, hint)
        return
    raise PyruncError(
        INTERNAL, op.describe(), op.origin, f"{op.helper} was not found", "install it (package uidmap)"
    )


def _deny_setgroups(_op: rareops.DenySetgroups, host: Host) -> None:
    _write_file(f"/proc/{host.pid}/setgroups", "deny")


def _set_oom_score_adj(op: ops.SetOomScoreAdj, host: Host) -> None:
    _write_file(f"/proc/{host.pid}/oom_score_adj", str(op.value))


def _set_rlimit(op: rareops.SetRlimit, host: Host) -> None:
    try:
        syscall.prlimit(host.pid, op.resource, op.soft, op.hard)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        why = "the soft limit is above the hard one"
        raise PyruncError(INVALID, op.describe(), op.origin, why) from error


def _send_listener(op: rareops.SendListener, host: Host) -> None:
    agent: Any = __import__("pyrunc.linux.seccomp_agent", fromlist=("",))  # few containers have one
    agent.hand_over(host.pid, host.pidfd, op.path, op.metadata, host.state_json("creating"))


def _move_net_device(op: rareops.MoveNetDevice, host: Host) -> None:
    netdevices: Any = __import__("pyrunc.linux.netdevices", fromlist=("",))  # few containers have one
    path = f"/proc/self/fd/{host.saved[op.takes]}" if op.takes else f"/proc/{host.pid}/ns/net"
    netns = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        netdevices.move(op, netns)
    finally:
        posix.close(netns)


def _make_cgroup(op: makeops.MakeCgroup, host: Host) -> None:
    """What was there before us isn't ours to remove if the launch fails."""
    if cgroups.make_cgroup(op):
        host.made_cgroups.append(("", op.path))


def open_cgroup(op: ops.OpenCgroup) -> int:
    """The descriptor is close-on-exec, and a directory's gives no access to what is in it."""
    flags = c.O_PATH | posix.O_DIRECTORY if op.is_unified else posix.O_WRONLY
    try:
        return posix.open(op.path, flags | posix.O_CLOEXEC)
    except OSError as error:
        raise PyruncError.from_errno(error.errno or 0, "failed to open cgroup", op.path) from error


def _start_unit(op: rareops.StartUnit, host: Host) -> None:
    _systemd().start_unit(op, host.pid)
    host.unit = op


def _systemd() -> Any:
    return __import__("pyrunc.linux.cgroups.systemd", fromlist=("",))  # few callers have it make cgroups


def _make_resctrl(op: rareops.MakeResctrl, host: Host) -> None:
    if _intel_rdt().make_group(op):
        host.made_groups.insert(0, op.path)


def _intel_rdt() -> Any:
    return __import__("pyrunc.linux.intelrdt", fromlist=("",))  # few processors have it


DONE: dict[str, Callable[[Any, Host], None]] = {
    "OpenTree": _open_tree,
    "OpenFilesystem": _open_filesystem,
    "SetTreeFlags": _set_tree_flags,
    "MapTree": _map_tree,
    "OpenNamespace": _open_namespace,
    "WriteIdMap": _write_id_map,
    "DenySetgroups": _deny_setgroups,
    "SetOomScoreAdj": _set_oom_score_adj,
    "SetRlimit": _set_rlimit,
    "MoveNetDevice": _move_net_device,
    "SendListener": _send_listener,
    "MakeCgroup": _make_cgroup,
    "WriteCgroup": lambda op, _host: cgroups.write_cgroup(op),
    "AttachDeviceProgram": lambda op, _host: cgroups.attach_device_program(op),
    "ChownCgroup": lambda op, _host: cgroups.chown_cgroup(op),
    "MakeResctrl": _make_resctrl,
    "EnterResctrl": lambda op, host: _intel_rdt().enter_group(op, host.pid),
    "StartUnit": _start_unit,
    "SetUnitProperties": lambda op, _host: _systemd().set_properties(op),
    "EnterCgroup": lambda op, host: _write_file(f"{op.path}/cgroup.procs", str(host.pid)),
    "OpenCgroup": lambda op, host: host.saved.__setitem__(op.saves, open_cgroup(op)),
}

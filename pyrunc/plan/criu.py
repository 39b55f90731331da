"""Options for criu, from a container's launch and what was asked for. Pure; names as in criu's rpc.proto.

A launch already says which mounts have their source on the host (a tree that is opened and moved in): those
are "external" to criu, which saves a name for each and on restore has to be told what is to be mounted under
that name. Our name for a mount is its place; masked files share one, as all are the host's /dev/null.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.kernel.const import CLONE_NEWNET
from pyrunc.plan.makeops import MaskPath, MountFilesystem, MoveMount, OpenTree
from pyrunc.plan.shared import Launch
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DUMP_LOG, RESTORE_LOG = "dump.log", "restore.log"
NULL = "/dev/null"
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}  # criu_cg_mode
_DEBUG = 4
# Namespaces that criu leaves alone on request: their type -> (name below ns/, the key that it is given)
EXTERNAL_NAMESPACES = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
_SHARED = (
    "tcp_established",
    "ext_unix_sk",
    "shell_job",
    "file_locks",
    "auto_dedup",
    "lazy_pages",
    "link_remap",
)
_LSM_TYPES = ("apparmor", "selinux")


class CriuFlags(Record):
    """What is asked for on the command line, of either command. `parent_path`: relative to the images."""

    tcp_established: bool = False
    tcp_skip_in_flight: bool = False
    tcp_close: bool = False
    link_remap: bool = False
    ext_unix_sk: bool = False
    shell_job: bool = False
    lazy_pages: bool = False
    file_locks: bool = False
    auto_dedup: bool = False
    leave_running: bool = False
    pre_dump: bool = False
    parent_path: str = ""
    page_server: str = ""
    manage_cgroups_mode: str = ""
    empty_namespaces: tuple[str, ...] = ()
    lsm_profile: str = ""
    lsm_mount_context: str = ""


class HostMount(Record):
    """What comes from the host: `source` there, `target` in the container, without symlinks."""

    source: str
    target: str


def host_mounts(launch: Launch) -> tuple[HostMount, ...]:
    """In the order of the launch. Targets are still as config.json has them."""
    steps = (*launch.prepare, *launch.child)
    sources = {op.saves: op.source for op in steps if isinstance(op, OpenTree)}
    return tuple(
        HostMount(source=sources[op.takes], target=op.target)
        for op in launch.child
        if isinstance(op, MoveMount) and op.takes in sources
    )


def masked_paths(launch: Launch) -> tuple[str, ...]:
    return tuple(op.path for op in launch.child if isinstance(op, MaskPath))


def covered(launch: Launch) -> tuple[str, ...]:
    """Where the container has filesystems of its own, whose directories come out of the images."""
    return tuple(op.target for op in launch.child if isinstance(op, MountFilesystem))


def plan_dump(
    flags: CriuFlags,
    *,
    pid: int,
    rootfs: str,
    mounts: tuple[HostMount, ...],
    masked: tuple[str, ...],
    namespaces: Mapping[str, int],
    freezer: str,
    config_file: str,
) -> dict[str, Any]:
    """`masked`: files that are, by their places; `namespaces`: type -> inode of those that the container
    joined; `freezer`: its cgroup there, or nothing. Raises PyruncError for flags that mean nothing."""
    options = {
        **_common(flags, DUMP_LOG, rootfs, config_file),
        "pid": pid,
        "leave_running": flags.leave_running or flags.pre_dump,
        "tcp_skip_in_flight": flags.tcp_skip_in_flight,
    }
    if flags.page_server:
        options["ps"] = _page_server(flags.page_server)
    if flags.parent_path:
        options["parent_img"] = flags.parent_path
    if flags.pre_dump or flags.parent_path:
        options["track_mem"] = True
    if freezer:
        options["freeze_cgroup"] = freezer
    externals = tuple(
        f"{EXTERNAL_NAMESPACES[kind][0]}[{inode}]:{EXTERNAL_NAMESPACES[kind][1]}"
        for kind, inode in namespaces.items()
        if kind in EXTERNAL_NAMESPACES
    )
    if externals:
        options["external"] = externals
    if not flags.pre_dump:
        places = {item.target: item.target for item in mounts} | dict.fromkeys(masked, NULL)
        options["ext_mnt"] = tuple({"key": place, "val": name} for place, name in places.items())
    return options


def plan_restore(
    flags: CriuFlags,
    *,
    rootfs: str,
    mounts: tuple[HostMount, ...],
    inherited: Mapping[str, int],
    config_file: str,
) -> dict[str, Any]:
    """`inherited`: key -> descriptor, of pipes and of namespaces."""
    options = {
        **_common(flags, RESTORE_LOG, rootfs, config_file),
        "evasive_devices": True,
        "rst_sibling": True,
        "ext_mnt": (
            *({"key": item.target, "val": item.source} for item in mounts),
            {"key": NULL, "val": NULL},
        ),
    }
    if inherited:
        options["inherit_fd"] = tuple({"key": key, "fd": fd} for key, fd in inherited.items())
    if flags.tcp_close:
        options["tcp_close"] = True
    if flags.lsm_profile:
        kind, separator, label = flags.lsm_profile.partition(":")
        if kind not in _LSM_TYPES or not separator or not label:
            why = "TYPE:LABEL is wanted, TYPE apparmor or selinux"
            raise PyruncError(INVALID, "invalid value for --lsm-profile", flags.lsm_profile, why)
        options["lsm_profile"] = flags.lsm_profile
    if flags.lsm_mount_context:
        options["lsm_mount_context"] = flags.lsm_mount_context
    return options


def _common(flags: CriuFlags, log_file: str, root: str, config_file: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "log_level": _DEBUG,
        "log_file": log_file,
        "root": root,
        "notify_scripts": True,
        "orphan_pts_master": True,
        "manage_cgroups": True,
        "ext_masters": True,
    }
    options |= {name: True for name in _SHARED if getattr(flags, name)}
    if flags.manage_cgroups_mode:
        if flags.manage_cgroups_mode not in CGROUP_MODES:
            why = f"{', '.join(CGROUP_MODES)} are known"
            where = flags.manage_cgroups_mode
            raise PyruncError(INVALID, "Invalid manage-cgroups-mode value", where, why)
        options["manage_cgroups_mode"] = CGROUP_MODES[flags.manage_cgroups_mode]
    for name in flags.empty_namespaces:
        if name != "network":
            raise PyruncError(INVALID, f"namespace {name} is not supported", "--empty-ns")
        options["empty_ns"] = CLONE_NEWNET
    if config_file:
        options["config_file"] = config_file
    return options


def _page_server(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise PyruncError(INVALID, "Use --page-server ADDRESS:PORT to specify page server", text)
    return {"address": host.strip("[]"), "port": int(port)}

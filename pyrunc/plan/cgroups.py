"""Where a container's cgroup is and what is written to it: `linux.cgroupsPath` and `linux.resources`.

Pure. A controller lives in one place of a host: in a v1 hierarchy, or in the unified (v2) one. Each is
planned for by the module of its place, so a hybrid host is nothing special here. `cgroup_update` has what
changes later.
"""

from __future__ import annotations

from pyrunc.errors import DENIED, INVALID, UNSUPPORTED, PyruncError
from pyrunc.later import later
from pyrunc.plan.devicerules import effective_rules, plan_device_writes
from pyrunc.plan.makeops import AttachDeviceProgram, MakeCgroup, WriteCgroup
from pyrunc.plan.ops import Op, OpenCgroup
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.oci.config import Config, Linux, Resources
    from pyrunc.plan import cgroup1, cgroup2, rareops
    from pyrunc.plan.facts import CgroupLayout
else:
    cgroup2 = later("pyrunc.plan.cgroup2")
    cgroup1 = later("pyrunc.plan.cgroup1")
    rareops = later("pyrunc.plan.rareops")

Paths = tuple[tuple[str, str], ...]

# A named v1 hierarchy belongs to whoever named it; systemd's is how systemd knows what a process is.
_SYSTEMD = "name=systemd"
_UNIFIED_NAMES = {"blkio": "io"}
_IGNORED_ON_V2 = {
    "net_cls": "/network/classID",
    "net_prio": "/network/priorities",
}
_DISABLED = "without a cgroup (--cgroup-manager disabled) there are no limits"
DELEGATION_HINT = (
    "let an administrator delegate a cgroup to this user, for example by starting the runtime with "
    "`systemd-run --user --scope -p Delegate=yes`, or remove the limits from config.json"
)


class CgroupPlan(Record):
    """`paths`: hierarchy name -> directory, "" for the unified one: kept in the container's state, and what
    every later operation on the cgroup goes by. `make` goes before the clone; `join` opens what the child
    enters through: on v1 it writes itself into each `cgroup/NAME`, the unified one it is born into
    (CLONE_INTO_CGROUP with `cgroup`). `attach` is done on the child, which waits for it: where systemd makes
    the cgroup, for its `unit`. `warnings`: (JSON pointer, what we ignore and why)."""

    paths: Paths = ()
    make: tuple[Op, ...] = ()
    join: tuple[OpenCgroup, ...] = ()
    attach: tuple[Op, ...] = ()
    unit: str = ""
    is_user_unit: bool = False
    warnings: tuple[tuple[str, str], ...] = ()


def plan_cgroup(
    *,
    config: Config,
    container_id: str,
    layout: CgroupLayout,
    in_user_namespace: bool,
    rootless: bool,
    current: Mapping[str, str] | None = None,
) -> CgroupPlan:
    """`current`: file -> text, where the cgroup is there already: see `cgroup_update.files_to_read`.

    In a user namespace there are no rules for devices: they could neither be written nor loaded, and what
    they would guard against, device nodes made by the container, the kernel refuses there.
    """
    linux = config.linux
    directories = _directories(linux, container_id, layout)
    restricts_devices = not (in_user_namespace or rootless)
    if not directories:
        return plan_nothing(config, restricts_devices=restricts_devices)
    unified = directories.get("", "")
    places = controller_directories(layout, directories)
    limits, needed, warnings = plan_limits(linux.resources, places, layout, unified, current or {})
    make = list(make_hierarchies(layout, directories))
    if unified:
        make.append(make_unified(layout, unified, needed, is_guarded=layout.is_v2))
    devices: tuple[Op, ...] = ()
    if restricts_devices:
        devices = plan_devices(linux.resources, places.get("devices", ""), unified)
    ownership = plan_ownership(config, unified) if layout.is_v2 and not rootless else ()
    return CgroupPlan(
        paths=tuple(directories.items()),
        make=(*make, *limits, *devices, *ownership),
        join=tuple(
            OpenCgroup(path=f"{path}/tasks", saves=f"cgroup/{name}")
            if name
            else OpenCgroup(path=path, saves="cgroup", is_unified=True)
            for name, path in directories.items()
        ),
        warnings=tuple(warnings),
    )


def make_hierarchies(layout: CgroupLayout, directories: Mapping[str, str]) -> tuple[MakeCgroup, ...]:
    """The ones of v1."""
    return tuple(
        MakeCgroup(
            path=directories[hierarchy.name],
            mountpoint=hierarchy.mountpoint,
            controllers=hierarchy.controllers,
            is_guarded=hierarchy.controllers != (_SYSTEMD,),
        )
        for hierarchy in layout.hierarchies
        if hierarchy.name in directories
    )


def make_unified(layout: CgroupLayout, path: str, needed: tuple[str, ...], *, is_guarded: bool) -> MakeCgroup:
    """The one in the unified hierarchy, with all controllers if that has them, else with those needed."""
    return MakeCgroup(
        path=path,
        mountpoint=layout.unified_mountpoint,
        controllers=layout.unified_controllers if layout.is_v2 else needed,
        required=needed,
        is_unified=True,
        is_guarded=is_guarded,
    )


# --- where ----------------------------------------------------------------------------------------


def _directories(linux: Linux, container_id: str, layout: CgroupLayout) -> dict[str, str]:
    """Hierarchy name -> the container's directory. An absolute cgroupsPath counts from the mount; a
    relative one, or the id, from our own cgroup, so that what limits us limits the container. Not so on
    pure v2: there our own cgroup holds processes (us), hence can't pass on controllers, and we take the one
    above it."""
    given = linux.cgroups_path
    inner = clean(given or container_id)
    if inner == "/":
        why = f'"{given}" is the root of the hierarchy'
        raise PyruncError(INVALID, "invalid cgroup path", f"{linux.origin}/cgroupsPath", why)

    def place(mountpoint: str, own_path: str) -> str:
        return mountpoint + (inner if given[:1] == "/" else clean(f"{own_path}/{inner}"))

    found = {
        hierarchy.name: place(hierarchy.mountpoint, hierarchy.own_path)
        for hierarchy in layout.hierarchies
        if hierarchy.controllers == (_SYSTEMD,) or not hierarchy.controllers[0].startswith("name=")
    }
    if layout.unified_mountpoint:
        own_path = layout.unified_own_path
        if layout.is_v2:
            own_path = own_path.rpartition("/")[0]
        found[""] = place(layout.unified_mountpoint, own_path)
    return found


def directories_at(layout: CgroupLayout, place: str) -> dict[str, str]:
    """As `_directories`, the same place in each hierarchy."""
    found = {
        hierarchy.name: hierarchy.mountpoint + place
        for hierarchy in layout.hierarchies
        if hierarchy.controllers == (_SYSTEMD,) or not hierarchy.controllers[0].startswith("name=")
    }
    if layout.unified_mountpoint:
        found[""] = layout.unified_mountpoint + place
    return found


def clean(path: str) -> str:
    """`path` from the root on, `.`, `..` and doubled slashes resolved: it can't lead above the root."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part and part != ".":
            kept.append(part)
    return "/" + "/".join(kept)


def controller_directories(layout: CgroupLayout, directories: Mapping[str, str]) -> dict[str, str]:
    """v1 controller -> the container's directory in its hierarchy."""
    return {
        controller: directories[hierarchy.name]
        for hierarchy in layout.hierarchies
        if hierarchy.name in directories
        for controller in hierarchy.controllers
    }


# --- what -----------------------------------------------------------------------------------------


def plan_limits(
    resources: Resources | None,
    places: Mapping[str, str],
    layout: CgroupLayout,
    unified: str,
    current: Mapping[str, str],
) -> tuple[list[WriteCgroup], tuple[str, ...], list[tuple[str, str]]]:
    """(writes in their order, v2 controllers that they need, warnings). Planned with the v1 form first, to
    learn which controllers are asked for at all."""
    writes: list[WriteCgroup] = []
    needed: list[str] = []
    warnings: list[tuple[str, str]] = []
    if resources is None or not _has_limits(resources):
        return writes, (), warnings
    for controller, plan in cgroup1.PLANNERS.items():
        if controller in places:
            writes += plan(resources, places[controller], current)
        elif _asks_for(resources, controller):
            name = _UNIFIED_NAMES.get(controller, controller)
            if name in layout.unified_controllers and name in cgroup2.PLANNERS:
                found = cgroup2.PLANNERS[name](resources, unified, current)
                writes += found
                needed += [name] if found else []
            elif unified and not places and controller in _IGNORED_ON_V2:
                pointer = resources.origin + _IGNORED_ON_V2[controller]
                warnings.append((pointer, f"cgroup v2 has no {controller} controller: ignored"))
            else:
                raise _no_controller(resources, name)
    warnings += _warnings(resources, is_v2="memory" not in places)
    if resources.unified:
        if not layout.is_v2:
            why = "cannot use unified on cgroup v1"
            raise PyruncError(INVALID, "invalid configuration", f"{resources.origin}/unified", why)
        last, more = cgroup2.plan_unified(resources, unified, layout.unified_controllers)
        writes += last
        needed += more
    return writes, tuple(dict.fromkeys(needed)), warnings


def _has_limits(resources: Resources) -> bool:
    return bool(
        resources.memory
        or resources.cpu
        or resources.pids_limit is not None
        or resources.block_io
        or resources.hugepage_limits
        or resources.network
        or resources.rdma
        or resources.unified
    )


def _asks_for(resources: Resources, controller: str) -> bool:
    """Is there anything in `resources` that this v1 controller would have to do?"""
    cpu, block_io, network = resources.cpu, resources.block_io, resources.network
    asked = {
        "memory": resources.memory,
        "pids": resources.pids_limit is not None,
        "cpuset": cpu and (cpu.cpus or cpu.mems),
        "cpu": cpu
        and (cpu.shares or cpu.quota or cpu.period or cpu.burst is not None or cpu.idle is not None),
        "blkio": block_io,
        "hugetlb": resources.hugepage_limits,
        "net_cls": network and network.class_id,
        "net_prio": network and network.priorities,
        "rdma": resources.rdma,
    }
    return bool(asked[controller])


def _no_controller(resources: Resources, controller: str, *, is_disabled: bool = False) -> PyruncError:
    section = {
        "cpuset": "cpu",
        "io": "blockIO",
        "hugetlb": "hugepageLimits",
        "net_cls": "network",
        "net_prio": "network",
    }.get(controller, controller)
    pointer, why = f"{resources.origin}/{section}", f"this host offers no {controller} controller"
    if is_disabled:
        return PyruncError(INVALID, "cannot set cgroup limit", pointer, _DISABLED)
    return PyruncError(UNSUPPORTED, "cannot set cgroup limit", pointer, why)


def _warnings(resources: Resources, *, is_v2: bool) -> list[tuple[str, str]]:
    """But for what is obsolete everywhere, of which `oci.validate` warns."""
    memory, cpu, found = resources.memory, resources.cpu, []
    if memory is not None:
        if memory.use_hierarchy is False:
            found.append((f"{memory.origin}/useHierarchy", "accounting is always hierarchical: ignored"))
        if is_v2 and memory.swappiness not in (None, *cgroup1.UNSET_SWAPPINESS):
            found.append((f"{memory.origin}/swappiness", "cgroup v2 has no swappiness: ignored"))
        if is_v2 and memory.disable_oom_killer:
            found.append((f"{memory.origin}/disableOOMKiller", "cgroup v2 always kills: ignored"))
    if is_v2 and cpu is not None and (cpu.realtime_runtime or cpu.realtime_period):
        found.append((f"{cpu.origin}/realtimeRuntime", "cgroup v2 has no realtime limits: ignored"))
    if is_v2 and resources.block_io is not None and resources.block_io.leaf_weight:
        found.append((f"{resources.block_io.origin}/leafWeight", "cgroup v2 has no leaf weight: ignored"))
    return found


def plan_devices(resources: Resources | None, directory: str, unified: str) -> tuple[Op, ...]:
    allows_all, rules = effective_rules(resources.devices if resources else ())
    if directory:
        return plan_device_writes(allows_all, rules, directory)
    if allows_all and not rules:
        return ()
    pointer = "/linux/resources/devices"
    if not unified:
        raise _no_device_control(pointer)
    assembler: Any = __import__("pyrunc.plan.devicebpf", fromlist=("",))  # a host with v1 needs it not
    program = assembler.assemble(allows_all, rules)
    return (AttachDeviceProgram(path=unified, program=program, origin=pointer),)


def _no_device_control(pointer: str, *, is_disabled: bool = False) -> PyruncError:
    if is_disabled:
        hint = "take CAP_MKNOD from the container, or allow it every device"
        return PyruncError(INVALID, "cannot restrict devices", pointer, _DISABLED, hint)
    why = "this host has neither a devices controller nor cgroup v2"
    return PyruncError(UNSUPPORTED, "cannot restrict devices", pointer, why)


def plan_ownership(config: Config, unified: str) -> tuple[rareops.ChownCgroup, ...]:
    """The container may manage its own part of the tree if it sees just that part (a cgroup namespace of
    its own) and has it mounted writable. Then it belongs to the user of its process, as he is on the host
    (runtime specification, "Cgroup ownership"). Without root it is ours, and can't be given away."""
    linux = config.linux
    has_namespace = any(item.type == "cgroup" and not item.path for item in linux.namespaces)
    is_writable = any(
        item.type == "cgroup" and clean(item.destination) == "/sys/fs/cgroup" and _is_writable(item.options)
        for item in config.mounts
    )
    if not has_namespace or not is_writable:
        return ()
    uid = config.process.user.uid if config.process else 0
    if any(item.type == "user" for item in linux.namespaces):
        for mapping in linux.uid_mappings:
            if 0 <= uid - mapping.container_id < mapping.size:
                uid = mapping.host_id + uid - mapping.container_id
                break
        else:  # nobody on the host, or someone in a namespace whose maps we don't know
            return ()
    return (rareops.ChownCgroup(path=unified, uid=uid, origin="/mounts"),) if uid else ()


def _is_writable(options: tuple[str, ...]) -> bool:
    return [option for option in ("rw", *options) if option in ("ro", "rw")][-1] == "rw"


def plan_nothing(config: Config, *, restricts_devices: bool, is_disabled: bool = False) -> CgroupPlan:
    """No cgroup filesystem at all, or nobody wants one (`is_disabled`): fine for a container without limits.
    Device rules are implied by every configuration; we can do without them if no process of the container
    can make a device node."""
    resources = config.linux.resources
    if resources is not None:
        for controller in cgroup1.PLANNERS:
            if _asks_for(resources, controller):
                raise _no_controller(resources, controller, is_disabled=is_disabled)
        if resources.unified:
            raise _no_controller(resources, "unified", is_disabled=is_disabled)
    if not restricts_devices or effective_rules(resources.devices if resources else ()) == (True, ()):
        return CgroupPlan()
    pointer = "/linux/resources/devices"
    capabilities = config.process.capabilities if config.process else None
    if capabilities is None or "CAP_MKNOD" in capabilities.bounding:
        raise _no_device_control(pointer, is_disabled=is_disabled)
    return CgroupPlan(warnings=((pointer, "there is no cgroup: devices in the rootfs aren't guarded"),))


# --- without permission ---------------------------------------------------------------------------


def plan_without(plan: CgroupPlan, denied: tuple[str, ...], config: Config) -> CgroupPlan:
    """`plan` for a user who may not make the cgroups `denied`: without them, if nobody asked for anything in
    particular there. Raises PyruncError DENIED otherwise. The first words are runc's, which tests match."""
    if not denied:
        return plan
    if config.linux.cgroups_path:
        what = f"failed to create cgroup {denied[0]}"
        pointer = f"{config.linux.origin}/cgroupsPath"
        raise PyruncError(DENIED, what, pointer, "permission denied", DELEGATION_HINT)

    def is_denied(op: Op) -> bool:
        path: str = getattr(op, "path", "")
        return any(path == item or path.startswith(f"{item}/") for item in denied)

    for op in plan.make:
        if isinstance(op, WriteCgroup) and is_denied(op):
            raise _limit_without_permission(op, is_v2=all(not name for name, _ in plan.paths))
    return CgroupPlan(
        paths=tuple((name, path) for name, path in plan.paths if path not in denied),
        make=tuple(op for op in plan.make if not is_denied(op)),
        join=tuple(op for op in plan.join if not is_denied(op)),
        warnings=plan.warnings,
    )


def _limit_without_permission(op: WriteCgroup, *, is_v2: bool) -> PyruncError:
    if is_v2:
        what = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"
    else:
        controller = op.path.rpartition("/")[2].partition(".")[0]
        what = f"cannot set {controller} limit: container could not join or create cgroup"
    return PyruncError(DENIED, what, op.origin, "permission denied", DELEGATION_HINT)

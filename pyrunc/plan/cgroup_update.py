"""Changes to the limits of a cgroup that exists: `pyrunc update`. Pure.

Only what the update names is written; everything else keeps its value, as the kernel has it. Device rules
are left alone. Where the right order, or a value, depends on what holds now (quota and period, memory and
swap) the planners of `cgroup1` and `cgroup2` take it from `current`.
"""

from __future__ import annotations

from pyrunc.plan.cgroups import plan_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrunc.oci.config import Resources
    from pyrunc.plan.cgroups import Paths
    from pyrunc.plan.facts import CgroupLayout
    from pyrunc.plan.ops import Op

_CURRENT_V1 = {
    "cpu": ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.rt_runtime_us", "cpu.rt_period_us"),
    "memory": ("memory.limit_in_bytes",),
}
_CURRENT_V2 = {
    "cpu": ("cpu.max", "cpu.idle"),
    "memory": ("memory.max", "memory.current"),
}


def files_to_read(resources: Resources, paths: Paths) -> tuple[str, ...]:
    """Which files `plan_update` wants in `current`. One that doesn't exist is to be left out there."""
    asked = {"cpu": resources.cpu is not None, "memory": resources.memory is not None}
    places = controller_places(paths)
    unified = dict(paths).get("")
    files: list[str] = []
    for controller, is_asked in asked.items():
        if is_asked and controller in places:
            files += [f"{places[controller]}/{name}" for name in _CURRENT_V1[controller]]
        elif is_asked and unified:
            files += [f"{unified}/{name}" for name in _CURRENT_V2[controller]]
    return tuple(files)


def plan_update(
    resources: Resources, layout: CgroupLayout, paths: Paths, current: Mapping[str, str]
) -> tuple[tuple[Op, ...], tuple[tuple[str, str], ...]]:
    """The writes that bring `resources` into force, and (JSON pointer, what we ignore and why). Raises
    PyruncError INVALID, with the pointer, for what can't be: among that, with checkBeforeUpdate, a limit
    below what is in use."""
    places, unified = controller_places(paths), dict(paths).get("", "")
    writes, _, warnings = plan_limits(resources, places, layout, unified, current)
    return tuple(writes), tuple(warnings)


def controller_places(paths: Paths) -> dict[str, str]:
    """v1 controller -> directory, from the paths in a container's state ("cpu,cpuacct" is two)."""
    return {controller: path for name, path in paths if name for controller in name.split(",")}

"""Which cgroup filesystems the host has, and where we are in them."""

from __future__ import annotations

from pyrunc.kernel.procfs import parse_cgroup, parse_mountinfo, read_text
from pyrunc.linux.cgroups.files import read_if_there
from pyrunc.plan.facts import CgroupLayout, Hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.kernel.procfs import MountEntry

_USUAL_PLACE = "/sys/fs/cgroup"


def read_layout() -> CgroupLayout:
    """As it is for this process, now."""
    layout = parse_layout(read_text("/proc/self/mountinfo"), read_text("/proc/self/cgroup"))
    if not layout.unified_mountpoint:
        return layout
    return CgroupLayout(
        hierarchies=layout.hierarchies,
        unified_mountpoint=layout.unified_mountpoint,
        unified_own_path=layout.unified_own_path,
        unified_controllers=tuple(
            (read_if_there(f"{layout.unified_mountpoint}/cgroup.controllers") or "").split()
        ),
    )


def parse_layout(mountinfo: str, own_cgroups: str) -> CgroupLayout:
    """From /proc/self/mountinfo and /proc/self/cgroup; all but the unified controllers, which are in a file
    of that hierarchy. Of several mounts of a hierarchy that can be reached by name, one in the usual place
    is taken before others. In a container without a cgroup namespace just a part of a hierarchy is mounted,
    but /proc/self/cgroup still counts from the top: our own path is what is left below that part."""
    mounts = _reachable_cgroup_mounts(mountinfo)
    hierarchies: list[Hierarchy] = []
    unified: Hierarchy | None = None
    for controllers, path in parse_cgroup(own_cgroups):
        if controllers:
            found = _find([mount for mount in mounts if _is_mount_of(mount, controllers)], controllers, path)
            if found is not None:
                hierarchies.append(found)
        else:
            unified = _find([mount for mount in mounts if mount.fstype == "cgroup2"], (), path)
    if unified is None:
        return CgroupLayout(hierarchies=tuple(hierarchies))
    return CgroupLayout(
        hierarchies=tuple(hierarchies),
        unified_mountpoint=unified.mountpoint,
        unified_own_path=unified.own_path,
    )


def _is_mount_of(mount: MountEntry, controllers: tuple[str, ...]) -> bool:
    return mount.fstype == "cgroup" and set(controllers) <= set(mount.super_options.split(","))


def _find(mounts: list[MountEntry], controllers: tuple[str, ...], path: str) -> Hierarchy | None:
    best, best_rank = None, (False, False)
    for mount in mounts:
        rank = (_is_within(path, mount.root), _is_within(mount.mountpoint, _USUAL_PLACE))
        if best is None or rank > best_rank:
            best, best_rank = mount, rank
    if best is None:
        return None
    own_path = path.removeprefix(best.root) or "/" if best_rank[0] and best.root != "/" else path
    return Hierarchy(controllers=controllers, mountpoint=best.mountpoint, own_path=own_path)


def _is_within(path: str, directory: str) -> bool:
    return directory == "/" or path == directory or path.startswith(f"{directory}/")


def _reachable_cgroup_mounts(mountinfo: str) -> list[MountEntry]:
    """The cgroup mounts that no other mount hides. Only lines that can matter are looked at closely: hosts
    with many containers have thousands."""
    lines = mountinfo.splitlines()
    cgroups = parse_mountinfo("\n".join(line for line in lines if " - cgroup" in line))
    above = {"/"}
    for mount in cgroups:
        path = mount.mountpoint
        while path:
            above.add(path)
            path = path.rpartition("/")[0]
    relevant = parse_mountinfo("\n".join(line for line in lines if line.split(" ", 5)[4] in above))
    by_id = {mount.mount_id: mount for mount in relevant}
    return [
        mount
        for mount in cgroups
        if mount.fstype in ("cgroup", "cgroup2") and not _is_hidden(mount, by_id, relevant)
    ]


def _is_hidden(mount: MountEntry, by_id: dict[int, MountEntry], relevant: tuple[MountEntry, ...]) -> bool:
    """A name is looked up from mount to mount. One that is stacked on our own root hides us; one in a mount
    on our way, nearer to its root than the next step of ours, leads the way elsewhere."""
    step: MountEntry | None = mount
    if any(_is_stacked_on(other, mount) for other in relevant):
        return True
    while step is not None:
        for other in relevant:
            if (
                other is not step
                and other.parent_id == step.parent_id
                and other.mount_id != step.parent_id
                and other.mountpoint != step.mountpoint
                and _is_within(step.mountpoint, other.mountpoint)
            ):
                return True
        step = by_id.get(step.parent_id) if step.parent_id != step.mount_id else None
    return False


def _is_stacked_on(other: MountEntry, mount: MountEntry) -> bool:
    return other.parent_id == mount.mount_id and other.mountpoint == mount.mountpoint

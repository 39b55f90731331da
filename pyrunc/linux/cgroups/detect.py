"""Which cgroup filesystems the host has, and where we are in them."""

from __future__ import annotations

from pyrunc.kernel.procfs import parse_cgroup, parse_mountinfo, read_text
from pyrunc.linux.cgroups.files import read_if_there
from pyrunc.plan.facts import CgroupLayout, Hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    _Mount = tuple[str, str, set[str]]  # which part is mounted, where, controllers or _UNIFIED

_UNIFIED = "cgroup2"
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
        unified_controllers=read_controllers(layout),
    )


def read_controllers(layout: CgroupLayout) -> tuple[str, ...]:
    """Of the unified hierarchy; none where there is no such."""
    if not layout.unified_mountpoint:
        return ()
    return tuple((read_if_there(f"{layout.unified_mountpoint}/cgroup.controllers") or "").split())


def parse_layout(mountinfo: str, own_cgroups: str) -> CgroupLayout:
    """From /proc/self/mountinfo and /proc/self/cgroup; all but the unified controllers, which are in a file
    of that hierarchy. Of several mounts of a hierarchy that can be reached by name, one in the usual place
    is taken before others. In a container without a cgroup namespace just a part of a hierarchy is mounted,
    but /proc/self/cgroup still counts from the top: our own path is what is left below that part."""
    mounts = _reachable_cgroup_mounts(mountinfo)
    hierarchies: list[Hierarchy] = []
    unified_mountpoint, unified_own_path = "", "/"
    for controllers, path in parse_cgroup(own_cgroups):
        mountpoint, own_path = _find(mounts, controllers, path)
        if not controllers:
            unified_mountpoint, unified_own_path = mountpoint, own_path
        elif mountpoint:
            hierarchies.append(Hierarchy(controllers=controllers, mountpoint=mountpoint, own_path=own_path))
    return CgroupLayout(
        hierarchies=tuple(hierarchies),
        unified_mountpoint=unified_mountpoint,
        unified_own_path=unified_own_path,
    )


def _find(mounts: list[_Mount], controllers: tuple[str, ...], path: str) -> tuple[str, str]:
    """Mountpoint of a hierarchy, "" if it isn't mounted, and our own cgroup as seen from there."""
    best, best_rank = ("", "/"), (-1, -1)
    for root, mountpoint, offered in mounts:
        if not (set(controllers) <= offered if controllers else _UNIFIED in offered):
            continue
        is_below = _is_within(path, root)
        rank = (int(is_below), int(_is_within(mountpoint, _USUAL_PLACE)))
        if rank > best_rank:
            own_path = path[len(root) :] or "/" if is_below and root != "/" else path
            best, best_rank = (mountpoint, own_path), rank
    return best


def _is_within(path: str, directory: str) -> bool:
    return directory == "/" or path == directory or path.startswith(f"{directory}/")


def _reachable_cgroup_mounts(mountinfo: str) -> list[_Mount]:
    """The cgroup mounts that no other mount hides. Lines that can't matter are split and no more: hosts with
    many containers have thousands of them."""
    lines = mountinfo.splitlines()
    cgroups = parse_mountinfo("\n".join([line for line in lines if " - cgroup" in line]))
    above = {"/"}
    for mount in cgroups:
        path = mount.mountpoint
        while path not in above:
            above.add(path)
            path = path.rpartition("/")[0] or "/"
    entries: dict[str, tuple[str, str]] = {}  # mount -> (the one it is mounted on, mountpoint)
    mounted_on: dict[str, list[str]] = {}
    for line in lines:
        number, parent, _, _, mountpoint, _ = line.split(" ", 5)
        if mountpoint in above:
            entries[number] = (parent, mountpoint)
            mounted_on.setdefault(parent, []).append(number)
    known: dict[str, bool] = {}
    return [
        (
            mount.root,
            mount.mountpoint,
            {_UNIFIED} if mount.fstype == "cgroup2" else set(mount.super_options.split(",")),
        )
        for mount in cgroups
        if mount.fstype in ("cgroup", "cgroup2")
        and not any(
            entries[other][1] == mount.mountpoint for other in mounted_on.get(str(mount.mount_id), ())
        )
        and not _is_bypassed(str(mount.mount_id), entries, mounted_on, known)
    ]


def _is_bypassed(
    number: str,
    entries: dict[str, tuple[str, str]],
    mounted_on: dict[str, list[str]],
    known: dict[str, bool],
) -> bool:
    """A name is looked up from mount to mount: does another one, on the same mount as ours and nearer to its
    root, lead the way elsewhere, here or further up?"""
    if number not in entries:
        return False
    if number not in known:
        parent, mountpoint = entries[number]
        known[number] = False  # ends the way up at a root that is mounted on itself
        known[number] = any(
            entries[other][1] != mountpoint and _is_within(mountpoint, entries[other][1])
            for other in mounted_on[parent]
        ) or _is_bypassed(parent, entries, mounted_on, known)
    return known[number]

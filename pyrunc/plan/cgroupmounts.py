"""A mount of type `cgroup` -> operations: what the container sees of its own cgroups (reference 2.7).

v2: one cgroup2 mount with a cgroup namespace, else a bind of the container's own directory. v1: a tmpfs with
a directory per hierarchy, each a cgroup mount with a cgroup namespace, else a bind of the container's own
part, and symlinks for hierarchies of several controllers. Hybrid: also `unified`.
"""

from __future__ import annotations

from pyrunc.kernel import const as c
from pyrunc.oci.config import Mount
from pyrunc.plan.facts import CgroupLayout
from pyrunc.plan.makeops import MakeSymlink, MountFilesystem, MoveMount, OpenTree, RemountReadonly
from pyrunc.plan.ops import Op

_SAFE = c.MS_NOSUID | c.MS_NODEV | c.MS_NOEXEC
_SAFE_ATTRIBUTES = c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV | c.MOUNT_ATTR_NOEXEC


def plan_cgroup_mount(
    mount: Mount,
    *,
    name: str,
    flags: int,
    layout: CgroupLayout,
    paths: tuple[tuple[str, str], ...],
    has_namespace: bool,
) -> tuple[list[Op], list[Op], list[Op]]:
    """What to open, to mount, and to make read-only at the end. `paths`: the container's own cgroups."""
    target = "/" + mount.destination.strip("/")
    known = dict(paths)
    if layout.is_v2:
        return _one(mount, name, target, flags, "", known, has_namespace, layout.unified_mountpoint)
    opened: list[Op] = []
    mounted: list[Op] = [
        MountFilesystem(
            target=target, fstype="tmpfs", source="tmpfs", flags=_SAFE, data="mode=755", origin=mount.origin
        )
    ]
    finish: list[Op] = []
    for hierarchy in layout.hierarchies:
        inner = f"{target}/{hierarchy.name}"
        part = _one(
            mount, f"{name}/{hierarchy.name}", inner, flags, hierarchy.name, known, has_namespace,
            hierarchy.mountpoint, ",".join(hierarchy.controllers),
        )  # fmt: skip
        opened += part[0]
        mounted += part[1]
        if len(hierarchy.controllers) > 1:
            mounted += [
                MakeSymlink(path=f"{target}/{controller}", target=hierarchy.name, origin=mount.origin)
                for controller in hierarchy.controllers
            ]
    if layout.unified_mountpoint and (has_namespace or "" in known):
        part = _one(
            mount, f"{name}/unified", f"{target}/unified", flags, "", known, has_namespace,
            layout.unified_mountpoint,
        )  # fmt: skip
        opened += part[0]
        mounted += part[1]
    if flags & c.MS_RDONLY:
        finish.append(RemountReadonly(target=target, origin=mount.origin))
    return opened, mounted, finish


def _one(
    mount: Mount,
    name: str,
    target: str,
    flags: int,
    hierarchy: str,
    known: dict[str, str],
    has_namespace: bool,
    host_mountpoint: str,
    controllers: str = "",
) -> tuple[list[Op], list[Op], list[Op]]:
    """One hierarchy (`controllers` empty: the unified one) at `target`. To mount it, the namespace must be of
    a user namespace where we have rights: where it isn't, even with a namespace the directory is bound."""
    readonly = c.MOUNT_ATTR_RDONLY if flags & c.MS_RDONLY else 0
    tree = OpenTree(
        source=known.get(hierarchy, host_mountpoint),
        saves=name,
        recursive=hierarchy not in known,  # a user namespace may not take a mount without those on it
        set_flags=_SAFE_ATTRIBUTES | readonly,
        propagation=c.MS_SLAVE,
        origin=mount.origin,
    )
    if not has_namespace:
        return [tree], [MoveMount(takes=name, target=target, origin=mount.origin)], []
    made = MountFilesystem(
        target=target,
        fstype="cgroup" if controllers else "cgroup2",
        source="cgroup",
        flags=flags,
        data=controllers,
        otherwise=name,
        origin=mount.origin,
    )
    return [tree], [made], []

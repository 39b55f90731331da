"""plan.cgroupmounts: a mount of type cgroup on each kind of host."""

from __future__ import annotations

import pytest
from support.launches import HYBRID, V2

from pyrunc.kernel import const as c
from pyrunc.oci.config import Mount
from pyrunc.plan.facts import CgroupLayout
from pyrunc.plan.makeops import MakeSymlink, MountFilesystem, MoveMount, RemountReadonly
from pyrunc.plan.mounts import MountPlan, plan_mounts

SAFE = c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV | c.MOUNT_ATTR_NOEXEC
PATHS = (
    ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/box"),
    ("memory", "/sys/fs/cgroup/memory/box"),
    ("devices", "/sys/fs/cgroup/devices/box"),
    ("systemd", "/sys/fs/cgroup/systemd/me/box"),
    ("", "/sys/fs/cgroup/unified/box"),
)


def plan(layout: CgroupLayout, *options: str, namespace: bool, paths=PATHS) -> MountPlan:
    mount = Mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=options)
    return plan_mounts(
        (mount,), bundle="/bundle", rootfs_propagation="", cgroups=layout, cgroup_paths=paths,
        has_cgroup_namespace=namespace, user_maps=("", ""),
    )  # fmt: skip


def test_v2_without_a_namespace_is_the_containers_own_directory():
    """Never the host's whole tree (CVE-2023-25809)."""
    planned = plan(V2, "ro", namespace=False, paths=(("", "/sys/fs/cgroup/box"),))
    (tree,) = planned.open
    assert (tree.source, tree.set_flags) == ("/sys/fs/cgroup/box", SAFE | c.MOUNT_ATTR_RDONLY)
    assert planned.mount == (MoveMount(takes=tree.saves, target="/sys/fs/cgroup"),)


@pytest.mark.parametrize("namespace", [True, False])
def test_v1_is_a_tmpfs_with_a_directory_per_hierarchy(namespace):
    planned = plan(HYBRID, "ro", namespace=namespace)
    top, *inner = planned.mount
    assert isinstance(top, MountFilesystem)
    assert (top.target, top.fstype) == ("/sys/fs/cgroup", "tmpfs")
    targets = [op.target for op in inner if isinstance(op, (MountFilesystem, MoveMount))]
    names = ("cpu,cpuacct", "memory", "devices", "systemd", "unified")
    assert targets == [f"/sys/fs/cgroup/{name}" for name in names]
    assert [op for op in inner if isinstance(op, MakeSymlink)] == [
        MakeSymlink(path="/sys/fs/cgroup/cpu", target="cpu,cpuacct"),
        MakeSymlink(path="/sys/fs/cgroup/cpuacct", target="cpu,cpuacct"),
    ]
    assert planned.finish == (RemountReadonly(target="/sys/fs/cgroup"),)


def test_v1_without_a_namespace_is_bound_from_the_containers_own_part():
    planned = plan(HYBRID, "ro", namespace=False)
    assert [op.source for op in planned.open] == [path for _, path in PATHS]
    assert {op.set_flags for op in planned.open} == {SAFE | c.MOUNT_ATTR_RDONLY}


def test_v1_with_a_namespace_is_mounted_by_controllers():
    planned = plan(HYBRID, "ro", "nosuid", namespace=True)
    mounted = {
        op.target.rpartition("/")[2]: (op.fstype, op.data, op.flags)
        for op in planned.mount[1:]
        if isinstance(op, MountFilesystem)
    }
    flags = c.MS_RDONLY | c.MS_NOSUID
    assert mounted == {
        "cpu,cpuacct": ("cgroup", "cpu,cpuacct", flags), "memory": ("cgroup", "memory", flags),
        "devices": ("cgroup", "devices", flags), "systemd": ("cgroup", "name=systemd", flags),
        "unified": ("cgroup2", "", flags),
    }  # fmt: skip


def test_without_ro_it_is_writable():
    planned = plan(HYBRID, namespace=False)
    assert {op.set_flags for op in planned.open} == {SAFE}
    assert planned.finish == ()


def test_a_host_without_cgroups_gets_an_empty_tmpfs():
    planned = plan(CgroupLayout(), "ro", namespace=False, paths=())
    assert planned.open == ()
    assert [type(op) for op in planned.mount] == [MountFilesystem]


def test_where_mounting_is_refused_there_is_the_containers_own_part():
    for layout, paths in ((HYBRID, PATHS), (V2, (("", "/sys/fs/cgroup/box"),))):
        planned = plan(layout, "ro", namespace=True, paths=paths)
        made = [op for op in planned.mount if isinstance(op, MountFilesystem) and op.fstype != "tmpfs"]
        assert [op.otherwise for op in made] == [op.saves for op in planned.open]
        assert [op.source for op in planned.open] == [path for _, path in paths]
        assert {op.set_flags for op in planned.open} == {SAFE | c.MOUNT_ATTR_RDONLY}


def test_v2_with_a_namespace_is_one_mount():
    (made,) = plan(V2, "ro", namespace=True, paths=(("", "/sys/fs/cgroup/box"),)).mount
    assert (made.fstype, made.target, made.flags) == ("cgroup2", "/sys/fs/cgroup", c.MS_RDONLY)


def test_without_a_cgroup_of_its_own_it_is_what_the_host_has():
    """Rootless, nothing delegated. With all that is mounted on it, else the kernel refuses a clone."""
    (tree,) = plan(V2, "ro", namespace=False, paths=()).open
    assert (tree.source, tree.recursive) == ("/sys/fs/cgroup", True)

"""plan.mounts: what an entry of `mounts` becomes."""

from __future__ import annotations

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.kernel import const as c
from pyrunc.oci.config import IdMapping, Mount
from pyrunc.oci.features import MOUNT_OPTIONS
from pyrunc.plan.facts import CgroupLayout
from pyrunc.plan.makeops import MountFilesystem, MoveMount, OpenTree, RemountReadonly, SetPropagation
from pyrunc.plan.mounts import ATTRIBUTES, FLAGS, PROPAGATION, MountPlan, is_bind, plan_mounts
from pyrunc.plan.rareops import CopyUp, MapTree, SetTreeFlags


def plan(*mounts: Mount, propagation: str = "", **more) -> MountPlan:
    how = {
        "cgroups": CgroupLayout(),
        "cgroup_paths": (),
        "has_cgroup_namespace": False,
        "user_maps": ("", ""),
        **more,
    }
    return plan_mounts(mounts, bundle="/bundle", rootfs_propagation=propagation, **how)


def tmpfs(*options: str, destination: str = "/data") -> Mount:
    return Mount(destination=destination, type="tmpfs", source="x", options=options, origin="/mounts/0")


def bind(*options: str, destination: str = "/data", source: str = "/source", **more) -> Mount:
    return Mount(
        destination=destination, type="bind", source=source, options=options, origin="/mounts/0", **more
    )


def test_known_options_are_flags_and_the_rest_is_for_the_filesystem():
    (made,) = plan(tmpfs("nosuid", "mode=755", "noexec", "size=64k")).mount
    assert made == MountFilesystem(
        target="/data", fstype="tmpfs", source="x", flags=c.MS_NOSUID | c.MS_NOEXEC,
        data="mode=755,size=64k", origin="/mounts/0",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (["nosuid", "suid"], 0), (["suid", "nosuid"], c.MS_NOSUID), (["defaults"], 0),
        (["noatime", "atime"], 0), (["sync", "async", "dirsync"], c.MS_DIRSYNC),
        (["strictatime", "nostrictatime", "nodiratime"], c.MS_NODIRATIME),
    ],
)  # fmt: skip
def test_of_two_that_disagree_the_later_wins(options, flags):
    (made,) = plan(tmpfs(*options)).mount
    assert made.flags == flags
    assert made.data == ""


@pytest.mark.parametrize("option", sorted(PROPAGATION))
def test_propagation_is_a_call_of_its_own_after_the_mount(option):
    made, after = plan(tmpfs(option)).mount
    assert isinstance(made, MountFilesystem)
    assert after == SetPropagation(target="/data", flags=PROPAGATION[option], origin="/mounts/0")


@pytest.mark.parametrize("option", sorted({*MOUNT_OPTIONS} - {"bind", "rbind", "tmpcopyup"}))
def test_no_option_of_features_is_given_to_the_filesystem(option):
    assert plan(tmpfs(option)).mount[0].data == ""


def test_every_attribute_of_a_mount_is_also_a_flag():
    assert set(ATTRIBUTES) <= set(FLAGS)


# -- filesystems ---------------------------------------------------------------------------------------


def test_a_readonly_tmpfs_becomes_so_at_the_end():
    """Other mounts may need directories in it."""
    planned = plan(tmpfs("ro"), bind("bind", destination="/data/inner"))
    assert not planned.mount[0].flags & c.MS_RDONLY
    assert planned.finish == (RemountReadonly(target="/data", origin="/mounts/0"),)


def test_a_readonly_filesystem_that_is_no_tmpfs_is_so_at_once():
    planned = plan(Mount(destination="/sys", type="sysfs", options=("ro",)))
    assert planned.mount[0].flags == c.MS_RDONLY
    assert planned.finish == ()


@pytest.mark.parametrize(("options", "inherits"), [(["size=1m"], True), (["mode=700"], False)])
def test_a_tmpfs_takes_over_the_mode_of_its_mountpoint_unless_it_is_given_one(options, inherits):
    assert plan(tmpfs(*options)).mount[0].inherit_mode is inherits


def test_tmpcopyup_is_for_tmpfs_alone():
    (copied,) = plan(tmpfs("tmpcopyup", "nosuid", "sync", "mode=700", "ro")).mount
    assert copied == CopyUp(
        target="/data",
        source="x",
        attributes=c.MOUNT_ATTR_NOSUID,
        options=("sync", "mode=700"),
        origin="/mounts/0",
    )
    assert plan(tmpfs("tmpcopyup")).mount[0].inherit_mode
    (made,) = plan(Mount(destination="/x", type="proc", options=("tmpcopyup",))).mount
    assert isinstance(made, MountFilesystem)


def test_a_readonly_copy_becomes_so_at_the_end():
    assert plan(tmpfs("tmpcopyup", "ro")).finish == (RemountReadonly(target="/data", origin="/mounts/0"),)


@pytest.mark.parametrize(("fstype", "strict"), [("proc", True), ("sysfs", True), ("tmpfs", False)])
def test_only_proc_and_sys_have_to_be_ordinary_directories(fstype, strict):
    assert plan(Mount(destination="/somewhere", type=fstype)).mount[0].strict is strict


@pytest.mark.parametrize(
    ("destination", "may"),
    [
        ("/proc/uptime", True), ("/proc/sys/kernel/ns_last_pid", True), ("proc/meminfo/", True),
        ("/proc/self", False), ("/proc/sys", False), ("/proc/uptime/x", False), ("/data", False),
    ],
)  # fmt: skip
def test_what_may_be_mounted_over_inside_proc(destination, may):
    assert plan(tmpfs(destination=destination)).mount[0].may_cover_proc is may
    assert plan(bind("bind", destination=destination)).mount[0].may_cover_proc is may


def test_a_mount_without_a_source_has_the_name_of_its_type():
    assert plan(Mount(destination="/proc", type="proc")).mount[0].source == "proc"


def test_a_relative_destination_is_below_the_root():
    assert plan(tmpfs(destination="data/")).mount[0].target == "/data"


# -- binds ---------------------------------------------------------------------------------------------


def test_a_bind_is_a_tree_opened_first_and_attached_by_the_child():
    planned = plan(bind("rbind", "ro", "nosuid", "dev"))
    assert planned.open == (
        OpenTree(
            source="/source", saves="mounts/0", recursive=True,
            set_flags=c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOSUID, clear_flags=c.MOUNT_ATTR_NODEV,
            propagation=c.MS_SLAVE, origin="/mounts/0/source",
        ),
    )  # fmt: skip
    assert planned.mount == (MoveMount(takes="mounts/0", target="/data", origin="/mounts/0"),)
    assert planned.finish == ()


@pytest.mark.parametrize(
    "mount",
    [bind(), bind("bind"), Mount(destination="/x", source="/y", options=("rbind",)),
     Mount(destination="/x", type="none", source="/y", options=("bind", "ro"))],
    ids=["type", "both", "rbind", "none"],
)  # fmt: skip
def test_what_a_bind_is(mount):
    assert is_bind(mount)
    assert isinstance(plan(mount).mount[0], MoveMount)


def test_without_options_a_bind_keeps_the_flags_of_its_source():
    (tree,) = plan(bind("bind")).open
    assert (tree.set_flags, tree.clear_flags, tree.recursive) == (0, 0, False)


@pytest.mark.parametrize(
    ("options", "on", "off"),
    [
        (["ro", "rw"], 0, c.MOUNT_ATTR_RDONLY), (["rw", "ro"], c.MOUNT_ATTR_RDONLY, 0),
        (["noatime"], c.MOUNT_ATTR_NOATIME, c.MOUNT_ATTR__ATIME),
        (["noatime", "strictatime"], c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME),
        (["noatime", "relatime"], 0, c.MOUNT_ATTR__ATIME), (["noatime", "atime"], 0, c.MOUNT_ATTR__ATIME),
    ],
)  # fmt: skip
def test_attributes_of_a_bind(options, on, off):
    """An access-time mode is a number and not a bit: mount_setattr(2) wants the whole field cleared first."""
    (tree,) = plan(bind(*options)).open
    assert (tree.set_flags, tree.clear_flags) == (on, off)


def test_recursive_attributes_are_for_the_whole_tree():
    _, flags = plan(bind("rbind", "rro", "rnoexec", "rexec")).open
    assert flags == SetTreeFlags(
        takes="mounts/0", set_flags=c.MOUNT_ATTR_RDONLY, clear_flags=c.MOUNT_ATTR_NOEXEC,
        origin="/mounts/0/options",
    )  # fmt: skip


def test_a_relative_source_is_below_the_bundle():
    assert plan(bind(source="some/where")).open[0].source == "/bundle/some/where"


def test_a_bind_takes_no_options_of_a_filesystem():
    with pytest.raises(PyruncError) as caught:
        plan(bind("bind", "size=1m"))
    assert (caught.value.kind, caught.value.where) == (INVALID, "/mounts/0/options")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", c.MS_SLAVE), ("rslave", c.MS_SLAVE), ("unbindable", c.MS_SLAVE), ("private", c.MS_PRIVATE),
     ("rprivate", c.MS_PRIVATE), ("shared", 0), ("rshared", 0)],
)  # fmt: skip
def test_how_a_bind_is_related_to_the_hosts_mount(given, expected):
    assert plan(bind("bind"), propagation=given).open[0].propagation == expected


def test_a_bind_on_proc_must_be_procfs():
    (moved,) = plan(bind("rbind", destination="/proc")).mount
    assert moved.must_be_proc
    assert moved.may_cover_proc


def test_all_in_the_order_of_the_list():
    planned = plan(tmpfs(destination="/a"), bind(destination="/a/b"), tmpfs("rshared", destination="/c"))
    assert [op.target for op in planned.mount] == ["/a", "/a/b", "/c", "/c"]


# -- links and id maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "source_followed", "target_followed", "copied"),
    [
        ("rbind", True, True, False), ("src-nofollow", False, True, False),
        ("dest-nofollow", True, False, False), ("copy-symlink", False, True, True),
    ],
)  # fmt: skip
def test_how_symlinks_are_seen(option, source_followed, target_followed, copied):
    planned = plan(bind(option))
    assert planned.open[0].follow is source_followed
    assert (planned.mount[0].follow, planned.mount[0].copy_link) == (target_followed, copied)


MAPS = {
    "uid_mappings": (IdMapping(container_id=1000, host_id=0, size=1),),
    "gid_mappings": (
        IdMapping(container_id=5, host_id=6, size=7),
        IdMapping(container_id=50, host_id=60, size=1),
    ),
}


@pytest.mark.parametrize(("options", "recursive"), [((), False), (("idmap",), False), (("ridmap",), True)])
def test_a_mounts_own_mapping(options, recursive):
    planned = plan(bind("rbind", *options, **MAPS), user_maps=("0 1 2\n", "0 1 2\n"))
    assert planned.open[1:] == (
        MapTree(
            takes="mounts/0", recursive=recursive, uid_map="1000 0 1\n", gid_map="5 6 7\n50 60 1\n",
            origin="/mounts/0",
        ),
    )  # fmt: skip


def test_without_one_the_mapping_of_the_container():
    planned = plan(bind("idmap"), user_maps=("0 1 2\n", "0 3 4\n"))
    assert planned.open[1] == MapTree(
        takes="mounts/0", recursive=False, uid_map="0 1 2\n", gid_map="0 3 4\n", origin="/mounts/0"
    )


def test_a_user_namespace_that_is_joined_maps_by_itself():
    planned = plan(bind("idmap"), user_maps=("", ""))
    assert planned.open[1] == MapTree(
        takes="mounts/0", recursive=False, namespace="ns/user", origin="/mounts/0"
    )


def test_a_bind_that_asks_for_no_mapping_has_none():
    assert len(plan(bind("rbind"), user_maps=("0 1 2\n", "0 1 2\n")).open) == 1


def test_a_disk_is_opened_by_the_host_side_with_all_its_options():
    mount = Mount(
        destination="/d", type="ext4", source="/dev/x", options=("ro", "nosuid", "sync", "acl", "data=x")
    )
    keywords = {
        "bundle": "/b", "rootfs_propagation": "", "cgroups": CgroupLayout(), "cgroup_paths": (),
        "has_cgroup_namespace": True, "user_maps": ("", ""),
    }  # fmt: skip
    planned = plan_mounts((mount,), **keywords, opens_disks=True)
    (opened,) = planned.open
    assert (opened.fstype, opened.source, opened.saves) == ("ext4", "/dev/x", "mounts/0")
    assert opened.options == ("ro", "sync", "data=x")
    assert opened.attributes == c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOSUID
    (moved,) = planned.mount
    assert (moved.takes, moved.target) == ("mounts/0", "/d")
    assert plan_mounts((mount,), **keywords).open == ()

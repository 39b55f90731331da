"""shim.containerd.rootfs: what an entry of a snapshotter's list asks of the kernel. Mounts themselves are in
tests/callers/test_shim_v2.py."""

import pytest

from pyrunc.errors import PyruncError
from pyrunc.kernel.const import MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC
from pyrunc.shim.containerd.rootfs import plan_mount


def test_flags_data_and_propagation():
    plan = plan_mount("bind", "/s", ("rbind", "ro", "rprivate", "size=1"))
    assert plan.flags == MS_BIND | MS_REC | MS_RDONLY
    assert (plan.data, plan.propagation) == ("size=1", (MS_PRIVATE | MS_REC,))


def test_of_two_that_disagree_the_later_wins():
    assert plan_mount("bind", "/s", ("ro", "rw")).flags == 0
    assert plan_mount("bind", "/s", ("rw", "ro")).flags == MS_RDONLY


def test_long_lower_directories_are_named_from_where_they_lie():
    names = [f"/var/lib/containerd/snapshots/{number}/fs" for number in range(200)]
    plan = plan_mount("overlay", "overlay", ("workdir=/w", "upperdir=/u", "lowerdir=" + ":".join(names)))
    assert plan.directory == "/var/lib/containerd/snapshots"
    assert plan.data == "workdir=/w,upperdir=/u,lowerdir=" + ":".join(f"{n}/fs" for n in range(200))


def test_short_ones_stay():
    plan = plan_mount("overlay", "overlay", ("lowerdir=/a/b:/a/c",))
    assert (plan.directory, plan.data) == ("", "lowerdir=/a/b:/a/c")


def test_those_that_have_only_the_root_in_common():
    names = [f"/{number}/{'x' * 36}" for number in range(100)]
    plan = plan_mount("overlay", "overlay", ("lowerdir=" + ":".join(names),))
    assert plan.directory == "/"
    assert plan.data.startswith(f"lowerdir=0/{'x' * 36}:1/")


@pytest.mark.parametrize("fstype", ["overlay", "ext4"])
def test_what_no_page_holds(fstype):
    with pytest.raises(PyruncError, match="more than a page"):
        plan_mount(fstype, "s", ("lowerdir=" + ":".join(f"/{n}/{'y' * 90}" for n in range(100)),))

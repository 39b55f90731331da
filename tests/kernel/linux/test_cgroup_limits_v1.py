"""Limits on cgroup v1, read back from the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.host import CGROUP1, needs_cgroup1
from support.waiting import until

from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.linux.cgroups import apply
from pyrunc.oci.config import Cpu, Memory, Resources
from pyrunc.oci.rare import BlockIo, HugepageLimit, ThrottleDevice
from pyrunc.plan.makeops import MakeCgroup, WriteCgroup

pytestmark = needs_cgroup1


def first_disk() -> tuple[int, int] | None:
    for device in sorted(Path("/sys/block").iterdir()):
        if not device.name.startswith(("loop", "ram", "zram")):
            major, minor = (device / "dev").read_text().split(":")
            return int(major), int(minor)
    return None


def test_each_limit_arrives(box):
    resources = Resources(
        cpu=Cpu(shares=512, quota=20000, period=50000, burst=5000, cpus="0", mems="0"),
        memory=Memory(limit=32 << 20, swap=64 << 20, reservation=16 << 20, swappiness=10),
        pids_limit=17,
    )
    box.make(resources)
    found = {
        name: box.read(controller, name)
        for controller, name in (
            ("cpu", "cpu.shares"), ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us"),
            ("cpu", "cpu.cfs_burst_us"), ("cpuset", "cpuset.cpus"), ("cpuset", "cpuset.mems"),
            ("memory", "memory.limit_in_bytes"), ("memory", "memory.memsw.limit_in_bytes"),
            ("memory", "memory.soft_limit_in_bytes"), ("memory", "memory.swappiness"), ("pids", "pids.max"),
        )
    }  # fmt: skip
    assert found == {
        "cpu.shares": "512",
        "cpu.cfs_quota_us": "20000",
        "cpu.cfs_period_us": "50000",
        "cpu.cfs_burst_us": "5000",
        "cpuset.cpus": "0",
        "cpuset.mems": "0",
        "memory.limit_in_bytes": str(32 << 20),
        "memory.memsw.limit_in_bytes": str(64 << 20),
        "memory.soft_limit_in_bytes": str(16 << 20),
        "memory.swappiness": "10",
        "pids.max": "17",
    }


@pytest.mark.parametrize(("limit", "value"), [(0, "1"), (-1, "max")])
def test_pids(box, limit, value):
    assert box.make(Resources(pids_limit=limit)).read("pids", "pids.max") == value


@pytest.mark.parametrize("idle", [0, 1])
def test_idle_with_shares(box, idle):
    box.make(Resources(cpu=Cpu(shares=512, idle=idle)))
    assert box.read("cpu", "cpu.idle") == str(idle)


def test_no_oom_killer(box):
    box.make(Resources(memory=Memory(limit=32 << 20, disable_oom_killer=True)))
    assert "oom_kill_disable 1" in box.read("memory", "memory.oom_control")


def test_a_limit_below_the_usage_says_so(box):
    """The buffer of a dd that can't write: no swap is left where it could go, so the limit can't be kept."""
    pid = box.make(Resources(memory=Memory(limit=64 << 20, swap=64 << 20))).start(
        "sh", "-c", "dd if=/dev/zero bs=9000000 count=1 | sleep 100"
    )
    directory = box.directory("memory")
    usage = directory / "memory.usage_in_bytes"
    until(lambda: int(usage.read_text()) > 8_000_000, "memory is in use")
    write = WriteCgroup(
        path=f"{directory}/memory.limit_in_bytes", value="1000000", origin="/linux/resources/memory/limit"
    )
    with pytest.raises(PyruncError) as caught:
        apply.write_cgroup(write)
    assert caught.value.kind == INTERNAL
    assert caught.value.what.startswith("unable to set memory limit to 1000000 (current usage: ")
    assert Path(f"/proc/{pid}").exists()


@pytest.mark.skipif(first_disk() is None, reason="no disk to limit")
def test_throttling_a_disk(box):
    major, minor = first_disk() or (0, 0)
    rate = (ThrottleDevice(major=major, minor=minor, rate=1048576),)
    box.make(Resources(block_io=BlockIo(throttle_read_bps=rate, throttle_write_iops=rate)))
    line = f"{major}:{minor} 1048576"
    assert box.read("blkio", "blkio.throttle.read_bps_device") == line
    assert box.read("blkio", "blkio.throttle.write_iops_device") == line
    assert box.read("blkio", "blkio.throttle.write_bps_device") == ""


def test_throttling_no_disk(box):
    rate = (
        ThrottleDevice(
            major=4090, minor=7, rate=1, origin="/linux/resources/blockIO/throttleReadBpsDevice/0"
        ),
    )
    with pytest.raises(PyruncError) as caught:
        box.make(Resources(block_io=BlockIo(throttle_read_bps=rate)))
    assert caught.value.where.endswith("throttleReadBpsDevice/0")
    assert "whole disks" in caught.value.hint


@pytest.mark.skipif("hugetlb" in CGROUP1, reason="hugetlb is in v1 here")
def test_huge_pages_of_a_hybrid_host_are_limited_in_the_unified_hierarchy(box):
    if "hugetlb" not in box.layout.unified_controllers:
        pytest.skip("no hugetlb controller")
    control = Path(box.layout.unified_mountpoint, "cgroup.subtree_control")
    was_on = "hugetlb" in control.read_text().split()
    box.make(Resources(hugepage_limits=(HugepageLimit(page_size="2MB", limit=4 << 20),)))
    try:
        assert box.read("", "hugetlb.2MB.max") == str(4 << 20)
        assert box.read("", "hugetlb.2MB.rsvd.max") == str(4 << 20)
    finally:
        if not was_on:
            control.write_text("-hugetlb")


def test_a_cpuset_takes_over_what_is_above(box):
    """Also where a directory in between was made by another, and is empty."""
    box.make()
    directory = box.directory("cpuset")
    (directory / "bare").mkdir()
    assert (directory / "bare/cpuset.cpus").read_text().strip() == ""
    make = next(op for op in box.plan.make if isinstance(op, MakeCgroup) and "cpuset" in op.controllers)
    inner = f"{directory}/bare/inner"
    assert apply.make_cgroup(MakeCgroup(path=inner, mountpoint=make.mountpoint, controllers=("cpuset",)))
    expected = (directory / "cpuset.cpus").read_text()
    assert Path(inner, "cpuset.cpus").read_text() == expected != "\n"
    assert Path(inner, "cpuset.mems").read_text() == (directory / "cpuset.mems").read_text() != "\n"
    assert (directory / "bare/cpuset.cpus").read_text() == expected

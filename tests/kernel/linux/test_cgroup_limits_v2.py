"""Limits on pure cgroup v2, read back from the kernel; controllers switched on from the top; delegation."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.host import needs_cgroup2, needs_root

from pyrunc.errors import PyruncError
from pyrunc.linux.cgroups import apply
from pyrunc.linux.cgroups.processes import kill_all, procs
from pyrunc.linux.cgroups.remove import remove
from pyrunc.oci.config import Cpu, Memory, Mount, Namespace, Process, Resources, User
from pyrunc.oci.rare import BlockIo, HugepageLimit, ThrottleDevice
from pyrunc.plan.makeops import MakeCgroup

pytestmark = needs_cgroup2


def test_each_limit_arrives(box):
    resources = Resources(
        cpu=Cpu(shares=2048, quota=20000, period=50000, burst=5000, cpus="0", mems="0"),
        memory=Memory(limit=32 << 20, swap=96 << 20, reservation=16 << 20),
        pids_limit=17,
    )
    box.make(resources)
    files = (
        "cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.mems", "memory.max", "memory.low",
        "pids.max",
    )  # fmt: skip
    assert {name: box.read("", name) for name in files} == {
        "cpu.weight": "174",
        "cpu.max": "20000 50000",
        "cpu.max.burst": "5000",
        "cpuset.cpus": "0",
        "cpuset.mems": "0",
        "memory.max": str(32 << 20),
        "memory.low": str(16 << 20),
        "pids.max": "17",
    }
    if (box.directory("") / "memory.swap.max").exists():
        assert box.read("", "memory.swap.max") == str(64 << 20)


@pytest.mark.parametrize("idle", [0, 1])
def test_idle_with_shares(box, idle):
    box.make(Resources(cpu=Cpu(shares=512, idle=idle)))
    assert box.read("", "cpu.idle") == str(idle)


@needs_root
def test_huge_pages(box):
    box.make(Resources(hugepage_limits=(HugepageLimit(page_size="2MB", limit=4 << 20),)))
    assert box.read("", "hugetlb.2MB.max") == box.read("", "hugetlb.2MB.rsvd.max") == str(4 << 20)


def test_io(box):
    disk = Path("/sys/block/vda/dev")
    if not disk.exists():
        pytest.skip("no disk vda")
    major, minor = (int(number) for number in disk.read_text().split(":"))
    rate = (ThrottleDevice(major=major, minor=minor, rate=1048576),)
    box.make(Resources(block_io=BlockIo(throttle_read_bps=rate, throttle_write_iops=rate)))
    assert box.read("", "io.max") == f"{major}:{minor} rbps=1048576 wbps=max riops=max wiops=1048576"


def test_unified(box):
    resources = Resources(pids_limit=5, unified=(("pids.max", "9"), ("memory.high", str(50 << 20))))
    box.make(resources)
    assert box.read("", "pids.max") == "9"
    assert box.read("", "memory.high") == str(50 << 20)


def test_a_unified_file_that_does_not_exist(box):
    with pytest.raises(PyruncError) as caught:
        box.make(Resources(unified=(("memory.no_such_thing", "1"),)))
    assert caught.value.where == "/linux/resources/unified/memory.no_such_thing"


def test_controllers_are_switched_on_from_the_top(box):
    box.make(path=f"/{box.name}/a/b", resources=Resources(pids_limit=5))
    offered = Path(box.layout.unified_mountpoint, "cgroup.controllers").read_text().split()
    directory = box.directory("")
    assert set((directory / "cgroup.controllers").read_text().split()) == set(offered)
    for above in (directory.parent, directory.parent.parent):
        assert set((above / "cgroup.subtree_control").read_text().split()) == set(offered)
    directory.rmdir()
    directory.parent.rmdir()
    directory.parent.parent.rmdir()


def test_a_cgroup_with_processes_cannot_pass_on_controllers(box, new_box):
    pid = box.make(path=f"/{box.name}").start("sleep", "100")
    assert procs(box.paths) == [pid]
    inner = new_box()
    inner.make(path=f"/{box.name}/inner")  # without limits none are needed
    child = inner.start("sleep", "100")
    assert procs(inner.paths) == [child]
    assert inner.read("", "cgroup.type") == box.read("", "cgroup.type") == "domain"
    inner.clean()
    with pytest.raises(PyruncError) as caught:
        inner.make(path=f"/{box.name}/inner", resources=Resources(memory=Memory(limit=1 << 20)))
    assert "cannot enable the memory cgroup controller" in str(caught.value)
    assert "processes in that cgroup" in caught.value.hint
    assert not (box.directory("") / "inner").exists()


def test_below_a_threaded_cgroup_there_is_no_memory_limit(box):
    box.make(path=f"/{box.name}")
    directory = box.directory("")
    (directory / "t").mkdir()
    (directory / "t/cgroup.type").write_text("threaded")
    make = next(op for op in box.plan.make if isinstance(op, MakeCgroup))
    for required, is_possible in ((("memory",), False), ((), True)):
        op = MakeCgroup(
            path=f"{directory}/t/inner",
            mountpoint=make.mountpoint,
            controllers=make.controllers,
            required=required,
            is_unified=True,
        )
        if is_possible:
            apply.make_cgroup(op)
            assert (directory / "t/inner/cgroup.type").read_text().strip() == "threaded"
            threaded = (("", op.path),)
            kill_all(threaded, signal.SIGKILL)
            remove(threaded)
        else:
            with pytest.raises(PyruncError):
                apply.make_cgroup(op)


@needs_root
def test_a_delegated_cgroup_belongs_to_the_user(box):
    box.make(
        linux={"namespaces": (Namespace(type="cgroup"),)},
        mounts=(Mount(destination="/sys/fs/cgroup", type="cgroup", options=("rw",)),),
        process=Process(user=User(uid=1234)),
    )
    directory = box.directory("")
    names = Path("/sys/kernel/cgroup/delegate").read_text().split()
    theirs = {entry.name for entry in directory.iterdir() if entry.is_file() and entry.stat().st_uid == 1234}
    assert theirs == {name for name in names if (directory / name).exists()}
    assert directory.stat().st_uid == 1234
    assert (directory / "memory.max").stat().st_uid == os.getuid()

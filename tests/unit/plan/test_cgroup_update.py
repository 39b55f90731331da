"""plan.cgroup_update: changing the limits of a cgroup that exists. Pure."""

from __future__ import annotations

import pytest

from pyrunc.errors import PyruncError
from pyrunc.oci.config import Cpu, DeviceRule, Memory, Resources
from pyrunc.oci.rare import BlockIo
from pyrunc.plan.cgroup_update import files_to_read, plan_update
from pyrunc.plan.facts import CgroupLayout, Hierarchy

V1 = CgroupLayout(
    hierarchies=tuple(
        Hierarchy(controllers=names, mountpoint=f"/c/{','.join(names)}")
        for names in (("cpu", "cpuacct"), ("memory",), ("pids",), ("devices",), ("blkio",))
    )
)
V1_PATHS = tuple((item.name, f"{item.mountpoint}/box") for item in V1.hierarchies)
V2 = CgroupLayout(unified_mountpoint="/c", unified_controllers=("cpuset", "cpu", "io", "memory", "pids"))
V2_PATHS = (("", "/c/box"),)


def update(layout, resources, current=None):
    paths = V2_PATHS if layout is V2 else V1_PATHS
    return [(op.path, op.value) for op in plan_update(resources, layout, paths, current or {})[0]]


def test_only_what_is_named_is_written():
    assert update(V1, Resources(pids_limit=20)) == [("/c/pids/box/pids.max", "20")]
    assert update(V2, Resources(pids_limit=-1)) == [("/c/box/pids.max", "max")]
    assert update(V2, Resources(cpu=Cpu(idle=1))) == [("/c/box/cpu.idle", "1")]
    assert update(V1, Resources(cpu=Cpu(idle=1))) == [("/c/cpu,cpuacct/box/cpu.idle", "1")]


@pytest.mark.parametrize("layout", [V1, V2])
def test_devices_are_left_alone(layout):
    assert update(layout, Resources(devices=(DeviceRule(allow=True),))) == []


def test_present_values_are_asked_for_where_they_matter():
    both = Resources(cpu=Cpu(quota=1), memory=Memory(limit=1))
    assert files_to_read(both, V2_PATHS) == (
        "/c/box/cpu.max", "/c/box/cpu.idle", "/c/box/memory.max", "/c/box/memory.current",
    )  # fmt: skip
    assert files_to_read(both, V1_PATHS) == (
        "/c/cpu,cpuacct/box/cpu.cfs_quota_us",
        "/c/cpu,cpuacct/box/cpu.cfs_period_us",
        "/c/cpu,cpuacct/box/cpu.rt_runtime_us",
        "/c/cpu,cpuacct/box/cpu.rt_period_us",
        "/c/memory/box/memory.limit_in_bytes",
    )
    assert files_to_read(Resources(pids_limit=4, block_io=BlockIo(weight=5)), V2_PATHS) == ()
    assert files_to_read(both, ()) == ()


def test_every_value_that_a_plan_depends_on_is_asked_for():
    """The planners see only a mapping that tells when it is asked for something unannounced."""

    class Strict(dict):
        def __missing__(self, key):
            raise AssertionError(key)

        def get(self, key, default=None):
            return self[key] if key in self.allowed else self.__missing__(key)

        def __contains__(self, key):
            if key not in self.allowed:
                self.__missing__(key)
            return super().__contains__(key)

    everything = Resources(
        cpu=Cpu(shares=3, quota=4, period=5, burst=1, realtime_runtime=1, realtime_period=2, idle=0),
        memory=Memory(limit=10, swap=20, reservation=5, check_before_update=True),
        block_io=BlockIo(weight=10),
        pids_limit=4,
    )
    for layout, paths in ((V1, V1_PATHS), (V2, V2_PATHS)):
        current = Strict(
            {path: "3 100" if path.endswith("cpu.max") else "3" for path in files_to_read(everything, paths)}
        )
        current.allowed = set(current)
        assert plan_update(everything, layout, paths, current)[0]


def test_one_of_quota_and_period_keeps_the_other():
    current = {"/c/box/cpu.max": "30000 60000\n"}
    assert update(V2, Resources(cpu=Cpu(period=90000)), current) == [("/c/box/cpu.max", "30000 90000")]
    assert update(V1, Resources(cpu=Cpu(period=90000))) == [("/c/cpu,cpuacct/box/cpu.cfs_period_us", "90000")]


def test_unlimited_memory_clears_swap():
    assert ("/c/box/memory.swap.max", "max") in update(V2, Resources(memory=Memory(limit=-1)))
    assert ("/c/memory/box/memory.memsw.limit_in_bytes", "-1") in update(
        V1, Resources(memory=Memory(limit=-1))
    )


def test_swap_alone_counts_from_the_present_limit():
    current = {"/c/box/memory.max": "100\n"}
    assert update(V2, Resources(memory=Memory(swap=300)), current) == [("/c/box/memory.swap.max", "200")]


def test_a_limit_below_the_usage_is_rejected_on_request():
    memory = Memory(limit=100, check_before_update=True)
    with pytest.raises(PyruncError, match="rejecting memory limit") as caught:
        update(V2, Resources(memory=memory), {"/c/box/memory.current": "200\n"})
    assert caught.value.why == "rejecting memory limit 100 <= usage 200"

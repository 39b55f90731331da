"""plan.cgroup1: what resources become on v1. Pure."""

from __future__ import annotations

import pytest
from support.fields import covers

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.config import Cpu, Memory, Resources
from pyrunc.oci.rare import (
    BlockIo,
    HugepageLimit,
    Network,
    NetworkPriority,
    Rdma,
    ThrottleDevice,
    WeightDevice,
)
from pyrunc.plan import cgroup1


def written(controller, resources, current=None):
    """[(file, value)] in order."""
    found = cgroup1.PLANNERS[controller](
        resources, "/cg", {f"/cg/{k}": v for k, v in (current or {}).items()}
    )
    return [(op.path.removeprefix("/cg/"), op.value) for op in found]


def refusal(controller, resources, current=None):
    with pytest.raises(PyruncError) as caught:
        written(controller, resources, current)
    assert caught.value.kind == INVALID
    return caught.value.where, caught.value.why


@pytest.mark.parametrize("controller", cgroup1.PLANNERS)
def test_nothing_asked_nothing_written(controller):
    assert written(controller, Resources()) == []


@pytest.mark.parametrize("controller", ["cpu", "cpuset", "memory", "blkio"])
def test_zero_is_unset(controller):
    zeros = Resources(
        cpu=Cpu(shares=0, quota=0, period=0, realtime_runtime=0, realtime_period=0),
        memory=Memory(limit=0, swap=0, reservation=0, kernel=0, kernel_tcp=0, swappiness=None),
        block_io=BlockIo(weight=0, leaf_weight=0),
    )
    assert written(controller, zeros) == []


def test_every_write_knows_who_asked():
    resources = Resources(
        cpu=Cpu(shares=1024, quota=10000, period=20000, burst=1, cpus="0", mems="0", idle=0),
        memory=Memory(limit=1, swap=2, reservation=3, swappiness=4, disable_oom_killer=True),
        pids_limit=3,
    )
    origins = {
        op.path.rpartition("/")[2]: op.origin
        for plan in cgroup1.PLANNERS.values()
        for op in plan(resources, "/cg", {})
    }
    assert origins == {
        "cpu.shares": "/linux/resources/cpu/shares",
        "cpu.idle": "/linux/resources/cpu/idle",
        "cpu.cfs_period_us": "/linux/resources/cpu/period",
        "cpu.cfs_quota_us": "/linux/resources/cpu/quota",
        "cpu.cfs_burst_us": "/linux/resources/cpu/burst",
        "cpuset.cpus": "/linux/resources/cpu/cpus",
        "cpuset.mems": "/linux/resources/cpu/mems",
        "memory.limit_in_bytes": "/linux/resources/memory/limit",
        "memory.memsw.limit_in_bytes": "/linux/resources/memory/swap",
        "memory.soft_limit_in_bytes": "/linux/resources/memory/reservation",
        "memory.oom_control": "/linux/resources/memory/disableOOMKiller",
        "memory.swappiness": "/linux/resources/memory/swappiness",
        "pids.max": "/linux/resources/pids/limit",
    }


@pytest.mark.parametrize(("idle", "order"), [(1, ["cpu.idle"]), (0, ["cpu.idle", "cpu.shares"])])
def test_an_idle_group_refuses_shares(idle, order):
    files = [file for file, _ in written("cpu", Resources(cpu=Cpu(shares=512, idle=idle)))]
    assert files == order


@pytest.mark.parametrize(("shares", "word"), [(1, "minimum"), (262145, "maximum")])
def test_shares_that_the_kernel_would_clamp(shares, word):
    where, why = refusal("cpu", Resources(cpu=Cpu(shares=shares)))
    assert where == "/linux/resources/cpu/shares"
    assert f"{word} allowed cpu-shares" in why


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        (None, (50000, 100000), "cpu.cfs_period_us"),  # a new cgroup has no quota
        (("-1", "100000"), (1000, 1000), "cpu.cfs_period_us"),
        (("50000", "100000"), (-1, 1000), "cpu.cfs_quota_us"),
        # half of a CPU, before and after: period first would be 500 % in between
        (("50000", "100000"), (5000, 10000), "cpu.cfs_quota_us"),
        (("5000", "10000"), (50000, 100000), "cpu.cfs_period_us"),
    ],
)
def test_the_smaller_share_of_cpu_in_between(old, new, first):
    current = {} if old is None else {"cpu.cfs_quota_us": old[0], "cpu.cfs_period_us": old[1]}
    found = written("cpu", Resources(cpu=Cpu(quota=new[0], period=new[1])), current)
    assert found[0][0] == first
    assert dict(found) == {"cpu.cfs_quota_us": str(new[0]), "cpu.cfs_period_us": str(new[1])}


@pytest.mark.parametrize(
    ("old_quota", "quota", "first"),
    [
        ("50000", 20000, "cpu.cfs_burst_us"),
        ("20000", 50000, "cpu.cfs_quota_us"),
        ("20000", -1, "cpu.cfs_quota_us"),
    ],
)
def test_the_burst_goes_before_a_quota_that_shrinks(old_quota, quota, first):
    found = written("cpu", Resources(cpu=Cpu(quota=quota, burst=10000)), {"cpu.cfs_quota_us": old_quota})
    assert found[0][0] == first
    assert ("cpu.cfs_burst_us", "10000") in found


def test_realtime():
    cpu = Cpu(realtime_runtime=5000, realtime_period=900000)
    assert written("cpu", Resources(cpu=cpu)) == [
        ("cpu.rt_period_us", "900000"),
        ("cpu.rt_runtime_us", "5000"),
    ]


def test_memory_of_a_new_cgroup_goes_before_swap():
    found = written("memory", Resources(memory=Memory(limit=100, swap=200, reservation=50)))
    assert found == [
        ("memory.limit_in_bytes", "100"),
        ("memory.memsw.limit_in_bytes", "200"),
        ("memory.soft_limit_in_bytes", "50"),
    ]


@pytest.mark.parametrize(
    ("old", "limit", "swap", "first"),
    [
        (100, 200, 400, "memory.memsw.limit_in_bytes"),
        (400, 100, 200, "memory.limit_in_bytes"),
        (400, 100, -1, "memory.memsw.limit_in_bytes"),
    ],
)
def test_memory_never_exceeds_memory_and_swap_on_the_way(old, limit, swap, first):
    found = written(
        "memory", Resources(memory=Memory(limit=limit, swap=swap)), {"memory.limit_in_bytes": f"{old}\n"}
    )
    assert found[0][0] == first
    assert len(found) == 2


def test_no_limit_of_memory_is_none_of_swap_either_where_the_kernel_counts_it():
    plan = cgroup1.plan_memory(Resources(memory=Memory(limit=-1)), "/cg", {})
    assert [(op.path, op.value, op.optional) for op in plan] == [
        ("/cg/memory.memsw.limit_in_bytes", "-1", True),
        ("/cg/memory.limit_in_bytes", "-1", False),
    ]


def test_swap_needs_a_limit_and_may_not_be_below_it():
    assert refusal("memory", Resources(memory=Memory(swap=100))) == (
        "/linux/resources/memory/swap",
        "unable to set swap limit without memory limit",
    )
    assert "should be >= memory limit" in refusal("memory", Resources(memory=Memory(limit=200, swap=100)))[1]
    now = {"memory.limit_in_bytes": "50"}
    assert written("memory", Resources(memory=Memory(swap=100)), now) == [
        ("memory.memsw.limit_in_bytes", "100")
    ]
    unlimited = {"memory.limit_in_bytes": "9223372036854771712"}
    refusal("memory", Resources(memory=Memory(swap=100)), unlimited)


def test_swappiness():
    assert written("memory", Resources(memory=Memory(swappiness=0))) == [("memory.swappiness", "0")]
    for unset in (-1, 2**64 - 1):
        assert written("memory", Resources(memory=Memory(swappiness=unset))) == []
    assert refusal("memory", Resources(memory=Memory(swappiness=101)))[0].endswith("/swappiness")


def test_obsolete_kernel_memory_is_not_written():
    assert written("memory", Resources(memory=Memory(kernel=100, kernel_tcp=100, use_hierarchy=False))) == []
    assert written("memory", Resources(memory=Memory(use_hierarchy=True))) == [("memory.use_hierarchy", "1")]


@pytest.mark.parametrize(("limit", "value"), [(-1, "max"), (-7, "max"), (0, "1"), (1, "1"), (500, "500")])
def test_pids(limit, value):
    assert written("pids", Resources(pids_limit=limit)) == [("pids.max", value)]


@covers("/linux/resources/blockIO/leafWeight")
@covers("/linux/resources/blockIO/weightDevice/*/(major|minor|weight|leafWeight)")
def test_blkio():
    device = {"major": 8, "minor": 0}
    resources = Resources(
        block_io=BlockIo(
            weight=500,
            leaf_weight=300,
            weight_device=(WeightDevice(**device, weight=400, leaf_weight=200), WeightDevice(**device)),
            throttle_read_bps=(ThrottleDevice(**device, rate=1),),
            throttle_write_bps=(ThrottleDevice(**device, rate=2),),
            throttle_read_iops=(ThrottleDevice(**device, rate=3),),
            throttle_write_iops=(ThrottleDevice(**device, rate=4),),
        )
    )
    assert written("blkio", resources) == [
        ("blkio.bfq.weight", "500"),
        ("blkio.leaf_weight", "300"),
        ("blkio.bfq.weight_device", "8:0 400"),
        ("blkio.leaf_weight_device", "8:0 200"),
        ("blkio.throttle.read_bps_device", "8:0 1"),
        ("blkio.throttle.write_bps_device", "8:0 2"),
        ("blkio.throttle.read_iops_device", "8:0 3"),
        ("blkio.throttle.write_iops_device", "8:0 4"),
    ]
    first, *_ = cgroup1.plan_blkio(resources, "/cg", {})
    assert first.otherwise == (("/cg/blkio.weight", "500"),)


def test_huge_pages_used_and_where_the_kernel_can_reserved():
    limit = HugepageLimit(page_size="2MB", limit=2**21, origin="/linux/resources/hugepageLimits/0")
    plan = cgroup1.plan_hugetlb(Resources(hugepage_limits=(limit,)), "/cg", {})
    assert [(op.path, op.optional) for op in plan] == [
        ("/cg/hugetlb.2MB.limit_in_bytes", False),
        ("/cg/hugetlb.2MB.rsvd.limit_in_bytes", True),
    ]


@pytest.mark.parametrize("size", ["", "MB", "2mb", "2 MB", "../../x/2MB", "2MB/../../..", "²MB", "-2MB"])
def test_a_page_size_is_no_path(size):
    limit = HugepageLimit(page_size=size, limit=1, origin="/linux/resources/hugepageLimits/0")
    where, _ = refusal("hugetlb", Resources(hugepage_limits=(limit,)))
    assert where == "/linux/resources/hugepageLimits/0/pageSize"


def test_network():
    resources = Resources(
        network=Network(
            class_id=0x100001,
            priorities=(NetworkPriority(name="lo", priority=1), NetworkPriority(name="eth0", priority=2)),
        )
    )
    assert written("net_cls", resources) == [("net_cls.classid", "1048577")]
    assert written("net_prio", resources) == [
        ("net_prio.ifpriomap", "lo 1"),
        ("net_prio.ifpriomap", "eth0 2"),
    ]


@covers("/linux/resources/rdma/*/(hcaHandles|hcaObjects)")
def test_rdma():
    resources = Resources(
        rdma=(
            Rdma(device="mlx5_1", hca_handles=3, hca_objects=10000),
            Rdma(device="mlx4_0", hca_objects=0),
            Rdma(device="mlx4_1"),
        )
    )
    assert written("rdma", resources) == [
        ("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
        ("rdma.max", "mlx4_0 hca_object=0"),
    ]


@pytest.mark.parametrize("name", ["", "a b", "a\nb hca_handle=max"])
def test_a_name_stays_one_field(name):
    refusal("rdma", Resources(rdma=(Rdma(device=name, hca_handles=1),)))
    refusal("net_prio", Resources(network=Network(priorities=(NetworkPriority(name=name, priority=1),))))

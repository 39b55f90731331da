"""plan.cgroup2: what resources, which are worded for v1, become on v2. Pure."""

from __future__ import annotations

import math

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.config import Cpu, Memory, Resources
from pyrunc.oci.rare import BlockIo, HugepageLimit, ThrottleDevice, WeightDevice
from pyrunc.plan import cgroup2

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")


def written(controller, resources, current=None):
    found = cgroup2.PLANNERS[controller](
        resources, "/cg", {f"/cg/{k}": v for k, v in (current or {}).items()}
    )
    return [(op.path.removeprefix("/cg/"), op.value) for op in found]


def refusal(call, *arguments):
    with pytest.raises(PyruncError) as caught:
        call(*arguments)
    assert caught.value.kind == INVALID
    return caught.value.where, caught.value.why


@pytest.mark.parametrize("controller", cgroup2.PLANNERS)
def test_nothing_asked_nothing_written(controller):
    assert written(controller, Resources()) == []


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (1024, 100), (2000, 170), (262144, 10000), (10**9, 10000), (102, 17), (4096, 303)],
)
def test_shares_become_a_weight(shares, weight):
    assert cgroup2.weight_of_shares(shares) == weight
    assert written("cpu", Resources(cpu=Cpu(shares=shares))) == [("cpu.weight", str(weight))]


def test_the_weight_needs_no_math_module():
    for shares in range(3, 262144, 7):
        logarithm = math.log2(shares)
        exponent = (logarithm * logarithm + 125 * logarithm) / 612 - 7 / 34
        assert abs(cgroup2.weight_of_shares(shares) - 10**exponent) < 1.0001
        if abs(10**exponent - round(10**exponent)) > 1e-6:
            assert cgroup2.weight_of_shares(shares) == math.ceil(10**exponent)


def test_the_weight_never_falls_when_shares_rise():
    weights = [cgroup2.weight_of_shares(shares) for shares in range(2, 262145, 13)]
    assert weights == sorted(weights)


@pytest.mark.parametrize(
    ("quota", "period", "current", "value"),
    [
        (50000, None, None, "50000 100000"),
        (50000, 200000, None, "50000 200000"),
        (-1, 200000, None, "max 200000"),
        (None, 200000, None, "max 200000"),
        (None, 200000, "50000 100000\n", "50000 200000"),
        (10000, None, "50000 20000\n", "10000 20000"),
        (-1, None, "50000 20000\n", "max 20000"),
        (0, 0, "50000 20000\n", None),
    ],
)
def test_quota_and_period_share_a_file(quota, period, current, value):
    found = written("cpu", Resources(cpu=Cpu(quota=quota, period=period)), current and {"cpu.max": current})
    assert found == ([("cpu.max", value)] if value else [])


@pytest.mark.parametrize(
    ("current", "quota", "first"),
    [
        ("max 100000", 20000, "cpu.max.burst"),
        ("50000 100000", 20000, "cpu.max.burst"),
        ("20000 100000", 50000, "cpu.max"),
        ("20000 100000", -1, "cpu.max"),
    ],
)
def test_the_burst_goes_before_a_quota_that_shrinks(current, quota, first):
    found = written("cpu", Resources(cpu=Cpu(quota=quota, burst=10000)), {"cpu.max": current})
    assert found[0][0] == first


@pytest.mark.parametrize(("idle", "order"), [(1, ["cpu.idle"]), (0, ["cpu.idle", "cpu.weight"])])
def test_an_idle_group_refuses_a_weight(idle, order):
    assert [file for file, _ in written("cpu", Resources(cpu=Cpu(shares=512, idle=idle)))] == order


@pytest.mark.parametrize(
    ("memory", "files"),
    [
        ({"limit": 100, "swap": 300}, {"memory.swap.max": "200", "memory.max": "100"}),
        ({"limit": 100, "swap": 100}, {"memory.swap.max": "0", "memory.max": "100"}),
        ({"limit": 100, "swap": -1}, {"memory.swap.max": "max", "memory.max": "100"}),
        ({"limit": 100, "swap": 0}, {"memory.max": "100"}),
        ({"limit": 100}, {"memory.max": "100"}),
        ({"limit": -1}, {"memory.swap.max": "max", "memory.max": "max"}),
        ({"limit": -1, "swap": 0}, {"memory.swap.max": "max", "memory.max": "max"}),
        ({"limit": -1, "swap": 300}, {"memory.swap.max": "300", "memory.max": "max"}),
        ({"swap": -1}, {"memory.swap.max": "max"}),
        ({"reservation": 50}, {"memory.low": "50"}),
        ({"reservation": -1}, {"memory.low": "max"}),
        ({"kernel": 5, "kernel_tcp": 5, "swappiness": 5, "disable_oom_killer": True}, {}),
    ],
)
def test_memory(memory, files):
    assert dict(written("memory", Resources(memory=Memory(**memory)))) == files


def test_swap_errors():
    def plan(memory, current=None):
        return written("memory", Resources(memory=memory), current)

    where, why = refusal(plan, Memory(swap=100))
    assert (where, why) == ("/linux/resources/memory/swap", "unable to set swap limit without memory limit")
    assert "should be >= memory limit" in refusal(plan, Memory(limit=200, swap=100))[1]
    refusal(plan, Memory(swap=100), {"memory.max": "max\n"})
    assert plan(Memory(swap=100), {"memory.max": "60\n"}) == [("memory.swap.max", "40")]


@pytest.mark.parametrize(("swap", "optional"), [(-1, True), (100, True), (200, False)])
def test_without_swap_accounting_no_swap_and_any_swap_are_no_error(swap, optional):
    first, *_ = cgroup2.plan_memory(Resources(memory=Memory(limit=100, swap=swap)), "/cg", {})
    assert first.path == "/cg/memory.swap.max"
    assert first.optional == optional


def test_check_before_update():
    def plan(memory):
        return written("memory", Resources(memory=memory), {"memory.current": "500\n", "memory.max": "900\n"})

    where, why = refusal(plan, Memory(limit=500, check_before_update=True))
    assert where == "/linux/resources/memory/limit"
    assert why == "rejecting memory limit 500 <= usage 500"
    assert "memory+swap" in refusal(plan, Memory(limit=400, swap=400, check_before_update=True))[1]
    assert plan(Memory(limit=501, check_before_update=True))
    assert plan(Memory(limit=-1, check_before_update=True))
    assert plan(Memory(limit=400))


@pytest.mark.parametrize(("weight", "converted"), [(10, 1), (1000, 10000), (500, 4950)])
def test_io_weight_as_it_is_for_bfq_else_converted(weight, converted):
    (write,) = cgroup2.plan_io(Resources(block_io=BlockIo(weight=weight)), "/cg", {})
    assert (write.path, write.value) == ("/cg/io.bfq.weight", str(weight))
    assert write.otherwise == (("/cg/io.weight", str(converted)),)


def test_io_of_devices():
    device = {"major": 8, "minor": 16}
    resources = Resources(
        block_io=BlockIo(
            leaf_weight=100,
            weight_device=(WeightDevice(**device, weight=20), WeightDevice(**device, leaf_weight=20)),
            throttle_read_bps=(ThrottleDevice(**device, rate=1),),
            throttle_write_bps=(ThrottleDevice(**device, rate=2),),
            throttle_read_iops=(ThrottleDevice(**device, rate=3),),
            throttle_write_iops=(ThrottleDevice(**device, rate=0),),
        )
    )
    assert written("io", resources) == [
        ("io.bfq.weight", "8:16 20"),
        ("io.max", "8:16 rbps=1"),
        ("io.max", "8:16 wbps=2"),
        ("io.max", "8:16 riops=3"),
        ("io.max", "8:16 wiops=max"),
    ]


def test_huge_pages():
    limit = HugepageLimit(page_size="1GB", limit=2**30, origin="/linux/resources/hugepageLimits/0")
    plan = cgroup2.plan_hugetlb(Resources(hugepage_limits=(limit,)), "/cg", {})
    assert [(op.path, op.value, op.optional) for op in plan] == [
        ("/cg/hugetlb.1GB.max", str(2**30), False),
        ("/cg/hugetlb.1GB.rsvd.max", str(2**30), True),
    ]


def test_unified_is_taken_verbatim_and_tells_its_controllers():
    resources = Resources(unified=(("memory.high", "1G"), ("cgroup.max.depth", "3"), ("io.max", "a\nb")))
    writes, needed = cgroup2.plan_unified(resources, "/cg", CONTROLLERS)
    assert [(op.path, op.value, op.origin) for op in writes] == [
        ("/cg/memory.high", "1G", "/linux/resources/unified/memory.high"),
        ("/cg/cgroup.max.depth", "3", "/linux/resources/unified/cgroup.max.depth"),
        ("/cg/io.max", "a\nb", "/linux/resources/unified/io.max"),
    ]
    assert needed == ("memory", "io")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("../x/memory.max", "must be a file name (no slashes)"),
        ("memory", "must be in the form CONTROLLER.PARAMETER"),
        ("..", "must be in the form CONTROLLER.PARAMETER"),
        (".max", "must be in the form CONTROLLER.PARAMETER"),
        ("net_cls.classid", 'controller "net_cls" not available'),
    ],
)
def test_unified_refuses(key, why):
    where, found = refusal(cgroup2.plan_unified, Resources(unified=((key, "1"),)), "/cg", CONTROLLERS)
    assert where.startswith("/linux/resources/unified/")
    assert why in found

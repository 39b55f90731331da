"""linux.resources where only the unified hierarchy can: its own files, and what becomes of v1's words."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support import cgroups
from support.host import needs_cgroup2, needs_controller, needs_program
from support.marks import deviation

pytestmark = needs_cgroup2
MEBIBYTE = 1 << 20
DISK = Path("/sys/block/vda")


def file(runtime, bundle, name):
    return cgroups.read(runtime.pid(bundle), "", "", name)


def files_with(runtime, bundle, resources, *names):
    """What these files say of a container with these resources."""
    bundle.resources.update(resources)
    runtime.launch(bundle, "sleep", "1000")
    return tuple(file(runtime, bundle, name) for name in names)


# -- cpu -------------------------------------------------------------------------------------------------


@deviation("runc", reason="does not know burst", before="1.2")
def test_burst_goes_with_the_quota(runtime, bundle):
    resources = {"cpu": {"quota": 20_000, "period": 50_000, "burst": 10_000}}
    assert files_with(runtime, bundle, resources, "cpu.max", "cpu.max.burst") == ("20000 50000", "10000")
    runtime("update", "--resources=-", bundle.id, input='{"cpu": {"quota": 8000, "burst": 5000}}').ok()
    assert (file(runtime, bundle, "cpu.max"), file(runtime, bundle, "cpu.max.burst")) == (
        "8000 50000",
        "5000",
    )
    runtime("update", "--resources=-", bundle.id, input='{"cpu": {"quota": 30000, "burst": 20000}}').ok()
    assert file(runtime, bundle, "cpu.max.burst") == "20000"


@deviation("runc", reason="does not know idle", before="1.2")
def test_idle_and_back(runtime, bundle):
    """An idle group refuses a weight, and weighs as a new one does when it is over."""
    assert files_with(runtime, bundle, {"cpu": {"idle": 1, "shares": 2048}}, "cpu.idle") == ("1",)
    runtime("update", "--resources=-", bundle.id, input='{"cpu": {"idle": 1, "shares": 512}}').ok()
    runtime("update", "--cpu-share", "512", bundle.id).failed("/cpu/shares", "invalid argument")
    assert file(runtime, bundle, "cpu.idle") == "1"
    runtime("update", "--resources=-", bundle.id, input='{"cpu": {"idle": 0}}').ok()
    assert (file(runtime, bundle, "cpu.idle"), file(runtime, bundle, "cpu.weight")) == ("0", "100")
    runtime("update", "--resources=-", bundle.id, input='{"cpu": {"idle": 0, "shares": 2048}}').ok()
    assert file(runtime, bundle, "cpu.weight") == "174"


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ({"quota": -1}, "max 100000"),
        ({"quota": 30_000}, "30000 100000"),
        ({"period": 50_000}, "max 50000"),
    ],
)
def test_quota_and_period_share_a_file(runtime, bundle, cpu, expected):
    assert files_with(runtime, bundle, {"cpu": cpu}, "cpu.max") == (expected,)


# -- memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "limit", "swap"),
    [
        ({"limit": -1}, "max", "max"),
        ({"limit": -1, "swap": 0}, "max", "max"),
        ({"limit": 64 * MEBIBYTE}, str(64 * MEBIBYTE), "max"),
        ({"limit": 64 * MEBIBYTE, "swap": 0}, str(64 * MEBIBYTE), "max"),
    ],
)
def test_memory_without_a_limit_of_swap(runtime, bundle, memory, limit, swap):
    assert files_with(runtime, bundle, {"memory": memory}, "memory.max", "memory.swap.max") == (limit, swap)


def test_swap_with_memory_unlimited_or_unknown(runtime, bundle):
    bundle.resources["memory"] = {"swap": 64 * MEBIBYTE}
    runtime.run(bundle, "true").failed("unable to set swap limit without memory limit")
    runtime.launch(bundle_with(bundle, memory={"limit": 48 * MEBIBYTE}), "sleep", "1000")
    runtime("update", "--memory-swap", str(64 * MEBIBYTE), bundle.id).ok()
    assert file(runtime, bundle, "memory.swap.max") == str(16 * MEBIBYTE)
    runtime("update", "--memory-swap", "-1", bundle.id).ok()
    assert file(runtime, bundle, "memory.swap.max") == "max"


def bundle_with(bundle, **resources):
    bundle.resources.update(resources)
    return bundle


@deviation("runc", reason="does not know checkBeforeUpdate", before="1.2")
def test_with_check_before_update_a_limit_below_the_usage_is_refused(runtime, bundle):
    """Without it the kernel takes the limit, and kills until it holds."""
    runtime.launch(bundle_with(bundle, memory={"limit": 64 * MEBIBYTE}), "sleep", "1000")
    document = {"memory": {"limit": 4096, "checkBeforeUpdate": True}}
    update = runtime("update", "--resources=-", bundle.id, input=json.dumps(document))
    update.failed("rejecting memory limit 4096 <= usage")
    assert file(runtime, bundle, "memory.max") == str(64 * MEBIBYTE)
    document["memory"]["limit"] = 32 * MEBIBYTE
    runtime("update", "--resources=-", bundle.id, input=json.dumps(document)).ok()
    assert file(runtime, bundle, "memory.max") == str(32 * MEBIBYTE)


# -- pids, huge pages, rdma ------------------------------------------------------------------------------


@needs_controller("hugetlb")
def test_huge_pages_in_use_and_reserved(runtime, bundle):
    resources = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MEBIBYTE}]}
    found = files_with(runtime, bundle, resources, "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max")
    assert found == (str(4 * MEBIBYTE), str(4 * MEBIBYTE))


@pytest.fixture
def rdma_device():
    """A device in software, on a link that leads nowhere."""
    link, name = "pyrunctest0", "pyrunctest_rxe"
    if subprocess.run(["ip", "link", "add", link, "type", "dummy"], capture_output=True).returncode != 0:
        pytest.skip("no dummy links here")
    try:
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
        made = subprocess.run(
            ["rdma", "link", "add", name, "type", "rxe", "netdev", link], capture_output=True
        )
        if made.returncode != 0:
            pytest.skip("the kernel has no RDMA device in software (rdma_rxe)")
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", link], check=True)


@needs_controller("rdma")
@needs_program("ip", "rdma")
def test_rdma(runtime, bundle, rdma_device):
    resources = {"rdma": {rdma_device: {"hcaHandles": 3, "hcaObjects": 1000}}}
    (found,) = files_with(runtime, bundle, resources, "rdma.max")
    assert f"{rdma_device} hca_handle=3 hca_object=1000" in found.splitlines()


@needs_controller("rdma")
def test_an_rdma_device_that_is_none(runtime, bundle):
    bundle.resources["rdma"] = {"nonesuch": {"hcaHandles": 3}}
    runtime.run(bundle, "true").failed("rdma")


# -- io --------------------------------------------------------------------------------------------------


@pytest.fixture
def disk():
    if not DISK.exists():
        pytest.skip("no disk vda")
    major, minor = (int(number) for number in (DISK / "dev").read_text().split(":"))
    return {"major": major, "minor": minor}


@needs_controller("io")
def test_weights_without_bfq(runtime, bundle, disk):
    """10 to 1000 becomes 1 to 10000."""
    (found,) = files_with(runtime, bundle, {"blockIO": {"weight": 1000}}, "io.weight")
    if (cgroups.directory(runtime.pid(bundle), "") / "io.bfq.weight").exists():
        pytest.skip("bfq is there, and goes first")
    assert found.splitlines()[0] == "default 10000"


@pytest.fixture
def bfq(disk):
    """The scheduler that knows weights of its own, for the disk, as long as the test takes."""
    scheduler = DISK / "queue/scheduler"
    subprocess.run(["modprobe", "bfq"], check=False, capture_output=True)
    before = scheduler.read_text()
    if "bfq" not in before:
        pytest.skip("the kernel has no bfq")
    scheduler.write_text("bfq")
    yield disk
    scheduler.write_text(before.partition("[")[2].partition("]")[0])


@needs_controller("io")
def test_weights_of_bfq_are_taken_as_they_are(runtime, bundle, bfq):
    block_io = {"weight": 345, "weightDevice": [{**bfq, "weight": 77}]}
    (found,) = files_with(runtime, bundle, {"blockIO": block_io}, "io.bfq.weight")
    assert found.splitlines() == ["default 345", f"{bfq['major']}:{bfq['minor']} 77"]


@needs_controller("io")
def test_every_throttle(runtime, bundle, disk):
    throttles = {
        "throttleReadBpsDevice": 1 << 20, "throttleWriteBpsDevice": 2 << 20,
        "throttleReadIOPSDevice": 30, "throttleWriteIOPSDevice": 40,
    }  # fmt: skip
    block_io = {name: [{**disk, "rate": rate}] for name, rate in throttles.items()}
    found = files_with(runtime, bundle, {"blockIO": block_io}, "io.max")
    assert found == (f"{disk['major']}:{disk['minor']} rbps=1048576 wbps=2097152 riops=30 wiops=40",)


# -- unified ---------------------------------------------------------------------------------------------


def test_unified_has_the_last_word(runtime, bundle):
    resources = {
        "memory": {"limit": 64 * MEBIBYTE},
        "cpu": {"shares": 512},
        "unified": {"memory.max": str(48 * MEBIBYTE), "cpu.weight": "7", "memory.oom.group": "1"},
    }
    names = ("memory.max", "cpu.weight", "memory.oom.group")
    assert files_with(runtime, bundle, resources, *names) == (str(48 * MEBIBYTE), "7", "1")


def test_unified_values_that_the_kernel_refuses(runtime, bundle):
    bundle.resources["unified"] = {"memory.high": "much"}
    runtime.run(bundle, "true").failed("/linux/resources/unified/memory.high", "invalid argument")


# -- what there is no word for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"limit": 64 * MEBIBYTE, "swappiness": 7}}, "/linux/resources/memory/swappiness"),
        ({"memory": {"limit": 64 * MEBIBYTE, "disableOOMKiller": True}}, "/memory/disableOOMKiller"),
        ({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 10_000}}, "/cpu/realtimeRuntime"),
        ({"blockIO": {"leafWeight": 10}}, "/blockIO/leafWeight"),
        ({"network": {"classID": 1}}, "/network/classID"),
        ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "/network/priorities"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_limits_of_v1_alone_are_ignored_with_a_warning(runtime, bundle, resources, pointer):
    bundle.resources.update(resources)
    done = runtime.run(bundle, "echo", "fine").ok()
    assert done.stdout == "fine\n"
    if "pyrunc" in os.path.basename(runtime.command):
        assert pointer in done.stderr
        assert "ignored" in done.stderr


# -- whose it is -----------------------------------------------------------------------------------------


def owners(directory):
    names = ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "memory.max", "cgroup.freeze")
    return {name: (directory / name).stat().st_uid for name in names}


OWN = ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


@deviation("runc", reason="gives a cgroup away where systemd makes it alone")
def test_a_container_that_sees_its_cgroup_alone_and_may_write_owns_it(runtime, bundle):
    """By the files that /sys/kernel/cgroup/delegate lists: it can divide what it has, not take more."""
    bundle.map_ids()
    bundle.namespace("cgroup")
    bundle.unmount("/sys/fs/cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw")
    script = (
        "mkdir /sys/fs/cgroup/inner && echo 0 > /sys/fs/cgroup/inner/cgroup.procs && cat /proc/self/cgroup"
    )
    runtime.launch(bundle, "sleep", "1000")
    found = owners(cgroups.directory(runtime.pid(bundle), ""))
    assert {name for name, uid in found.items() if uid == 100_000} == set(OWN)
    assert runtime.exec(bundle, "sh", "-c", script).ok().stdout == "0::/inner\n"
    limit = runtime.exec(bundle, "sh", "-c", "echo 5 > /sys/fs/cgroup/pids.max")
    assert limit.returncode != 0


@pytest.mark.parametrize("how", ["read-only", "without a namespace"])
def test_else_it_stays_ours(runtime, bundle, how):
    bundle.map_ids()
    if how == "read-only":
        bundle.namespace("cgroup")
    else:
        bundle.unmount("/sys/fs/cgroup")
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw")
    runtime.launch(bundle, "sleep", "1000")
    assert set(owners(cgroups.directory(runtime.pid(bundle), "")).values()) == {0}


def test_exec_into_a_cgroup_below(runtime, bundle):
    """One that the container made of its own, by the path from the container's."""
    bundle.namespace("cgroup")
    bundle.unmount("/sys/fs/cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw")
    runtime.launch(bundle, "sleep", "1000")
    runtime.exec(bundle, "mkdir", "/sys/fs/cgroup/below").ok()
    done = runtime.exec(bundle, "cat", "/proc/self/cgroup", options=("--cgroup", "below")).ok()
    assert done.stdout == "0::/below\n"
    runtime.exec(bundle, "true", options=("--cgroup", "missing")).failed("missing", status=255)
    runtime.exec(bundle, "true", options=("--cgroup", "../..")).failed(status=255)


# -- what is told of it ----------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/pressure/cpu"), reason="the kernel measures no pressure")
@deviation("runc", reason="does not tell of pressure", before="1.2")
def test_events_tell_of_pressure(runtime, running):
    data = json.loads(runtime("events", "--stats", running.id).ok().stdout)["data"]
    for section in ("cpu", "memory", "blkio"):
        assert set(data[section]["psi"]) == {"some", "full"}, section
        assert set(data[section]["psi"]["some"]) == {"avg10", "avg60", "avg300", "total"}


def test_a_frozen_container_is_frozen_by_its_cgroup(runtime, running):
    runtime("pause", running.id).ok()
    assert file(runtime, running, "cgroup.freeze") == "1"
    assert "frozen 1" in file(runtime, running, "cgroup.events").splitlines()
    runtime("resume", running.id).ok()
    assert "frozen 0" in file(runtime, running, "cgroup.events").splitlines()

"""linux.resources: limits whose controllers few hosts have in use, and those that mean nothing any more."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from support import cgroups, host
from support.fields import covers
from support.host import needs_cgroup1, needs_cgroup2, needs_controller, needs_program
from support.marks import deviation
from support.waiting import until

MEBIBYTE = 1 << 20
_PAGES = Path("/sys/kernel/mm/hugepages")


@pytest.fixture
def hierarchy(work):
    """A prefix for the runtime: a hierarchy is mounted in a mount namespace that is gone with it. As long as
    the kernel has not quite forgotten the container's cgroup the hierarchy stays, until mounted again."""
    made = []

    def prefix(controllers):
        first = controllers.partition(",")[0]
        if not host.unused_in_v1(first):
            pytest.skip(f"{first} of cgroup v1 is not there, or in use")
        place = work / controllers
        place.mkdir()
        mount = f"mount -t cgroup -o {controllers} none {place}"
        made.append((first, mount))
        return ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")

    def is_gone(controller, mount):
        subprocess.run(["unshare", "--mount", "sh", "-c", mount], check=True)
        time.sleep(0.2)  # the kernel's own; to mount it meanwhile would keep it
        return host.unused_in_v1(controller)

    yield prefix
    for controller, mount in made:
        until(
            lambda controller=controller, mount=mount: is_gone(controller, mount), "its hierarchy is gone", 20
        )


@needs_program("unshare")
@covers("/linux/resources/network/classID", "/linux/resources/network/priorities/*/(name|priority)")
def test_classes_and_priorities_of_packets(runtime, bundle, hierarchy):
    bundle.share("network")
    bundle.unmount("/sys")
    bundle.unmount("/sys/fs/cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
    bundle.resources["network"] = {"classID": 0x100001, "priorities": [{"name": "lo", "priority": 7}]}
    command = "cat /sys/fs/cgroup/net_cls,net_prio/net_cls.classid /sys/fs/cgroup/net_cls,net_prio/*map"
    done = runtime.run(bundle, "sh", "-c", command, prefix=hierarchy("net_cls,net_prio")).ok()
    lines = done.stdout.splitlines()
    assert lines[0] == str(0x100001)
    assert "lo 7" in lines


def page_sizes():
    """Names as in a config.json: 2MB, 1GB."""
    found = [int(name.removeprefix("hugepages-").removesuffix("kB")) for name in os.listdir(_PAGES)]
    return [f"{size >> 20}GB" if size >> 20 else f"{size >> 10}MB" for size in found]


@pytest.mark.skipif(not _PAGES.is_dir(), reason="the kernel has no huge pages")
@needs_program("unshare")
@covers("/linux/resources/hugepageLimits/*/(pageSize|limit)")
def test_huge_pages_of_v1(runtime, bundle, hierarchy):
    size = page_sizes()[0]
    bundle.resources["hugepageLimits"] = [{"pageSize": size, "limit": 1 << 30}]
    command = f"cat /sys/fs/cgroup/hugetlb/hugetlb.{size}.*limit_in_bytes"
    done = runtime.run(bundle, "sh", "-c", command, prefix=hierarchy("hugetlb")).ok()
    assert set(done.stdout.split()) == {str(1 << 30)}


@pytest.mark.skipif(not _PAGES.is_dir(), reason="the kernel has no huge pages")
@needs_cgroup2
@needs_controller("hugetlb")
@covers("/linux/resources/hugepageLimits/*/(pageSize|limit)")
def test_huge_pages_of_v2(runtime, bundle):
    size = page_sizes()[0]
    bundle.resources["hugepageLimits"] = [{"pageSize": size, "limit": 1 << 30}]
    runtime.launch(bundle, "sleep", "1000")
    directory = cgroups.directory(runtime.pid(bundle), "hugetlb")
    for name in (f"hugetlb.{size}.max", f"hugetlb.{size}.rsvd.max"):
        assert (directory / name).read_text().strip() == str(1 << 30)


@covers("/linux/resources/memory/(kernel|kernelTCP)")
def test_limits_of_kernel_memory_are_ignored(runtime, bundle):
    bundle.resources["memory"] = {"kernel": 16 * MEBIBYTE, "kernelTCP": 16 * MEBIBYTE}
    runtime.run(bundle, "true").ok()


@needs_cgroup1
@needs_controller("memory")
@covers("/linux/resources/memory/useHierarchy")
def test_a_hierarchy_is_always_used(runtime, bundle):
    """The kernel knows no other way since 5.11."""
    bundle.resources["memory"] = {"limit": 64 * MEBIBYTE, "useHierarchy": True}
    runtime.launch(bundle, "sleep", "1000")
    directory = cgroups.directory(runtime.pid(bundle), "memory")
    assert (directory / "memory.use_hierarchy").read_text().strip() == "1"


@needs_cgroup2
@needs_controller("memory")
@deviation("runc", reason="does not know it", before="1.1")
@covers("/linux/resources/memory/checkBeforeUpdate")
def test_an_update_below_what_is_used_is_refused(runtime, bundle):
    """And nobody is killed, as would be without."""
    bundle.resources["memory"] = {"limit": 256 * MEBIBYTE, "checkBeforeUpdate": True}
    bundle.mount("/data", "tmpfs", "tmpfs")
    runtime.launch(
        bundle, "sh", "-c", "head -c 33554432 /dev/zero > /data/file; touch /data/done; sleep 1000"
    )
    until(lambda: runtime.exec(bundle, "test", "-e", "/data/done").returncode == 0, "it has used memory")
    update = '{"memory": {"limit": 8388608, "checkBeforeUpdate": true}}'
    runtime("update", "--resources", "-", bundle.id, input=update).failed("memory")
    assert runtime.status(bundle) == "running"
    directory = cgroups.directory(runtime.pid(bundle), "memory")
    assert (directory / "memory.max").read_text().strip() == str(256 * MEBIBYTE)


@pytest.mark.skipif(
    host.PURE_CGROUP2 or not os.path.exists(f"{host.CGROUP1.get('cpu')}/cpu.rt_runtime_us"),
    reason="no real-time groups of cgroup v1",
)
@covers("/linux/resources/cpu/(realtimePeriod|realtimeRuntime)")
def test_time_for_real_time_tasks(runtime, bundle):
    bundle.resources["cpu"] = {"realtimePeriod": 900_000, "realtimeRuntime": 1000}
    runtime.launch(bundle, "sleep", "1000")
    directory = cgroups.directory(runtime.pid(bundle), "cpu")
    assert (directory / "cpu.rt_period_us").read_text().strip() == "900000"
    assert (directory / "cpu.rt_runtime_us").read_text().strip() == "1000"


def disk():
    for name in sorted(os.listdir("/sys/block")):
        if Path(f"/sys/block/{name}/device").exists():
            major, minor = Path(f"/sys/block/{name}/dev").read_text().split(":")
            return int(major), int(minor)
    return None


needs_disk = pytest.mark.skipif(disk() is None, reason="no disk")


@needs_controller("io" if host.PURE_CGROUP2 else "blkio")
@needs_disk
@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("throttleReadBpsDevice", "read_bps", "rbps"), ("throttleWriteBpsDevice", "write_bps", "wbps"),
        ("throttleReadIOPSDevice", "read_iops", "riops"), ("throttleWriteIOPSDevice", "write_iops", "wiops"),
    ],
)  # fmt: skip
@covers("/linux/resources/blockIO/{field}/*/(major|minor|rate)")
def test_each_throttle(runtime, bundle, field, old, new):
    major, minor = disk()
    bundle.resources["blockIO"] = {field: [{"major": major, "minor": minor, "rate": 1_048_576}]}
    runtime.launch(bundle, "sleep", "1000")
    if host.PURE_CGROUP2:
        text = (cgroups.directory(runtime.pid(bundle), "io") / "io.max").read_text()
        assert f"{new}=1048576" in text.split()
    else:
        directory = cgroups.directory(runtime.pid(bundle), "blkio")
        text = (directory / f"blkio.throttle.{old}_device").read_text()
        assert text.split() == [f"{major}:{minor}", "1048576"]


def weight_file(directory):
    names = ("io.bfq.weight", "io.weight", "blkio.bfq.weight", "blkio.weight")
    return next((directory / name for name in names if (directory / name).exists()), None)


@needs_controller("io" if host.PURE_CGROUP2 else "blkio")
@covers("/linux/resources/blockIO/weight")
def test_the_weight_of_block_io(runtime, bundle, new_bundle):
    """Where an I/O scheduler has weights; elsewhere it is an error."""
    controller = "io" if host.PURE_CGROUP2 else "blkio"
    other = new_bundle()
    runtime.launch(other, "sleep", "1000")
    found = weight_file(cgroups.directory(runtime.pid(other), controller))
    bundle.resources["blockIO"] = {"weight": 500}
    if found is None:
        runtime.run(bundle, "true").failed("weight")
        return
    runtime.launch(bundle, "sleep", "1000")
    text = weight_file(cgroups.directory(runtime.pid(bundle), controller)).read_text().split()
    assert text[-1] == ("500" if "bfq" in found.name or found.name == "blkio.weight" else "4950")
